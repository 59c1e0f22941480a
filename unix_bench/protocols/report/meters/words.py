"""BLEU and ROUGE-L."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unix_bench.protocols.base import NewLine
from unix_bench.protocols.report.meters.base import Measured, Reading, Texts
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
from unix_bench.scoring.statistics import Measure, mean_of

CORPUS = "bleu_corpus_4"
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
        columns = dict(zip(self._sentence, scores.T.tolist(), strict=True))
        scored = ~np.isnan(scores[:, 0])
        readings = {
            name: Reading(mean_of(np.nan_to_num(column), scored))
            for name, column in zip(self._sentence, scores.T, strict=True)
        }
        if CORPUS in self.names:
            readings[CORPUS] = Reading(Measure(counts.astype(np.float64), corpus_bleu))
        return Measured(readings, {**columns, "bleu_counts": counts.tolist()})


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
        scores = rouge_l(texts.predictions, texts.references)

        def published(members: Sequence[int]) -> float:
            return bootstrap_median(scores[list(members)])

        reading = Reading(mean_of(scores), estimate=published if self._published else None)
        return Measured({"rouge_l": reading}, {"rouge_l": scores.tolist()})
