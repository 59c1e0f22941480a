"""Leaderboards: what may stand together, what is best, and text that nothing in a name can break."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unix_bench.data import FINDINGS
from unix_bench.records import Counts, Metric, Results
from unix_bench.tables.leaderboard import (
    Table,
    as_csv,
    as_html,
    as_latex,
    as_markdown,
    entry_of,
    kind_of,
    lay_out,
    paper_entries,
    paper_notes,
    seeds_together,
    view_for,
)

EVIL = (
    "=cmd|' /C calc'!A0 <script>alert(1)</script> & 100% $x_1^2$ #{~}\\end{tabular} | `a`\x00\x1b[31m\u202e*_"
    + "w" * 300
)


def metric(name: str, value: float | None, **more: Any) -> Metric:
    pathology, n, seed = more.pop("pathology", None), more.pop("n", 100), more.pop("seed", 0)
    signature = f"protocol=sound.1; reference_text={more.pop('reference_text', 'findings')}; "
    signature += f"labeller={more.pop('labeller', 'x@1')}; n={n}; failed={more.pop('failed', 0)}; "
    signature += f"on_error={more.pop('on_error', 'drop-pair')}; seed={seed}"
    return Metric(
        name=name, value=value, pathology=pathology, n=n, protocol="sound", signature=signature,
        reason=None if value is not None else "it is not here", **more,
    )  # fmt: skip


def results(model: str, *metrics: Metric, run: str = "", demo: bool = False, **spec: Any) -> Results:
    predict = {
        "model": model, "weights": "a" * 64, "task": "report", "task_version": 1, "data": "mimic_cxr",
        "data_digest": "d" * 64, "instruction": None, "settings": {}, "seed": 0, "subset": None, "limit": None,
        "batch_size": 8, "dtype": "float32", "device": "cpu", "deterministic": False,
    }  # fmt: skip
    score = {
        "protocol": "sound", "protocol_version": 1, "instruments": {}, "absent": {}, "pixels": None,
        "training": None, "per_pathology": False, "uncertain": "negative", "on_error": "drop-pair",
    }  # fmt: skip
    return Results(
        run=run or f"run-{model}-{spec.get('seed', 0)}",
        predict_spec={**predict, **{key: value for key, value in spec.items() if key in predict}},
        score_spec={**score, **{key: value for key, value in spec.items() if key in score}},
        demo=demo,
        restricted=True,
        counts=Counts(total=100, ok=100, failed=0, skipped=0),
        metrics=list(metrics),
    )


def board(*found: Results, view: str = "report", pathologies: tuple[str, ...] = (), paper: bool = False) -> Table:
    chosen = view_for("report", view)
    entries = seeds_together([entry_of(one, "run", "2026-11-24T10:00:00") for one in found])
    rows = paper_entries([2]) if paper else []
    return lay_out(kind_of(found[0]), entries, rows, chosen, pathologies, paper_notes([2], rows) if paper else [])


def column(table: Table, name: str, section: int = 0) -> dict[str, Any]:
    index = [one.name for one in table.columns].index(name)
    return {line.label: line.cells[index] for line in table.sections[section].lines}


def test_best_second_and_ties() -> None:
    table = board(
        results("a", metric("bleu_4", 0.30, ci=(0.25, 0.35))),
        results("b", metric("bleu_4", 0.20, ci=(0.15, 0.24))),
        results("c", metric("bleu_4", 0.26, ci=(0.21, 0.31))),
        results("d", metric("bleu_4", 0.90, ci=(0.1, 0.95), flags=["few-positives"])),
        results("e", metric("bleu_4", None)),
    )
    cells = column(table, "bleu_4")
    assert {name: cell.rank for name, cell in cells.items()} == {"a": "best", "b": "", "c": "second", "d": "", "e": ""}
    assert [name for name, cell in cells.items() if cell.tied] == ["c"], "only c's interval holds 0.30"
    assert cells["c"].text == "0.2600≈"
    assert cells["d"].text == "0.9000†"
    assert cells["e"].text == "–"
    assert any(note.startswith("≈") for note in table.notes)
    assert any("few-positives" in note for note in table.notes)


def test_lower_is_better_where_the_card_says_so_and_a_plugin_speaks_for_itself() -> None:
    found = [
        results(name, metric("fd_raddino", fd), metric("mine", own, better="lower"), metric("other", own))
        for name, fd, own in (("a", 50.0, 2.0), ("b", 40.0, 1.0))
    ]
    table = board(*found, view="all")
    for name, best in (("fd_raddino", "best"), ("mine", "best"), ("other", "")):
        assert column(table, name)["b"].rank == best
    assert [heading[-1] for heading in table.headings] == ["↓", "↓", "r"]


def test_what_prints_alike_ranks_alike() -> None:
    found = [results(name, metric("bleu_4", value)) for name, value in (("a", 0.30001), ("b", 0.30002), ("c", 0.2))]
    assert [cell.rank for cell in column(board(*found), "bleu_4").values()] == ["best", "best", ""]
    assert [cell.rank for cell in column(board(*found[:2]), "bleu_4").values()] == ["", ""]


def test_a_value_is_tied_if_its_interval_holds_any_of_several_bests() -> None:
    found = [results(name, metric("bleu_4", value)) for name, value in (("a", 0.30004), ("b", 0.29996))]
    cells = column(board(*found, results("c", metric("bleu_4", 0.26, ci=(0.21, 0.3)))), "bleu_4")
    assert {name: (cell.rank, cell.tied) for name, cell in cells.items()} == {
        "a": ("best", False), "b": ("best", False), "c": ("", True),
    }  # fmt: skip


def test_what_a_failure_counts_as_matters_only_where_one_failed() -> None:
    def found(model: str, value: float, **more: Any) -> Results:
        return results(model, metric("bleu_4", value, **more), metric("rouge_l", value, **more))

    clean, one, other = found("a", 0.3), found("b", 0.2, failed=1), found("c", 0.1, failed=2, on_error="score-zero")
    assert column(board(clean, one), "bleu_4")["a"].rank == "best"
    assert not any("Not ranked" in note for note in board(clean, one).notes)
    table = board(clean, one, other)
    assert {cell.rank for cell in column(table, "bleu_4").values()} == {""}
    (note,) = (note for note in table.notes if note.startswith("Not ranked"))
    assert note.endswith(": BLEU-4, ROUGE-L (on_error drop-pair | on_error score-zero).")
    seeds = [results("s", metric("bleu_4", 0.3, seed=seed, failed=seed), seed=seed) for seed in (0, 1)]
    assert column(board(*seeds, results("t", metric("bleu_4", 0.2))), "bleu_4")["s"].rank == "best"


def test_values_defined_differently_are_not_ranked() -> None:
    found = [
        results(name, metric("bleu_4", value), metric("chexbert_f1_micro_14_neg", value, labeller=f"chexbert@{name}"))
        for name, value in (("a", 0.3), ("b", 0.2))
    ]
    table = board(*found)
    assert column(table, "bleu_4")["a"].rank == "best"
    assert not column(table, "chexbert_f1_micro_14_neg")["a"].rank
    assert any("labeller chexbert@a | labeller chexbert@b" in note for note in table.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "unix"},
        {"protocol_version": 2},
        {"data_digest": "e" * 64},
        {"subset": "nightly@1"},
        {"limit": 8},
        {"task_version": 2},
        {"demo": True},
    ],
)
def test_what_never_mixes(change: dict[str, Any]) -> None:
    assert kind_of(results("a", metric("bleu_4", 0.3))) != kind_of(results("a", metric("bleu_4", 0.3), **change))


def test_reference_texts_never_mix() -> None:
    one, other = (results("a", metric("bleu_4", 0.3, reference_text=text)) for text in ("findings", "impression"))
    assert kind_of(one) != kind_of(other)
    assert kind_of(one) == kind_of(results("b", metric("bleu_4", 0.1), seed=3, batch_size=1))


def test_seeds_are_one_row_if_nothing_else_differs() -> None:
    found = [results("a", metric("bleu_4", value, seed=seed), seed=seed) for seed, value in ((0, 0.50), (1, 0.54))]
    (line,) = board(*found).sections[0].lines
    assert line.cells[0].text == "0.5200 ± 0.0283", "mean, and the deviation with n - 1"
    assert "seeds 0, 1 (mean ± standard deviation" in board(*found).caption
    other = results("a", metric("bleu_4", 0.54, seed=1), seed=1, settings={"max_new_tokens": 9})
    lines = board(found[0], other).sections[0].lines
    assert [line.label for line in lines] == ["a @aaaaaaaa seed 0", "a @aaaaaaaa seed 1"]
    (line,) = board(found[0], results("a", metric("bleu_4", 0.54), seed=1, per_pathology=True)).sections[0].lines
    assert line.label == "a", "the findings that one of them has too change nothing"
    missing = results("a", metric("bleu_4", None, seed=2), metric("rouge_l", 0.1, seed=2), seed=2)
    table = board(*found, missing, results("b", metric("rouge_l", 0.2), metric("bleu_4", 0.1)))
    assert column(table, "rouge_l")["a"].text == column(table, "bleu_4")["a"].text == "–", "a seed lacks it"


def test_the_caption_answers_a_reviewer() -> None:
    text = board(results("a", metric("bleu_4", 0.3, labeller="chexbert@12345678"), limit=8)).caption
    for part in ("protocol sound.1", "mimic_cxr@dddddddd", "the first 8 studies", "reference text: findings", "n = 100",
                 "chexbert@12345678", "seeds 0", "2026-11-24"):  # fmt: skip
        assert part in text


def test_sections_of_findings_rank_apart() -> None:
    found = [
        results(name, metric("bleu_4", all_, n=100), metric("bleu_4", edema, pathology="Edema", n=9))
        for name, all_, edema in (("a", 0.3, 0.1), ("b", 0.2, 0.4))
    ]
    table = board(*found, pathologies=FINDINGS)
    assert [section.title for section in table.sections] == ["All studies", "Edema"]
    assert column(table, "bleu_4", 0)["a"].rank == column(table, "bleu_4", 1)["b"].rank == "best"
    assert [line.n for section in table.sections for line in section.lines] == ["100", "100", "9", "9"]


def test_published_rows_stand_apart() -> None:
    ours = results("mine", metric("chexbert_f1_micro_14_neg", 0.99), metric("chexbert_f1_micro_5_neg", 0.1))
    table = board(ours, view="paper-table-2", paper=True)
    own, paper = table.sections
    assert [cell.rank for line in own.lines for cell in line.cells] == [""] * 8, "one row is not the best of anything"
    assert own.lines[0].cells[0].number == "99.0"
    assert column(table, "micro_f1_14_neg", 1)["LLaVA-Rad"].rank == "best"
    assert column(table, "micro_f1_14_neg", 1)["UniX"].rank == "second"
    assert paper.paper
    text = as_markdown([table])
    for caveat in ("does not state", "likely quoted", "3.2 billion", "a model of 3B", "signal-task"):
        assert caveat in text
    in_fractions = board(ours, paper=True)
    assert column(in_fractions, "chexbert_f1_micro_14_neg", 1)["LLaVA-Rad"].number == "0.573"


def unescaped(text: str, sign: str) -> int:
    return len(re.findall(rf"(?<!\\)(?:\\\\)*{re.escape(sign)}", text))


def check_latex(text: str, columns: int) -> None:
    """Braces and environments close in order, comments hide nothing, each row has a cell a column."""
    body = text.split("\n", 1)[1]
    depth = 0
    for sign in re.findall(r"\\.|[{}]", body):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", body):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    assert unescaped(body, "%") == body.count("{!}{%\n")
    assert not unescaped(body, "#")
    assert not re.search(r"(?<!\\)_", body)
    for line in body.splitlines():
        if line.endswith(r"\\") and not line.startswith(r"\multicolumn"):
            assert unescaped(line, "&") == columns - 1, line


def test_latex_of_an_evil_name_is_balanced_and_compiles(tmp_path: Path) -> None:
    table = board(results(EVIL, metric("bleu_4", 0.3)), results("b", metric("bleu_4", 0.2)), paper=True)
    text = as_latex([table])
    check_latex(text, 2 + len(table.columns))
    assert r"\textbf{0.3000}" in text
    assert r"\underline{0.2000}" in text
    assert "w" * 60 not in text
    assert "\x1b" not in text
    engine = shutil.which("tectonic") or shutil.which("pdflatex")
    if engine:
        head = "\\documentclass{article}\\usepackage{booktabs, graphicx}\\begin{document}\n"
        (tmp_path / "t.tex").write_text(f"{head}{text}\n\\end{{document}}\n")
        words = [engine, *([] if "tectonic" in engine else ["-halt-on-error", "-interaction=nonstopmode"]), "t.tex"]
        assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_name_in_any_format(name: str) -> None:
    table = board(results(name, metric("bleu_4", 0.3), run="r"), results("b", metric("bleu_4", 0.2), weights="b" * 64))
    check_latex(as_latex([table]), 2 + len(table.columns))
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert len(rows) == 2
    assert not rows[0]["model"].startswith(("=", "+", "-", "@"))
    body = [line for line in as_markdown([table]).splitlines() if line.startswith("|")]
    assert {unescaped(line, "|") for line in body} == {4}
    tags = Tags(as_html([table])).tags
    assert tags.count("script") == 1
    assert tags.count("tr") == 3


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_self_contained_and_shows_the_name_as_text() -> None:
    text = as_html([board(results(EVIL, metric("bleu_4", 0.3, ci=(0.2, 0.4))), paper=True)])
    page = Tags(text)
    assert page.tags.count("script") == 1
    assert not page.links
    assert "http:" not in text
    assert "https:" not in text
    assert "<script>alert" not in text
    assert any("<script>alert(1)</script>" in word for word in page.words)
    assert "0.2000 to 0.4000" in text
    script = re.search(r"<script>(.*)</script>", text, flags=re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in text, "a browser runs this script and no other"
    if node := shutil.which("node"):
        assert subprocess.run([node, "--check", "-"], input=script[1], text=True).returncode == 0


def test_csv_guards_against_formulas_but_not_numbers() -> None:
    table = board(results("@SUM(1)", metric("bleu_4", -0.3)), results("\t=1", metric("bleu_4", 0.1)), view="all")
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["model"] for row in rows] == ["'@SUM(1)", "'=1"]
    assert rows[0]["bleu_4"] == "-0.3000"
    assert rows[1]["bleu_4_rank"] == "best"
