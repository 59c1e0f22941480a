"""Predictions from a file, run as a model: the same numbers as `score --predictions` gives of that file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import bench, make_folder, refused, write_lines
from PIL import Image

from unix_bench.data import DEMO, read_folder
from unix_bench.registry import model

OPEN = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
UNRUNNABLE = ("med-palm-m", "flamingo-cxr", "gpt-4v")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path / "data", 12)
    return tmp_path / "data"


def reports(place: Path, ids: Sequence[str], **broken: str) -> Path:
    """A folder of predictions: one of four sentences a study, an error where one is named; returns it."""
    place.mkdir()
    texts = ["The heart is enlarged.", "No pneumothorax.", "There is pulmonary edema.", "Lungs are clear."]
    lines = (
        {"id": name, "error": broken[name]} if name in broken else {"id": name, "report": texts[index % 4]}
        for index, name in enumerate(ids)
    )
    write_lines(place / "report.jsonl", lines)
    return place


def images(place: Path, ids: Sequence[str]) -> Path:
    """A folder of predicted images, JPEG, grey PNG of 16 bits and RGB among them; returns it."""
    (place / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(1)
    lines = []
    for index, name in enumerate(ids):
        if index % 3 == 1:
            picture = Image.fromarray(rng.integers(0, 65536, size=(40, 30), dtype=np.uint16))
        else:
            shape = (32, 32) if index % 3 else (32, 32, 3)
            picture = Image.fromarray(rng.integers(0, 256, size=shape, dtype=np.uint8))
        file = f"pictures/{index}.{'png' if index % 3 else 'jpg'}"
        picture.save(place / file)
        lines.append({"id": name, "image": file})
    write_lines(place / "generation.jsonl", lines)
    return place


def scored(*words: object) -> dict[str, Any]:
    said = bench(*words, "--quiet", "--json", "--max-failed", 1)
    assert said.exit_code == 0, said.output
    return dict(json.loads(said.stdout))


def numbers(results: dict[str, Any]) -> dict[tuple[str, str | None], tuple[object, ...]]:
    """All that a metric says, but for its signature's words."""
    return {
        (one["name"], one["pathology"]): (one["value"], one["ci"], one["sd"], one["n"], one["flags"])
        for one in results["metrics"]
    }


@pytest.mark.parametrize("task", ["report", "generation"])
@pytest.mark.parametrize("data", ["demo", pytest.param(OPEN, marks=pytest.mark.skipif(not OPEN.is_dir(), reason="-"))])
def test_the_numbers_are_those_of_the_file(task: str, data: str | Path, tmp_path: Path) -> None:
    limit = 12
    studies = read_folder(DEMO if data == "demo" else data).studies  # type: ignore[arg-type]
    ids = [study.id for study in studies if task == "generation" or study.reference.report][:limit]
    place = (reports if task == "report" else images)(tmp_path / "theirs", ids[1:])
    words = ("--task", task, "--data", data, "--limit", limit, *(["--per-pathology"] if task == "report" else []))
    run = ("run", "--model", "recorded", "--weights", place, *words)
    mine = scored(*run)
    theirs = scored("score", "--predictions", place / f"{task}.jsonl", *words)
    assert mine["counts"] == theirs["counts"]
    assert mine["counts"]["failed"] == 1
    assert numbers(mine) == numbers(theirs)
    assert not mine["predict_spec"]["model"].endswith("-demo")
    written = [next(Path(place).glob(f"{mine['run']}/scores/*/results.json")) for place in ("one", "results/runs")
               if scored(*run, "--results", place)]  # fmt: skip
    assert written[0].read_bytes() == written[1].read_bytes()
    assert numbers(scored(*run, "--batch-size", 5)) == numbers(mine)


def test_what_is_missing_or_failed(folder: Path, tmp_path: Path) -> None:
    ids = [f"study-{index}" for index in (0, 1, 2, 5, 6, 7, 8, 9, 10, 11)]
    place = reports(tmp_path / "theirs", [*ids, "of another set"], **{"study-2": "it was too dark"})
    with (place / "report.jsonl").open("a") as stream:
        stream.write('{"id": "study-3", "report": null}\n')
    results = scored("run", "--model", "recorded", "--weights", place, "--task", "report", "--data", folder)
    assert results["counts"] == {"total": 12, "ok": 9, "failed": 3, "skipped": 0}
    lines = (Path("results/runs") / results["run"] / "samples-0.jsonl").read_text().splitlines()
    errors = {one["id"]: one["error"] for one in map(json.loads, lines) if "error" in one}
    assert errors == {
        "study-2": "NoPrediction: it was too dark",
        "study-3": "NoPrediction: its prediction is null in report.jsonl",
        "study-4": "NoPrediction: no prediction in report.jsonl",
    }


