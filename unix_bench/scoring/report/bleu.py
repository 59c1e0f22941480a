"""BLEU of single reports (Papineni et al., ACL 2002; smoothing 4 of Chen and Cherry, WMT 2014)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.report.tokens import words

ORDERS = 4
SMOOTHING_BASE = 5.0


def bleu(predictions: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """BLEU-1 to BLEU-4 of each pair, equal weights over the orders; a report's BLEU-n is column n - 1.

    An order without a match counts as 1 / (2^k * 5 / ln(length)) matches, k the how-manieth such order; no matching
    word at all is 0. A prediction without words scores 0.

    Returns:
        [n, 4], each in [0, 1].

    Raises:
        ValueError: The lists differ in length.

    >>> bleu(["No effusion ."], ["No effusion ."]).round(3).tolist()
    [[1.0, 1.0, 1.0, 0.576]]
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references")
    rows = [_sentence(words(p), words(r)) for p, r in zip(predictions, references, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, ORDERS)


def _sentence(prediction: list[str], reference: list[str]) -> list[float]:
    length = len(prediction)
    matches, totals = zip(*(_clipped(prediction, reference, n) for n in range(1, ORDERS + 1)), strict=True)
    if matches[0] == 0:
        return [0.0] * ORDERS
    penalty = 1.0 if length > len(reference) else math.exp(1.0 - len(reference) / length)
    precisions = _smoothed(matches, totals, length)
    scores = []
    for order in range(1, ORDERS + 1):
        logs = [math.log(p) for p in precisions[:order] if p > 0.0]
        scores.append(penalty * math.exp(sum(logs) / order))
    return scores


def _smoothed(matches: Sequence[int], totals: Sequence[int], length: int) -> list[float]:
    precisions, misses = [], 0
    for match, total in zip(matches, totals, strict=True):
        if match == 0 and length > 1:
            misses += 1
            precisions.append(math.log(length) / (2**misses * SMOOTHING_BASE) / total)
        else:
            precisions.append(float(Fraction(match, total)))
    return precisions


def _clipped(prediction: list[str], reference: list[str], n: int) -> tuple[int, int]:
    """n-grams of the prediction that the reference holds too (each as often as there at most), and how many it has."""
    mine, theirs = _ngrams(prediction, n), _ngrams(reference, n)
    return sum((mine & theirs).values()), max(1, sum(mine.values()))


def _ngrams(tokens: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))
