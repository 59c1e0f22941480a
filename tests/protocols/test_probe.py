"""The probe through the command line: sums done again from the samples, policies, batches, and what users get wrong."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bench import bench, refused
from click.testing import Result
from PIL import Image
from safetensors.torch import load_file, save_file

from unix_bench.data import Inputs, Reference, Study
from unix_bench.protocols import Pair
from unix_bench.protocols.probe import SoundProbe
from unix_bench.records import RunFolder, Sample

COLUMNS = ("id", "image", "report", "prompt", "patient_id", "Edema", "Fracture")
ROWS = [
    ("a", "Clear lungs. No effusion.", "Clear lungs.", "p1", 1, 0),
    ("b", "Cardiomegaly.", "Cardiomegaly.", "p1", 0, 0),
    ("c", "Mild edema with bilateral effusions and cardiomegaly.", "", "p2", 1, 1),
    ("d", "", "Edema.", "p3", 1, 0),
    ("e", "", "", "p4", 1, 0),
]


def probe(*words: object) -> Result:
    return bench("run", "--model", "unix", "--task", "probe", "--quiet", *words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies with both texts, one with a report, one with a prompt, one with neither."""
    rng, place = np.random.default_rng(0), tmp_path / "mine"
    place.mkdir()
    with (place / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for name, *rest in ROWS:
            size = (48, 64) if name < "c" else (64, 40)
            Image.fromarray(rng.integers(0, 256, size=size, dtype=np.uint8)).save(place / f"{name}.png")
            table.writerow([name, f"{name}.png", *rest])
    return place


def found(output: str) -> dict[tuple[str | None, str], dict[str, Any]]:
    return {(one["pathology"], one["name"]): one for one in json.loads(output)["metrics"]}


def recorded(results: str = "results/runs") -> dict[str, Mapping[str, Any]]:
    lines = [json.loads(line) for path in Path(results).glob("*/samples-*.jsonl") for line in path.open()]
    return {line["id"]: line for line in lines}


def test_values_follow_from_the_samples(folder: Path) -> None:
    result = probe("--data", folder, "--per-pathology", "--json")
    assert result.exit_code == 0, result.output
    values, losses = found(result.stdout), {name: line["losses"] for name, line in recorded().items()}
    assert {name: sorted(one) for name, one in losses.items()} == {
        "a": ["flow_mse", "report_nats", "report_tokens"],
        "b": ["flow_mse", "report_nats", "report_tokens"],
        "c": ["report_nats", "report_tokens"],
        "d": ["flow_mse"],
    }
    assert json.loads(result.stdout)["counts"] == {"total": 5, "ok": 4, "failed": 0, "skipped": 1}

    def per_token(names: str) -> float:
        return sum(losses[n]["report_nats"] for n in names) / sum(losses[n]["report_tokens"] for n in names)

    def mean(names: str) -> float:
        return sum(losses[n]["flow_mse"] for n in names) / len(names)

    assert values[None, "probe_ce"]["value"] == pytest.approx(per_token("abc"))
    assert values["Edema", "probe_ce"]["value"] == pytest.approx(per_token("ac"))
    assert values[None, "probe_flow_mse"]["value"] == pytest.approx(mean("abd"))
    assert values["Edema", "probe_flow_mse"]["value"] == pytest.approx(mean("ad"))
    assert values["Fracture", "probe_flow_mse"]["value"] is None
    assert values["Fracture", "probe_flow_mse"]["reason"] == "no predicted study of this row has a prompt"
    assert values["Fracture", "probe_ce"]["ci"] is None  # one patient
    assert len(values) == 2 * 15
    for one in values.values():
        if one["ci"] is not None:
            assert one["ci"][0] < one["value"] < one["ci"][1]
    signature = values[None, "probe_ce"]["signature"]
    assert "protocol=sound.1" in signature
    assert "pairs=those with a reference report" in signature
    scores = pd.read_parquet(next(Path("results/runs").glob("*/scores/*/samples.parquet")))
    assert scores["flow_mse"].isna().tolist() == [False, False, True, False]
    assert scores["report_tokens"][:3].tolist() == [losses[n]["report_tokens"] for n in "abc"]


def pairs(nats: list[float], tokens: list[int], patients: list[str]) -> list[Pair]:
    made = []
    for index, (loss, count, patient) in enumerate(zip(nats, tokens, patients, strict=True)):
        name = str(index)
        study = Study(Inputs(name, Path("x")), Reference(Path("x"), "r"), patient_id=patient)
        losses = {"report_nats": loss, "report_tokens": float(count), "flow_mse": loss / 100}
        made.append(Pair(study, Sample(id=name, losses=losses)))
    return made


def interval(made: list[Pair], metric: int) -> tuple[float, float]:
    scoring = SoundProbe(None)
    value = scoring.score(RunFolder(Path("x")), made, scoring.rows(made, False, "negative"), None).rows[0][metric]  # type: ignore[arg-type]
    assert value.ci is not None
    return value.ci


@pytest.mark.parametrize("metric", [0, 1])
def test_intervals_cover_the_truth_over_patients(metric: int) -> None:
    """Patients with a loss of their own, three studies each: about 95 of 100 intervals hold the true loss."""
    rng, truth, held = np.random.default_rng(1), [2.0, 0.6], 0
    for _ in range(200):
        patients = np.repeat(np.arange(40), 3)
        level = rng.gamma(4.0, 0.5, 40)[patients]  # mean 2 nats a token
        tokens = rng.integers(20, 41, 120)  # mean 30, so a report has 60 nats and an image 0.6
        low, high = interval(pairs((level * tokens).tolist(), tokens.tolist(), patients.astype(str).tolist()), metric)
        held += low <= truth[metric] <= high
    assert 180 <= held <= 198


def test_patients_who_agree_leave_room_for_others() -> None:
    low, high = interval(pairs([50.0] * 30, [10] * 30, [str(n) for n in range(30)]), 0)
    assert 4.0 < low < 5.0 < high < 6.0


def test_the_batch_changes_a_value_by_rounding_alone(folder: Path) -> None:
    for size in (1, 3):
        assert probe("--data", folder, "--batch-size", size, "--results", f"of{size}").exit_code == 0
    one, three = recorded("of1"), recorded("of3")
    assert one.keys() == three.keys()
    for name, line in one.items():
        assert line["losses"] == pytest.approx(three[name]["losses"], rel=1e-5)


def test_the_seed_changes_the_flow_loss_alone(folder: Path) -> None:
    for seed in (0, 1):
        assert probe("--data", folder, "--seed", seed, "--results", f"seed{seed}").exit_code == 0
    zero, one = recorded("seed0")["a"]["losses"], recorded("seed1")["a"]["losses"]
    assert zero["report_nats"] == one["report_nats"]
    assert zero["flow_mse"] != one["flow_mse"]


def test_deterministic_is_the_same_bytes_and_bfloat16_is_near(folder: Path) -> None:
    words = ("--data", folder, "--json", "--deterministic", "--results")
    first, second = probe(*words, "one"), probe(*words, "two")
    assert first.stdout == second.stdout
    torch.use_deterministic_algorithms(False)
    rounded = probe("--data", folder, "--dtype", "bfloat16", "--json")
    assert rounded.exit_code == 0, rounded.output
    for key, one in found(rounded.stdout).items():
        assert one["value"] == pytest.approx(found(first.stdout)[key]["value"], rel=0.02)


def test_a_run_is_scored_again(folder: Path) -> None:
    first = probe("--data", folder, "--json")
    again = bench("score", json.loads(first.stdout)["run"], "--per-pathology", "--json", "--quiet")
    assert again.exit_code == 0, again.output
    assert found(again.stdout)[None, "probe_ce"]["value"] == found(first.stdout)[None, "probe_ce"]["value"]
    table = bench("show", json.loads(first.stdout)["run"]).stdout
    assert "Report loss ↓" in table
    assert "Flow loss ↓" in table


def test_a_text_too_long_fails_alone(folder: Path) -> None:
    manifest = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(manifest.replace("Cardiomegaly.,", "Cardiomegaly. " * 2000 + ",", 1))
    result = probe("--data", folder, "--json")
    refused(result, "1 of 4 samples failed", code=1)
    lines = recorded()
    assert lines["b"]["error"] == "ValueError: a text is longer than 2048 tokens"
    assert "losses" not in lines["b"]
    assert [name for name in "acd" if "error" in lines[name]] == []
    assert found(result.stdout)[None, "probe_flow_mse"]["value"] == pytest.approx(
        (lines["a"]["losses"]["flow_mse"] + lines["d"]["losses"]["flow_mse"]) / 2
    )


def test_a_loss_that_is_not_a_number_is_a_failure(folder: Path, demo_weights: Path) -> None:
    broken = shutil.copytree(demo_weights, "broken")
    tensors = load_file(Path(broken) / "model.safetensors")
    tensors["language_model.lm_head.weight"][0] = float("nan")
    save_file(tensors, Path(broken) / "model.safetensors", metadata={"format": "pt"})
    result = probe("--data", folder, "--weights", broken, "--json")
    refused(result, "3 of 4 samples failed", code=1)
    assert recorded()["c"] == {"id": "c", "error": "ValueError: a loss is NaN or Inf"}
    assert "losses" in recorded()["d"]
    assert found(result.stdout)[None, "probe_ce"]["reason"] == "no predicted study of this row has a reference report"


def test_policies_and_files_without_meaning_are_refused(folder: Path) -> None:
    refused(probe("--data", folder, "--on-error", "score-zero"), "--on-error score-zero has no meaning for the probe")
    refused(probe("--data", folder, "--set", "timesteps=0"), "timesteps must be one or several numbers above 0")
    refused(probe("--data", folder, "--set", "size=100"), "size must be a multiple of 16 up to 128")
    refused(probe("--data", folder, "--protocol", "unix"), "unknown protocol of probe 'unix'")
    Path("theirs.jsonl").write_text('{"id": "a", "report": "Clear lungs."}\n')
    words = ("score", "--task", "probe", "--predictions", "theirs.jsonl", "--data", folder, "--quiet")
    refused(bench(*words), "the probe takes no --predictions", "unix-bench run --task probe")
    assert not Path("results/runs").exists()
