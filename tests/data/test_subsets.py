"""Fixed subsets: whole patients, every finding in its share, the same everywhere."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from bench import bench, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unix_bench.data import FINDINGS, DataSet, Inputs, Reference, Study, choose_subset


def made(patients: int, seed: int) -> DataSet:
    """Patients of skewed size with rare and common findings."""
    rng = random.Random(seed)
    studies = []
    for patient in range(patients):
        for number in range(1 + int(rng.expovariate(0.4))):
            labels = {finding: int(rng.random() < 0.02 * (1 + place)) for place, finding in enumerate(FINDINGS)}
            inputs = Inputs(f"{patient}-{number}", Path("x.png"), "prompt")
            studies.append(Study(inputs, Reference(Path("x.png"), "report", labels), patient_id=str(patient)))
    return DataSet("made", Path(), tuple(studies), "", "", restricted=True, opened_as="made")


@settings(max_examples=20, deadline=None, derandomize=True)  # the bound is what is usual, not what is certain
@given(st.integers(0, 10_000), st.integers(60, 300))
def test_patients_are_whole_and_findings_have_their_share(seed: int, patients: int) -> None:
    data = made(patients, seed)
    size = len(data.studies) // 3
    subset = choose_subset("nightly", data, data.studies, size, seed)
    assert size - 15 <= len(subset.ids) <= size
    chosen = [study for study in data.studies if study.id in set(subset.ids)]
    inside = {study.patient_id for study in chosen}
    assert inside.isdisjoint(study.patient_id for study in data.studies if study.id not in set(subset.ids))
    for finding in FINDINGS:
        of_all = sum(study.reference.labels[finding] for study in data.studies)
        mine = sum(study.reference.labels[finding] for study in chosen)
        share = of_all * size / len(data.studies)
        assert abs(mine - share) <= 3 + 0.4 * share, finding


def test_the_same_set_gives_the_same_subset() -> None:
    data = made(100, 1)
    first = choose_subset("nightly", data, data.studies, 60, 0)
    assert choose_subset("nightly", made(100, 1), data.studies, 60, 0) == first
    assert choose_subset("nightly", data, data.studies, 60, 1).ids != first.ids
    shuffled = choose_subset("nightly", data, list(reversed(data.studies)), 60, 0)
    assert set(shuffled.ids) == set(first.ids)


def test_a_run_on_a_subset() -> None:
    made = bench("data", "subset", "demo", "--name", "nightly-12", "--size", 12, "--task", "generation")
    assert made.exit_code == 0, made.output
    stored = json.loads(Path("unix-bench/subsets/nightly-12.json").read_text())
    words = ("run", "--model", "unix", "--task", "generation", "--subset", "nightly-12", "--quiet", "--json")
    result = bench(*words, "--set", "num_timesteps=2")
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert results["counts"]["ok"] == len(stored["ids"]) <= 12
    assert results["predict_spec"]["subset"].startswith("nightly-12@")
    assert "subset=nightly-12@" in results["metrics"][0]["signature"]
    again = bench("data", "subset", "demo", "--name", "nightly-12", "--size", 12)
    assert again.exit_code == 2
    assert "exists: a subset is fixed" in again.stderr


def test_a_subset_without_a_study_for_the_task(tmp_path: Path) -> None:
    """The first study of the data has a report; it is none of the subset's."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = ["id,image,prompt,report"]
    for index in range(6):
        Image.fromarray(np.full((8, 8), index, dtype=np.uint8)).save(folder / f"{index}.png")
        rows.append(f"{index},{index}.png,Prompt {index}.,{'' if index else 'Clear lungs.'}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert bench("data", "subset", folder, "--name", "few", "--size", 5, "--task", "generation").exit_code == 0
    path = Path("unix-bench/subsets/few.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "ids": ["3", "4"]}))
    said = "subset 'few' of data 'mine' has no study for this task: no reference report in any row"
    refused(bench("run", "--model", "unix", "--task", "report", "--data", folder, "--subset", "few"), said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--model", "unix", "--task", "report", "--subset", "nightly"], "unknown subset 'nightly'"),
        (["data", "subset", "demo", "--name", "../x", "--size", "3"], "subset name '../x'"),
        (["data", "subset", "demo", "--name", "x", "--size", "500"], "a subset of 500 is not one"),
    ],
)
def test_refused(words: list[str], message: str) -> None:
    result = bench(*words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_subset_of_another_state_of_the_data() -> None:
    assert bench("data", "subset", "demo", "--name", "n", "--size", 5).exit_code == 0
    path = Path("unix-bench/subsets/n.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_digest": "0"}))
    result = bench("run", "--model", "unix", "--task", "report", "--subset", "n")
    assert (result.exit_code, "another state of demo" in result.stderr) == (2, True)
    path.write_text("{}")
    assert "is no subset file" in bench("run", "--model", "unix", "--task", "report", "--subset", "n").stderr
