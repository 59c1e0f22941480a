"""Reviewed results, the boards made from them, the paper's tables, and runs held against the paper."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import bench, make_folder, refused, write_lines

from unix_bench.cards import bundled
from unix_bench.records import Counts, Metric, Results, RunFolder, RunRecord, Sample
from unix_bench.tables.leaderboard import paper_tables, paper_view

SHARED = Path(__file__).parents[2] / "shared" / "published"
FILES = {2: "understanding.csv", 3: "generation.csv", 4: "generation_per_pathology.csv"}
PROTOCOLS = {"report": "unix", "generation": "chexgenbench"}
DATA = {"report": "mimic_cxr:unix_json", "generation": "mimic_cxr:chexgenbench"}


def make_run(
    name: str,
    values: dict[tuple[str, str | None], float | None],
    task: str = "report",
    protocol: str = "",
    demo: bool = False,
    samples: int = 2,
    **spec: Any,
) -> RunFolder:
    """A scored run below results/runs, as the bench writes one."""
    protocol = protocol or PROTOCOLS[task]
    predict = {
        "model": "unix", "weights": "ab" * 32, "task": task, "task_version": 1, "data": DATA[task],
        "data_digest": "cd" * 32, "instruction": None, "settings": {"size": 512}, "seed": 0, "subset": None,
        "limit": None, "batch_size": 8, "dtype": "bfloat16", "device": "cuda", "deterministic": False, **spec,
    }  # fmt: skip
    score = {
        "protocol": protocol, "protocol_version": 1, "instruments": {}, "absent": {}, "pixels": None,
        "training": None, "per_pathology": True, "uncertain": "negative", "on_error": "score-as-nan",
    }  # fmt: skip
    record = RunRecord(
        id=name, predict_spec=predict, demo=demo, restricted=True, data_path="x", pixel_digest="", command=[],
        started="2026-11-20T08:00:00+00:00", environment={},
    )  # fmt: skip
    run = RunFolder(Path("results/runs") / name)
    run.begin(record)
    run.append([Sample(id=f"study-{index}", report="A long secret report.") for index in range(samples)])
    results = Results(
        run=name,
        predict_spec=predict,
        score_spec=score,
        demo=demo,
        restricted=True,
        counts=Counts(total=2, ok=2, failed=0, skipped=0),
        metrics=[
            Metric(
                name=metric, value=value, pathology=pathology, n=2, protocol=protocol,
                signature="reference_text=impression; labeller=chexbert@1; n=2; failed=0; seed=0",
                reason=None if value is not None else "it is not here",
            )
            for (metric, pathology), value in values.items()
        ],
    )  # fmt: skip
    run.write_results(f"{protocol}-1", results, b"")
    run.release()
    return run


def also_scored(run: RunFolder, folder: str, value: float, **score: Any) -> Path:
    """Another scoring of the run, in which every value is this."""
    known = run.results("unix-1")
    assert known is not None
    metrics = [metric.model_copy(update={"value": value}) for metric in known.metrics]
    other = known.model_copy(update={"metrics": metrics, "score_spec": {**known.score_spec, **score}})
    with run:
        return run.write_results(folder, other, b"")


def reviewed() -> Path:
    (path,) = Path("results/report").glob("*/*/*/*.json")
    return path


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("place", ["golden", "shared"])
def test_the_papers_tables_come_out_cell_by_cell(number: int, place: str, golden: Path) -> None:
    source = (golden / "published" if place == "golden" else SHARED) / FILES[number]
    if not source.is_file():
        pytest.skip("the shared files are not here")
    task = "report" if number == 2 else "generation"
    result = bench("leaderboard", "--task", task, "--view", f"paper-table-{number}", "--published", "--format", "csv")
    assert result.exit_code == 0, result.output
    expected, found = records(source.read_text(encoding="utf-8")), records(result.stdout)
    assert [{key: row[key] for key in expected[0]} for row in found] == expected
    assert list(found[0])[: len(expected[0])] == list(expected[0])
    for row in found:
        for caveat in ("test_set", "n", "reference_text", "quoted_from"):
            assert row[caveat] == "not stated"
        assert row["origin"] == "paper"
        assert row["estimator"]


def test_the_stored_tables_hold_the_readmes_caveats() -> None:
    rows = {number: {row["model"]: row for row in table.rows} for number, table in paper_tables().items()}
    for model in ("Med-PaLM M", "GPT-4V", "LLaVA-Rad", "LLaVA-Med", "FlamingoCXR"):
        assert "likely-quoted" in rows[2][model]["notes"]
    assert "unix-parameters" in rows[3]["UniX"]["notes"]
    assert rows[3]["Sana"]["asterisk"] == rows[4]["Sana"]["asterisk"] == "true"
    assert rows[3]["Sana"]["estimator"] != rows[4]["Sana"]["estimator"]


def test_publishing_keeps_the_record_and_nothing_of_a_study() -> None:
    run = make_run("one", {("bleu_4", None): 0.3, ("bleu_4", "Edema"): None})
    result = bench("publish", "one", "--unverified")
    assert result.exit_code == 0, result.output
    place = "results/report/1/unix/mimic_cxr-unix_json@cdcdcdcd/unix@abababababab-seed0.json"
    assert str(reviewed()) == place
    document = json.loads(reviewed().read_text())
    assert Results.model_validate(document["results"]) == run.results("unix-1")
    for private in ("study-0", "secret", str(Path.cwd()), os.uname().nodename):
        assert private not in reviewed().read_text()
    before = reviewed().read_bytes()
    assert bench("publish", "one", "--unverified").exit_code == 0
    assert reviewed().read_bytes() == before


def test_what_is_not_published() -> None:
    make_run("demo", {("bleu_4", None): 0.3}, demo=True)
    refused(bench("publish", "demo", "--unverified"), "stand-in", "--demo")
    make_run("short", {("bleu_4", None): 0.3}, samples=1)
    refused(bench("publish", "short", "--unverified"), "unfinished, 1 of 2 predictions are missing")
    bare = make_run("bare", {("bleu_4", None): 0.3})
    bare.forget_results()
    refused(bench("publish", "bare", "--unverified"), "bare has no results")
    leaky = make_run("leaky", {("bleu_4", None): None})
    path = leaky.score_files()[0]
    path.write_text(path.read_text().replace("it is not here", "study-1 broke it"))
    refused(bench("publish", "leaky", "--unverified"), "name a study")
    path.write_text(path.read_text().replace("study-1 broke it", "on: A long secret report."))
    refused(bench("publish", "leaky", "--unverified"), "quote a report")
    assert not list(Path("results/report").glob("*/*/*/*.json"))
    assert bench("publish", "demo", "--unverified", "--demo").exit_code == 0


def test_restricted_results_without_their_run_are_not_published() -> None:
    run = make_run("one", {("bleu_4", None): None})
    bare = Path("elsewhere/results.json")
    bare.parent.mkdir()
    shutil.copy(run.score_files()[0], bare)
    text = bare.read_text()
    bare.write_text(text.replace("it is not here", "study-1 broke it"))
    refused(bench("publish", bare, "--unverified"), "name a study")
    bare.write_text(text.replace("it is not here", "on: The reference of a study."))
    with run:
        run.append([Sample(id="study-0", unix_csv=("nan", "The reference of a study."))])
    refused(bench("publish", bare, "--unverified"), "quote a report")
    shutil.rmtree(run.path)
    refused(bench("publish", bare, "--unverified"), "restricted", "its run one is not in results/runs")
    assert not list(Path("results").glob("report/*/*/*/*.json"))


@pytest.fixture
def real(tmp_path: Path) -> RunFolder:
    """A run whose results can be derived again, scored without findings."""
    reports = make_folder(tmp_path / "made", 6)
    lines = ({"id": f"study-{index}", "report": text} for index, text in enumerate(reports[:1] * 6))
    file = write_lines(tmp_path / "said.jsonl", lines)
    said = bench("score", "--task", "report", "--predictions", file, "--data", tmp_path / "made", "--json", "--quiet")
    assert said.exit_code == 0, said.output
    return RunFolder(Path("results/runs", json.loads(said.stdout)["run"]))


def test_what_is_published_was_derived_again(real: RunFolder) -> None:
    path = real.score_files()[0]
    kept = path.read_text()
    document = json.loads(kept)
    next(one for one in document["metrics"] if one["name"] == "rouge_l")["value"] = 0.999
    path.write_text(json.dumps(document))
    for words in ((), ("--unverified",)):
        refused(bench("publish", real.id, "--demo", *words), "rouge_l, overall: value is 0.999, and should be 0.")
    path.write_text(kept)
    Path("made").rename("gone")
    refused(bench("publish", real.id, "--demo"), "cannot be derived again here", "--unverified")
    assert not list(Path("results").glob("report/*/*/*/*.json"))
    assert bench("publish", real.id, "--demo", "--unverified").exit_code == 0
    assert json.loads(reviewed().read_text())["verified"] is False
    Path("gone").rename("made")
    assert bench("publish", real.id, "--demo").exit_code == 0
    assert json.loads(reviewed().read_text())["verified"] is True


def test_bare_results_of_open_data_are_published_only_as_unverified(real: RunFolder) -> None:
    shutil.copy(real.score_files()[0], "results.json")
    Path("results/runs").rename("results/other")
    refused(bench("publish", "results.json", "--demo"), f"its run {real.id} is not in", "--unverified")
    assert bench("publish", "results.json", "--demo", "--unverified").exit_code == 0


def test_a_scoring_per_pathology_changes_no_number_of_a_published_run(real: RunFolder) -> None:
    assert bench("publish", real.id, "--demo").exit_code == 0
    assert bench("score", real.id, "--per-pathology", "--quiet").exit_code == 0
    board = ("leaderboard", "--task", "report", "--demo", "--format", "csv")
    for words, origin in (((), "reviewed"), (("--per-pathology",), "run")):
        result = bench(*board, *words)
        assert "WARNING" not in result.stderr
        assert {row["origin"] for row in records(result.stdout)} == {origin}
    before = json.loads(reviewed().read_text())["results"]["metrics"]
    assert bench("publish", real.id, "--demo").exit_code == 0
    after = json.loads(reviewed().read_text())["results"]["metrics"]
    assert len(after) > len(before)
    assert all(metric in after for metric in before)
    part = next(path for path in real.score_files() if '"per_pathology": false' in path.read_text())
    kept = reviewed().read_bytes()
    assert bench("publish", part, "--demo").exit_code == 0
    assert reviewed().read_bytes() == kept
    result = bench(*board, "--per-pathology")
    assert {row["origin"] for row in records(result.stdout)} == {"reviewed"}


def test_the_times_of_files_choose_no_scoring() -> None:
    run = make_run("one", paper_values("report"))
    files = [
        run.path / "scores/unix-1/results.json",
        also_scored(run, "unix-0", 0.5, per_pathology=False),
        also_scored(run, "unix-00", 0.6, on_error="fail"),
        also_scored(run, "unix-01", 0.7, uncertain="positive"),
        also_scored(run, "unix-2", 0.8),
        also_scored(run, "sound-1", 0.9, protocol="sound", on_error="drop-pair"),
    ]
    said = set()
    for newest in files:
        for file in files:
            os.utime(file, (9, 9) if file == newest else (1, 1))
        assert bench("publish", "one:unix", "--unverified").exit_code == 0
        assert bench("publish", "one", "--unverified").exit_code == 0
        kept = [path.read_bytes() for path in sorted(Path("results/report").glob("*/*/*/*.json"))]
        assert len(kept) == 2, "the default protocol where none is named"
        table = bench("leaderboard", "--task", "report", "--protocol", "unix", "--format", "csv").stdout
        shutil.rmtree("results/report")
        own = bench("leaderboard", "--task", "report", "--format", "markdown").stdout
        said.add((*kept, table, own, bench("reproduce", "paper", "--run", "one", "--json").stdout))
    ((*_, found),) = said
    assert {one["verdict"] for one in json.loads(found)["comparisons"]} == {"agrees"}


def test_another_record_of_the_name_is_replaced_only_if_asked() -> None:
    make_run("one", {("bleu_4", None): 0.3})
    make_run("two", {("bleu_4", None): 0.4}, limit=9)
    assert bench("publish", "one", "--unverified").exit_code == 0
    before = reviewed().read_bytes()
    refused(bench("publish", "two", "--unverified"), "limit null there and 9 here", "--replace")
    assert reviewed().read_bytes() == before
    assert bench("publish", "two", "--unverified", "--replace").exit_code == 0
    assert '"value": 0.4' in reviewed().read_text()


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda text: text[: len(text) // 2], "cut short or damaged"),
        (lambda text: text.replace('"value": 0.3', '"value": 0.9'), "edited by hand"),
        (lambda text: text.replace('"value": 0.3', '"value": NaN'), "cut short or damaged"),
        (lambda text: "[]", "cut short or damaged"),
        (lambda text: text.replace('"published"', '"publised"'), "no reviewed result (published"),
    ],
)
def test_damaged_records_are_named(damage: Callable[[str], str], part: str) -> None:
    make_run("one", {("bleu_4", None): 0.3})
    bench("publish", "one", "--unverified")
    path = reviewed()
    changed = damage(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    refused(bench("leaderboard", "--task", "report"), str(path), part)


@pytest.mark.parametrize("place", ['{\n "schema_version": 1', '"schema_version": 2'])
def test_a_newer_record_is_left_out_and_stops_no_board(place: str) -> None:
    make_run("one", {("bleu_4", None): 0.3})
    assert bench("publish", "one", "--unverified").exit_code == 0
    newer, text = reviewed(), reviewed().read_text()
    newer.write_text(text.replace(place, place[:-1] + "99"))
    shutil.rmtree("results/runs/one")
    make_run("two", {("bleu_4", None): 0.4}, model="other")
    result = bench("leaderboard", "--task", "report", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert [row["model"] for row in records(result.stdout)] == ["other"]
    assert f"WARNING: left out: {newer}: it is of schema version 99" in result.stderr


def test_a_record_in_the_wrong_place_is_refused() -> None:
    make_run("one", {("bleu_4", None): 0.3})
    bench("publish", "one", "--unverified")
    reviewed().rename(reviewed().with_name("gpt-9@abababababab-seed0.json"))
    refused(bench("leaderboard", "--task", "report"), "gpt-9", "belongs to")


def test_an_unknown_metric_is_kept_and_never_ranked() -> None:
    for seed in (0, 1):
        make_run(f"r{seed}", {("bleu_4", None): 0.3, ("new_score", None): seed + 0.5}, model=f"m{seed}")
        bench("publish", f"r{seed}", "--unverified")
    rows = records(bench("leaderboard", "--task", "report", "--view", "all", "--format", "csv").stdout)
    assert [row["new_score"] for row in rows] == ["0.5000", "1.5000"]
    assert {row["new_score_rank"] for row in rows} == {""}
    assert "new_score" not in bench("leaderboard", "--task", "report").stdout


def test_half_written_files_and_damaged_runs_stop_no_board() -> None:
    run = make_run("one", {("bleu_4", None): 0.3})
    bench("publish", "one", "--unverified")
    reviewed().with_name("x.json.77.partial").write_text("{")
    other = make_run("two", {("bleu_4", None): 0.4}, seed=1)
    (other.path / "scores" / "unix-2").mkdir()
    (other.path / "scores" / "unix-2" / "results.json.77.partial").write_text("{")
    shutil.copytree(run.path, "results/runs/three")
    broken = Path("results/runs/three/scores/unix-1/results.json")
    broken.write_text(broken.read_text()[:100])
    Path("results/runs/four").mkdir()
    Path("results/runs/four/run.json.77.partial").write_text("{")
    result = bench("leaderboard", "--task", "report", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert "WARNING: left out: " in result.stderr
    assert "three" in result.stderr
    (row,) = records(result.stdout)
    assert row["seeds"] == "0 1"
    assert row["bleu_4"] == "0.3500"


def test_a_run_that_is_published_too_stands_once_and_its_own_scoring_counts() -> None:
    run = make_run("one", {("bleu_4", None): 0.3})
    bench("publish", "one", "--unverified")
    (row,) = records(bench("leaderboard", "--task", "report", "--format", "csv").stdout)
    assert row["origin"] == "reviewed"
    also_scored(run, "unix-1", 0.5)
    result = bench("leaderboard", "--task", "report", "--format", "csv")
    assert [row["bleu_4"] for row in records(result.stdout)] == ["0.5000"]
    assert "scored anew after it was published" in result.stderr


def test_what_cannot_be_compared_stands_in_tables_of_its_own() -> None:
    make_run("one", {("bleu_4", None): 0.3})
    make_run("two", {("bleu_4", None): 0.4}, limit=8)
    make_run("three", {("bleu_4", None): 0.5}, protocol="sound")
    make_run("four", {("bleu_4", None): 0.6}, demo=True)
    text = bench("leaderboard", "--task", "report").stdout
    assert text.count("| --- |") == 3
    assert "0.6000" not in text
    assert bench("leaderboard", "--task", "report", "--demo").stdout.count("| --- |") == 4
    assert bench("leaderboard", "--task", "report", "--protocol", "unix").stdout.count("| --- |") == 2
    refused(bench("leaderboard", "--task", "report", "--out", "t.csv"), "--table N", "1: report.1", "the first 8")
    assert not Path("t.csv").exists()
    assert bench("leaderboard", "--task", "report", "--out", "t.csv", "--table", 3).exit_code == 0
    assert [row["limit"] for row in records(Path("t.csv").read_text())] == ["8"]
    refused(bench("leaderboard", "--task", "report", "--table", 9), "there are 3 tables")


def test_wrong_words() -> None:
    refused(bench("leaderboard"), "--task is missing")
    refused(bench("leaderboard", "--task", "reprt"), "did you mean 'report'")
    refused(bench("leaderboard", "--task", "report", "--view", "paper-table-3"), "unknown view of report")
    refused(bench("leaderboard", "--task", "report", "--protocol", "soud"), "did you mean 'sound'")
    refused(bench("leaderboard", "--task", "report"), "no scored run of report in results/runs")
    refused(bench("leaderboard", "--task", "report", "--published", "--out", "x.pdf"), ".csv, .tex, .md, .html")
    refused(
        bench("leaderboard", "--task", "generation", "--published", "--view", "paper-table-4", "--per-pathology"),
        "has the findings as columns",
    )
    make_run("demo", {("bleu_4", None): 0.3}, demo=True)
    refused(bench("leaderboard", "--task", "report"), "1 of a stand-in (--demo shows them)")


def test_pages_link_to_what_lies_below_them_and_are_the_same_elsewhere(tmp_path: Path) -> None:
    make_run("one", {("bleu_4", None): 0.3})
    assert bench("leaderboard", "--task", "report", "--out", "board.html").exit_code == 0
    link = 'href="results/runs/one/scores/unix-1/results.json"'
    assert link in Path("board.html").read_text()
    assert bench("leaderboard", "--task", "report", "--out", "results/runs/b.html").exit_code == 0
    assert 'href="one/scores/unix-1/results.json"' in Path("results/runs/b.html").read_text()
    assert bench("leaderboard", "--task", "report", "--out", "else/where.html").exit_code == 0
    assert "href" not in Path("else/where.html").read_text(), "the way there would tell where the runs lie"
    shutil.copytree("results", tmp_path / "copy")
    for name in ("a.tex", "a.md", "a.csv", "a.html"):
        bench("leaderboard", "--task", "report", "--published", "--out", f"x/{name}")
        bench("leaderboard", "--task", "report", "--published", "--out", f"y/{name}", "--results", "copy/runs")
        assert Path(f"x/{name}").read_bytes() == Path(f"y/{name}").read_bytes()


def paper_values(task: str, change: float = 0.0) -> dict[tuple[str, str | None], float | None]:
    """The paper's own numbers of UniX at 512 pixels, as ours would be."""
    values: dict[tuple[str, str | None], float | None] = {}
    for number, table in paper_tables().items():
        view = paper_view(number)
        for row in table.rows:
            if table.task == task and row["model"] == "UniX" and row.get("resolution", "512") == "512":
                for column in view.columns:
                    values[column.metric, column.pathology] = (float(row[column.name]) + change) / (
                        100 if view.percent else 1
                    )
    return values