def test_an_image_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    place = images(tmp_path / "theirs", [f"study-{index}" for index in range(12)])
    (place / "pictures" / "4.png").unlink()
    results = scored("run", "--model", "recorded", "--weights", place, "--task", "generation", "--data", folder)
    assert results["counts"]["failed"] == 1


def test_another_file_is_another_run(folder: Path, tmp_path: Path) -> None:
    ids = [f"study-{index}" for index in range(12)]
    place = reports(tmp_path / "theirs", ids)
    shutil.copy(place / "report.jsonl", place / "better.jsonl")
    words = ("run", "--model", "recorded", "--weights", place, "--task", "report", "--data", folder)
    before = scored(*words)["run"]
    assert scored(*words, "--set", "file=better.jsonl")["run"] != before
    (place / "report.jsonl").write_text((place / "report.jsonl").read_text().replace("clear", "dark"))
    assert scored(*words)["run"] != before


@pytest.mark.parametrize("name", UNRUNNABLE)
def test_nobody_can_run_these(name: str, folder: Path, tmp_path: Path) -> None:
    run = ("run", "--model", name, "--task", "report", "--data", folder)
    title = model(name).title
    said = bench(*run)
    refused(said, f"{title} is not run but read from a file, and has no demo", "nobody can run it", "report.jsonl")
    refused(bench("weights", "demo", "--model", name, "--out", "w"), title, "give --weights FOLDER")
    place = reports(tmp_path / "theirs", [f"study-{index}" for index in range(12)])
    assert scored(*run, "--weights", place)["predict_spec"]["model"] == name


def test_their_published_numbers_are_in_the_tables() -> None:
    from unix_bench.tables.leaderboard import paper_tables

    printed = {row["model"] for table in paper_tables().values() for row in table.rows}
    assert {model(name).published for name in UNRUNNABLE} <= printed


@pytest.mark.parametrize(
    ("task", "lines", "parts"),
    [
        ("report", None, ("report.jsonl is missing", "give --weights FOLDER that holds report.jsonl")),
        ("report", "", ("report.jsonl holds no prediction",)),
        (
            "report",
            '{"id": "a", "report": "x"}\n{"id": "a", "report": "y"}',
            ("line 2: id 'a' already stands in line 1",),
        ),
        ("report", '{"id": "a", "report": "x"', ("line 1 is not JSON",)),
        ("report", '{"id": "a", "image": "x.png"}', ("prediction of 'a': it has no text under \"report\"",)),
        ("generation", '{"id": "a", "report": "x"}', ("prediction of 'a': it has no path under \"image\"",)),
        ("generation", '{"id": "a", "image": "../x.png"}', ("image '../x.png' leaves the folder",)),
        ("generation", '{"id": "a", "image": "x\\u0000.png"}', ("is no path",)),
    ],
)
def test_files_that_are_none(task: str, lines: str | None, parts: Sequence[str], folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir()
    if lines is not None:
        (place / f"{task}.jsonl").write_text(lines)
    refused(bench("run", "--model", "recorded", "--weights", place, "--task", task, "--data", folder), *parts)
    assert not Path("results").exists()


def test_the_file_stays_in_its_folder(folder: Path, tmp_path: Path) -> None:
    place = reports(tmp_path / "theirs", ["study-0"])
    words = ("run", "--model", "recorded", "--weights", place, "--task", "report", "--data", folder)
    refused(bench(*words, "--set", "file=../report.jsonl"), "file must be the name of a file in the folder")
    refused(bench(*words, "--set", "file="), "file must be the name of a file in the folder, not ''")
    refused(bench(*words, "--set", "path=x"), "unknown setting 'path'")


def test_a_card_without_its_setting(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused where it is used, and listed among the others."""
    (tmp_path / "weights").mkdir()
    place = reports(tmp_path / "weights" / "mine", ["study-0"]).parent
    cards = Path("unix-bench/baselines")
    cards.mkdir(parents=True)
    (cards / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\nfamily = "recorded"\ntasks = ["report"]\nweights = "mine"\n[settings.report]\n'
    )
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(place))
    rows = {row["model"]: row for row in json.loads(bench("list", "models", "--json").stdout)}
    assert "card 'mine': file must be the name of a file in the folder, not None" in rows["mine"]["weights"]
    refused(bench("run", "--model", "mine", "--task", "report", "--data", folder), "its one setting for report is file")
