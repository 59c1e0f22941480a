"""Chat-style models through the command line: each demo, twice, in other batches, on real X-rays, and failing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench import bench, refused

from unix_bench import registry

OPEN = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
CLASSES = ("medgemma-4b", "chexone", "nv-reason-cxr", "healthgpt-pro-4b", "llava-med", "janus-pro-1b")


def run(name: str, results: str, *words: object, code: int = 0) -> Path:
    """A run's folder."""
    said = bench(
        "run", "--model", name, "--task", "report", "--limit", 4, "--quiet", "--json", "--results", results, *words
    )
    assert said.exit_code == code, said.output
    return Path(results) / str(json.loads(said.stdout)["run"])


def results_of(folder: Path) -> bytes:
    (found,) = folder.rglob("results.json")
    return found.read_bytes()


def reports(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for path in folder.glob("samples-*.jsonl") for line in path.read_text().splitlines()]
    return {line["id"]: line.get("report") or line.get("error") for line in lines}


@pytest.mark.parametrize("name", CLASSES)
def test_the_demo_of_each_class_runs(name: str) -> None:
    first = run(name, "one", "--batch-size", 4)
    assert results_of(first) == results_of(run(name, "two", "--batch-size", 4))
    assert json.loads(results_of(first))["demo"] is True
    written = reports(first)
    assert len(written) == 4
    assert all(text.startswith(("The heart", "There is")) and text.endswith(".") for text in written.values())
    for size in (1, 3):
        assert reports(run(name, f"by-{size}", "--batch-size", size)) == written


@pytest.mark.skipif(not OPEN.is_dir(), reason="the shared X-rays are not here")
@pytest.mark.parametrize("name", CLASSES)
def test_on_real_x_rays(name: str) -> None:
    first = run(name, "one", "--data", OPEN, "--batch-size", 2)
    assert results_of(first) == results_of(run(name, "two", "--data", OPEN, "--batch-size", 2))
    assert reports(run(name, "other", "--data", OPEN, "--batch-size", 3)) == reports(first)


@pytest.mark.parametrize("name", ["medgemma-27b", "medgemma-1.5-4b", "lingshu-7b", "lingshu-32b"])
def test_the_other_cards_run(name: str) -> None:
    assert len(reports(run(name, "one"))) == 4


def test_a_seed_of_its_own_decides_what_is_drawn() -> None:
    drawn = ("--set", "temperature=3")
    first = reports(run("llava-med", "one", *drawn))
    assert reports(run("llava-med", "two", "--batch-size", 1, *drawn)) == first
    assert reports(run("llava-med", "three", *drawn, "--seed", 1)) != first


def test_an_answer_without_a_report_fails_and_is_not_kept() -> None:
    folder = run("chexone", "one", "--set", "max_new_tokens=3", code=1)
    assert set(reports(folder).values()) == {r"NoAnswer: its last \boxed{} is not closed"}
    assert "heart" not in "".join(path.read_text() for path in folder.glob("samples-*.jsonl"))
    folder = run("medgemma-4b", "two", "--set", "extract=section", "--set", "section=Technique", code=1)
    assert set(reports(folder).values()) == {"NoAnswer: there is no section 'Technique'"}


def test_weights_that_are_configured_and_not_there() -> None:
    Path("weights/medgemma-4b").mkdir(parents=True)
    words = ("run", "--model", "medgemma-4b", "--task", "report", "--weights", "weights")
    gate = registry.model("medgemma-4b").gate
    refused(bench(*words), "config.json is missing: copy the files of google/medgemma-4b-it there", f"gated: {gate}")
