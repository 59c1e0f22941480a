"""CheXbert F1: two labellings of the 14 CheXpert observations held against each other.

Smit et al., arXiv 2004.09167; averages as in UniX's evaluation and in scikit-learn with `zero_division=0`. A label is
0 blank, 1 positive, 2 negative, 3 uncertain. The published code has an epsilon of 1e-10 in its denominators, which
moves no value by more than that; ours has none.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import FINDINGS
from unix_bench.scoring.statistics import Measure, class_f1, f1_parts, macro_f1, mean_of, micro_f1

Uncertain = Literal["neg", "pos"]
Labels = NDArray[np.integer[Any]]

FINDING_KEYS = tuple(finding.lower().replace(" ", "_") for finding in FINDINGS)
TOP_5 = tuple(
    FINDING_KEYS.index(key) for key in ("cardiomegaly", "edema", "consolidation", "atelectasis", "pleural_effusion")
)
CLASSES = {"14": tuple(range(len(FINDING_KEYS))), "5": TOP_5}
UNCERTAIN: dict[Uncertain, tuple[int, ...]] = {"neg": (1,), "pos": (1, 3)}


def positive(labels: Labels, uncertain: Uncertain) -> NDArray[np.bool_]:
    """Which findings labels say are there, [n, 14]; uncertain ones as `uncertain` says: "neg" or "pos".

    Raises:
        ValueError: The labels are not [n, 14], or one is not 0, 1, 2 or 3.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] != len(FINDING_KEYS):
        raise ValueError(f"labels are [n, {len(FINDING_KEYS)}], not {list(labels.shape)}")
    wrong = ~np.isin(labels, (0, 1, 2, 3))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"label {labels[row, column]} of {FINDING_KEYS[column]} in row {row}: labels are 0, 1, 2 or 3")
    return np.isin(labels, UNCERTAIN[uncertain])


def f1_measures(predicted: Labels, reference: Labels) -> dict[str, Measure]:
    """Every F1 of two labellings, as measures that can be resampled.

    Args:
        predicted: Labels of the predictions, [n, 14], 0 blank, 1 positive, 2 negative, 3 uncertain.
        reference: Labels of the reference reports, [n, 14].

    Returns:
        For uncertain as negative (`_neg`) and as positive (`_pos`): `f1_micro_14`, `f1_macro_14`, `f1_micro_5`,
        `f1_macro_5` (the five of CheXpert's competition), `f1_FINDING`, and `example_precision`, `example_recall`,
        `example_f1`, the means over reports of their own agreement, 0 where nothing is positive on a side.

    Raises:
        ValueError: The shapes differ or are not [n, 14], or a label is not 0, 1, 2 or 3.
    """
    measures: dict[str, Measure] = {}
    for uncertain in UNCERTAIN:
        parts = f1_parts(positive(reference, uncertain), positive(predicted, uncertain))
        by_class = parts.reshape(len(parts), len(FINDING_KEYS), 3)
        for size, classes in CLASSES.items():
            chosen = by_class[:, classes].reshape(len(parts), 3 * len(classes))
            measures[f"f1_micro_{size}_{uncertain}"] = micro_f1(chosen)
            measures[f"f1_macro_{size}_{uncertain}"] = macro_f1(chosen)
        for kind, scores in _by_example(by_class.sum(axis=1)).items():
            measures[f"example_{kind}_{uncertain}"] = mean_of(scores)
        for column, key in enumerate(FINDING_KEYS):
            measures[f"f1_{key}_{uncertain}"] = class_f1(parts, column)
    return measures


def chexbert_f1(predicted: Labels, reference: Labels) -> dict[str, float]:
    """The values of `f1_measures`, which see for arguments, names and errors.

    >>> labels = np.zeros((2, 14), dtype=int)
    >>> labels[0, 1] = 1
    >>> chexbert_f1(labels, labels)["f1_micro_14_neg"]
    1.0
    """
    return {name: measure.value() for name, measure in f1_measures(predicted, reference).items()}


def _by_example(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 of each report from its own TP, FP and FN, [n, 3]."""
    true, false, missed = counts.T
    ratios = {
        "precision": (true, true + false),
        "recall": (true, true + missed),
        "f1": (2 * true, 2 * true + false + missed),
    }
    return {
        kind: np.divide(part, whole, out=np.zeros_like(part), where=whole > 0) for kind, (part, whole) in ratios.items()
    }
