"""Reference points come out in the documented order, on real images and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import bench

OPEN = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
SETS = ["demo", pytest.param(OPEN, marks=[pytest.mark.slow, pytest.mark.skipif(not OPEN.is_dir(), reason="not here")])]
WHOLE = ("fd", "kd", "precision", "recall", "density", "coverage")
Values = dict[str | None, dict[str, float]]


def values(model: str, task: str, data: object, *words: object) -> Values:
    """Row -> metric -> value."""
    said = bench("run", "--model", model, "--task", task, "--data", data, "--quiet", "--json", *words)
    assert said.exit_code == 0, said.output
    found: Values = {}
    for metric in json.loads(said.stdout)["metrics"]:
        if metric["value"] is not None:
            found.setdefault(metric["pathology"], {})[metric["name"]] = metric["value"]
    return found


@pytest.mark.parametrize("data", SETS)
def test_drawn_images(data: object) -> None:
    real, shuffled, mean = (values(model, "generation", data) for model in ("real", "shuffled", "mean-image"))
    for name in WHOLE:
        assert shuffled[None][f"{name}_demodino"] == pytest.approx(real[None][f"{name}_demodino"], abs=1e-4), name
    assert mean[None]["fd_demodino"] > 5 * real[None]["fd_floor_demodino"]
    assert mean[None]["kd_demodino"] > real[None]["kd_demodino"]
    assert mean[None]["recall_demodino"] < 0.1 < real[None]["recall_demodino"]
    assert mean[None]["coverage_demodino"] < real[None]["coverage_demodino"]
    assert mean[None]["precision_demodino"] in (0.0, 1.0)  # one image is realistic or it is not
    if data == "demo":  # here it is: a collapsed model wins on these two
        assert mean[None]["precision_demodino"] >= real[None]["precision_demodino"]
        assert mean[None]["density_demodino"] > 2 * real[None]["density_demodino"]


@pytest.mark.slow
@pytest.mark.skipif(not OPEN.is_dir(), reason="not here")
def test_the_rows_of_findings_hold_images_of_others() -> None:
    real, shuffled = (values(model, "generation", OPEN, "--per-pathology") for model in ("real", "shuffled"))
    findings = [row for row, of_row in real.items() if row and "kd_demodino" in of_row]
    worse = [shuffled[row]["kd_demodino"] > real[row]["kd_demodino"] for row in findings]
    assert sum(worse) > 0.8 * len(findings) > 0


@pytest.mark.parametrize("data", SETS)
def test_reports(data: object) -> None:
    real, shuffled, normal = (values(model, "report", data)[None] for model in ("real", "shuffled", "normal-report"))
    assert real["rouge_l"] == pytest.approx(1.0)
    for name, value in real.items():
        assert value > 0.99 or "rule14" in name, name  # a report of three words has no 4-gram
        assert shuffled[name] <= value, name
    for name in ("rule14_f1_micro_14_neg", "bleu_4", "rouge_l"):
        assert shuffled[name] < 0.7 * real[name], name
        assert normal[name] < 0.7 * real[name], name
    assert normal["rule14_f1_micro_5_neg"] == 0.0  # it shows none of the five
