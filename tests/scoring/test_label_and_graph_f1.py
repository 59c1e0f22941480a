"""CheXbert F1 and RadGraph F1 as arithmetic, against what the published code gives for the same labels and graphs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unix_bench.scoring.report import LEVELS, chexbert_f1, radgraph_reward

GOLDEN = Path(__file__).parents[1] / "golden" / "report_metrics"
LABELS = json.loads((GOLDEN / "label_f1.json").read_text())["cases"]
GRAPHS = json.loads((GOLDEN / "radgraph_rewards.json").read_text())["cases"]
OURS = {
    "macro_f1": "f1_macro_14",
    "micro_f1": "f1_micro_14",
    "f1_top5_macro": "f1_macro_5",
    "f1_top5_micro": "f1_micro_5",
    "ce_precision": "example_precision",
    "ce_recall": "example_recall",
    "ce_f1": "example_f1",
}


@pytest.mark.parametrize("case", LABELS, ids=[case["name"] for case in LABELS])
def test_label_f1_of_the_published_code(case: dict) -> None:
    found = chexbert_f1(np.array(case["hyp"]).reshape(-1, 14), np.array(case["ref"]).reshape(-1, 14))
    compared = set()
    for name, value in case["expected"].items():
        policy, _, metric = name.removeprefix("uncertain_as_").partition("_")
        if metric != "ce_num_examples":
            ours = f"{OURS.get(metric, metric)}_{policy[:3]}"
            assert found[ours] == pytest.approx(value, abs=1e-9), name
            compared.add(ours)
    assert compared == set(found)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ([[4] + [0] * 13], "label 4 of enlarged_cardiomediastinum in row 0: labels are 0, 1, 2 or 3"),
        ([[0, -1] + [0] * 12], "label -1 of cardiomegaly in row 0"),
        ([[0] * 13], "labels are \\[n, 14\\], not \\[1, 13\\]"),
        ([[0] * 14] * 2, "labels must be"),
    ],
)
def test_wrong_labels(predicted: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chexbert_f1(np.array(predicted), np.zeros((1, 14), dtype=int))


def test_graph_rewards_of_the_published_code_and_of_the_package() -> None:
    found = radgraph_reward([case["hyp"] for case in GRAPHS], [case["ref"] for case in GRAPHS])
    for index, case in enumerate(GRAPHS):
        for level in LEVELS:
            assert found[level][index] == pytest.approx(case["unix"][level], abs=1e-9)
            assert found[level][index, 0] == pytest.approx(case["package"][level], abs=1e-12)
    mean = json.loads((GOLDEN / "radgraph_rewards.json").read_text())["mean_partial_unix"]
    assert found["partial"].mean(axis=0) == pytest.approx(mean, abs=1e-9)


def test_graph_lists_must_match() -> None:
    with pytest.raises(ValueError, match="1 predictions but 0 references"):
        radgraph_reward([{"entities": {}}], [])