def test_the_papers_own_numbers_agree_with_the_paper() -> None:
    make_run("report", paper_values("report"))
    make_run("drawn", paper_values("generation"), task="generation")
    result = bench("reproduce", "paper", "--run", "report", "--run", "drawn", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["comparisons"]) == 8 + 7 + 14
    assert {one["verdict"] for one in found["comparisons"]} == {"agrees"}
    assert all(one["reason"] for one in found["comparisons"])
    assert any("2 pairs instead of 2365" in note for note in found["differs"])
    assert any("seeds of the published images are not known" in note for note in found["differs"])


@pytest.mark.parametrize(("change", "code"), [(0.99, 0), (-0.99, 0), (1.01, 1), (-1.01, 1)])
def test_the_tolerance_of_pooled_f1_is_one_point(change: float, code: int) -> None:
    make_run("report", paper_values("report", change))
    result = bench("reproduce", "paper", "--run", "report")
    assert result.exit_code == code, result.output
    assert ("4 of 8 numbers lie outside" in result.stderr) == bool(code)


def test_what_was_not_computed_is_not_judged() -> None:
    make_run("report", {**paper_values("report"), ("chexbert_f1_micro_14_neg", None): None})
    result = bench("reproduce", "paper", "--run", "report", "--json")
    assert result.exit_code == 0
    (one,) = (one for one in json.loads(result.stdout)["comparisons"] if one["verdict"] != "agrees")
    assert (one["verdict"], one["reason"]) == ("not computed", "it is not here")
    make_run("none", {("bleu_4", None): 0.1})
    refused(bench("reproduce", "paper", "--run", "none"), "no metric of the paper's tables was computed", code=3)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"protocol": "sound"}, "unix-bench score one --protocol unix"),
        ({"demo": True}, "stand-in"),
        ({"limit": 8}, "a part of the test set"),
        ({"subset": "nightly@1234"}, "a part of the test set"),
        ({"data": "iu_xray"}, "its data is iu_xray"),
        ({"model": "sana"}, "no row for model sana"),
    ],
)
def test_what_cannot_be_held_against_the_paper(change: dict[str, Any], part: str) -> None:
    make_run("one", paper_values("report"), **change)
    refused(bench("reproduce", "paper", "--run", "one"), "nothing can be held against the paper", part, code=3)


