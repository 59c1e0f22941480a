"""BLEU and ROUGE-L."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unix_bench.protocols.base import Columns, NewLine
from unix_bench.protocols.metered import mean_of_column
from unix_bench.protocols.report.meters.base import Measured, Texts
from unix_bench.scoring.report import (
    ROUGE_TOKENISER,
    TOKENISER,
    Protocol,
    bleu_counts,
    bootstrap_median,
    corpus_bleu,
    rouge_l,
    sentence_bleu,
)
from unix_bench.scoring.statistics import Measure

CORPUS = "bleu_corpus_4"
COUNTS = "bleu_counts"
MEAN = "mean over reports"


class BleuMeter:
    """Sentence BLEU-1 to 4 and, under `sound`, corpus BLEU-4."""

    once = ()
    absent = None
    instruments: Mapping[str, str] = {}

    def __init__(self, protocol: Protocol) -> None:
        self._protocol: Protocol = protocol
        self._sentence = tuple(f"bleu_{order}" for order in range(1, 5))
        self.names = (*self._sentence, *([CORPUS] if protocol == "sound" else []))

    def definition(self, metric: str) -> dict[str, str]:
        if metric == CORPUS:
            return {"tokeniser": TOKENISER, "aggregate": "counts of all reports", "smoothing": "none"}
        weights = {"weights": "0.33 each"} if metric == "bleu_3" and self._protocol == "unix" else {}
        return {"tokeniser": TOKENISER, "aggregate": MEAN, "smoothing": "method 4", **weights}

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        counts = bleu_counts(texts.predictions, texts.references)
        scores = sentence_bleu(counts, self._protocol)
        columns = {**dict(zip(self._sentence, scores.T.tolist(), strict=True)), COUNTS: counts.tolist()}
        return Measured(self.measures(columns), columns)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        found = {name: mean_of_column(columns[name]) for name in self._sentence if name in columns}
        if CORPUS in self.names and COUNTS in columns:
            found[CORPUS] = Measure(np.array(columns[COUNTS], dtype=np.float64), corpus_bleu)
        return found


class RougeMeter:
    """ROUGE-L: the mean, or under `unix` the median of bootstrap means that the published evaluation reports."""

    names = ("rouge_l",)
    once = ()
    absent = None
    instruments: Mapping[str, str] = {}

    def __init__(self, protocol: Protocol) -> None:
        self._published = protocol == "unix"

    def definition(self, metric: str) -> dict[str, str]:
        return {
            "tokeniser": ROUGE_TOKENISER,
            "aggregate": "median of 500 bootstrap means, seed 0" if self._published else MEAN,
        }

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        columns = {"rouge_l": rouge_l(texts.predictions, texts.references).tolist()}
        return Measured(self.measures(columns), columns)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        if "rouge_l" not in columns:
            return {}
        mean = mean_of_column(columns["rouge_l"])
        return {"rouge_l": replace(mean, published=_median) if self._published else mean}


def _median(parts: NDArray[np.float64]) -> float:
    """Of the bootstrap means of scores, which are the first column of a mean's parts."""
    return bootstrap_median(parts[:, 0])
