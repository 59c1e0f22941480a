"""What the console and a run's page show of a scoring: the same cells, ranks, reasons and warnings."""

from __future__ import annotations

import re
from typing import Any

import pytest

from unix_bench.records import Counts, Metric, Results
from unix_bench.tables import print_results
from unix_bench.tables.outline import outline
from unix_bench.tables.page import number_tables


def metric(name: str, value: float | None, pathology: str | None = None, **more: Any) -> Metric:
    reason = more.pop("reason", "it is not here") if value is None else None
    return Metric(name=name, value=value, pathology=pathology, n=20, protocol="sound", signature="s", reason=reason,
                  **more)  # fmt: skip


def results(task: str, *metrics: Metric, judges: tuple[str, ...] = ()) -> Results:
    predict = {"model": "unix", "task": task, "data": "made"}
    score = {"protocol": "sound", "instruments": dict.fromkeys(judges, "0" * 64)}
    return Results(run="run", predict_spec=predict, score_spec=score, demo=False, restricted=False,
                   counts=Counts(total=20, ok=20, failed=0, skipped=0), metrics=list(metrics))  # fmt: skip


def lines(page: str) -> list[list[str]]:
    """The words of each row of a page's tables."""
    rows = re.findall("<tr.*?</tr>", page)
    cells = (re.findall("<t[dh].*?</t[dh]>", row) for row in rows)
    return [[" ".join(re.sub("<.*?>", " ", cell).split()) for cell in row] for row in cells]


def printed(found: Results, capsys: pytest.CaptureFixture[str]) -> str:
    print_results(found)
    return capsys.readouterr().out


def test_ranks_by_kd_and_the_judge_a_model_was_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    kd = {None: 0.2, "Edema": 0.3, "Fracture": 0.1, "Pneumonia": None, "Cardiomegaly": 0.4}
    metrics = [metric(f"{kind}_raddino", value, row) for row, value in kd.items() for kind in ("fd", "kd", "precision")]
    found = results("generation", *metrics, metric("kd_medsiglip", 0.7), judges=("raddino", "medsiglip"))
    console, page = printed(found, capsys), number_tables(found)
    table = {row[0]: row for row in lines(page) if len(row) == 6}
    assert table[""][-1] == "rank by KD"
    ranks = {"Fracture": "1", "Edema": "2", "Cardiomegaly": "3", "Pneumonia": "", "Overall": ""}
    assert {name: row[-1] for name, row in table.items() if name} == ranks
    for name, rank in ranks.items():
        row = next(line for line in console.splitlines() if f" {name} " in line)
        assert row.strip("│ ").split("│")[-1].strip() == rank or not rank
    for shown in (console, page):
        assert "raddino: UniX was trained to match features of RAD-DINO" in shown
    assert [block.judge for block in outline(found).blocks] == ["raddino", None], "a second opinion is no judge"
    assert ["kd_medsiglip ↓", "0.7000", "20"] in lines(page)


def test_a_finding_that_one_labeller_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(
        "report",
        metric("chexbert_f1_edema_neg", 0.25, support=7, ci=(0.125, 0.5)),
        metric("chexbert_f1_fracture_neg", 0.75, support=3),
        metric("rule14_f1_edema_neg", 0.5, support=6),
        metric("rule14_f1_pneumonia_neg", None),
    )
    console, rows = printed(found, capsys), lines(number_tables(found))
    assert ["Edema", "0.2500 [0.1250 to 0.5000] 7", "0.5000 6"] in rows
    assert [row for row in rows if row[0] == "Fracture"] == [["Fracture", "0.7500 3", ""]]
    assert not any("Pneumonia" in row for row in rows)
    cells = next(line for line in console.splitlines() if " Fracture " in line).strip("│").split("│")
    assert [" ".join(cell.split()) for cell in cells] == ["Fracture", "0.7500 3", ""]


def test_reasons_are_numbered_alike_and_a_plug_in_has_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(
        "report",
        *(
            one
            for row in (None, "Edema")
            for one in (
                metric("chexbert_f1_micro_14_neg", None, row, reason="no CheXbert"),
                metric("radgraph_f1_simple", None, row, reason="no RadGraph"),
                metric("radgraph_f1_partial", None, row, reason="no RadGraph"),
                metric("mine", 3.0, row, better="lower"),
            )
        ),
    )
    console, page = printed(found, capsys), number_tables(found)
    assert "– [1] not computed: no CheXbert\n– [2] not computed: no RadGraph\n" in console
    assert "<li>not computed: no CheXbert</li><li>not computed: no RadGraph</li>" in page
    assert ["radgraph_f1_simple ... radgraph_f1_partial", "– 2", "20"] in lines(page)
    assert ["Edema", "20", "– 1", "– 2", "3.0000"] in lines(page)
    row = next(line for line in console.splitlines() if " Edema " in line).strip("│").split("│")
    assert [cell.strip() for cell in row] == ["Edema", "20", "– [1]", "– [2]", "3.0000"]