def test_an_image_size_that_the_paper_has_not() -> None:
    make_run("one", paper_values("generation"), task="generation", settings={"size": 384})
    refused(bench("reproduce", "paper", "--run", "one"), "384 pixels", code=3)
    refused(bench("reproduce", "paper", "--run", "nothing"), "no run 'nothing'")


@pytest.mark.slow
def test_the_tables_come_out_of_an_installed_wheel(tmp_path: Path, golden: Path) -> None:
    """What the wheel's build file says lies in it, unpacked elsewhere and asked from there."""
    import tomllib

    root = Path(__file__).parents[1]
    place = tmp_path / "site"
    shutil.copytree(root / "unix_bench", place / "unix_bench", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, target in wheel["force-include"].items():
        shutil.copytree(root / source, place / target)
    words = ("leaderboard", "--task", "generation", "--view", "paper-table-3", "--published", "--format", "csv")
    done = subprocess.run(
        [sys.executable, "-m", "unix_bench", *words],
        env={**os.environ, "PYTHONPATH": str(place)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = records((golden / "published" / "generation.csv").read_text())
    assert [{key: row[key] for key in expected[0]} for row in records(done.stdout)] == expected


def test_the_tables_ship_with_the_package() -> None:
    assert (bundled("results/published") / "paper.toml").is_file()
