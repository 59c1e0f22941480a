"""From the columns of `samples.parquet` back to measures, each with the value that `results.json` has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.report import Protocol, bootstrap_median, corpus_bleu, f1_measures, sentence_bleu
from unix_bench.scoring.statistics import Measure, mean_of

Columns = Mapping[str, Sequence[object]]
PREDICTED, REFERENCE = "_predicted", "_reference"
ALIGNED = "alignment_"
LOSSES = {"probe_ce": ("report_nats", "report_tokens"), "probe_flow_mse": ("flow_mse", None)}  # column, and its weight


def measures_of(columns: Columns, protocol: str, names: Sequence[str]) -> dict[str, Measure]:
    """Every metric whose value follows from what each study has of its own.

    Args:
        columns: Of some studies.
        protocol: Under which they were scored.
        names: Metrics of the results, in the order of the tables.
    """
    found = {**_f1(columns), **_bleu(columns, "unix" if protocol == "unix" else "sound")}
    found |= {name: _loss(columns, *parts) for name, parts in LOSSES.items() if parts[0] in columns}
    for name in names:
        if name not in found and name in columns:
            measure = _mean(name, columns)
            if measure is not None:
                found[name] = measure
    return {name: found[name] for name in names if name in found}


def labellers(columns: Columns) -> list[str]:
    """The labellers whose labels are there, CheXbert before stand-ins."""
    return sorted(name.removesuffix(PREDICTED) for name in columns if name.endswith(PREDICTED))


def labels(columns: Columns, labeller: str, side: str) -> NDArray[np.int8]:
    """[n, 14] labels of the predictions or the references."""
    return np.array([np.asarray(row, dtype=np.int8) for row in columns[labeller + side]], dtype=np.int8).reshape(-1, 14)


def shown_value(name: str, protocol: str, measure: Measure) -> float | None:
    """What a table prints: the measure's value, or where the published protocol has another estimate, that."""
    if not len(measure):
        return None
    value = bootstrap_median(measure.parts[:, 0]) if (name, protocol) == ("rouge_l", "unix") else measure.value()
    return float(value) if np.isfinite(value) else None


def _f1(columns: Columns) -> dict[str, Measure]:
    return {
        f"{labeller}_{name}": measure
        for labeller in labellers(columns)
        for name, measure in f1_measures(
            labels(columns, labeller, PREDICTED), labels(columns, labeller, REFERENCE)
        ).items()
    }


def _bleu(columns: Columns, protocol: Protocol) -> dict[str, Measure]:
    if "bleu_counts" not in columns:
        return {}
    counts = np.array([np.asarray(row) for row in columns["bleu_counts"]], dtype=np.int64).reshape(-1, 10)
    scores = sentence_bleu(counts, protocol)
    found = {
        f"bleu_{order}": mean_of(np.nan_to_num(column), ~np.isnan(column))
        for order, column in enumerate(scores.T, start=1)
    }
    if protocol == "sound":
        found["bleu_corpus_4"] = Measure(counts.astype(np.float64), corpus_bleu)
    return found


def _loss(columns: Columns, loss: str, weight: str | None) -> Measure:
    """A loss of all pairs that have it, over the weights of all."""
    totals = numbers(columns[loss])
    weights = numbers(columns[weight]) if weight else np.isfinite(totals).astype(np.float64)
    counted = np.isfinite(totals) & (weights > 0.0)
    parts = np.stack([np.where(counted, totals, 0.0), np.where(counted, weights, 0.0)], axis=1)
    worst = float(np.divide(totals, weights, out=np.zeros_like(totals), where=counted).max(initial=0.0))
    return replace(mean_of(parts[:, 0], counted, (0.0, 2.0 * worst)), parts=parts)  # no greatest value: as the probe's


def numbers(column: Sequence[object]) -> NDArray[np.float64]:
    """[n] numbers; NaN for None."""
    return np.array([np.nan if value is None else value for value in column], dtype=np.float64)


def _mean(name: str, columns: Columns) -> Measure | None:
    """The mean of a column of numbers; None where it holds something else."""
    values: Any = np.array([np.nan if value is None else value for value in columns[name]])
    if values.dtype.kind not in "fiub" or values.ndim != 1:
        return None
    scores = values.astype(np.float64)
    counted = np.isfinite(scores)
    if not counted.any():
        return None
    least, most = float(scores[counted].min()), float(scores[counted].max())
    within = (-1.0, 1.0) if name.startswith(ALIGNED) else (min(0.0, least), max(1.0, most))
    return mean_of(np.nan_to_num(scores, posinf=0.0, neginf=0.0), counted, within)
