"""BLEU (Papineni et al., ACL 2002) of single reports, smoothed, and of a whole set of reports.

Texts become counts once; every BLEU is then arithmetic on counts, so that a bootstrap never sees a text again.
Smoothing is the fourth of Chen and Cherry (WMT 2014) as nltk 3.9.2 has it (`SmoothingFunction().method4`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.report.protocols import Protocol
from unix_bench.scoring.report.tokens import words

ORDERS = 4
SMOOTHING_BASE = 5.0

# Columns of the counts.
MATCHES = slice(0, ORDERS)
TOTALS = slice(ORDERS, 2 * ORDERS)
PREDICTION_LENGTH = 2 * ORDERS
REFERENCE_LENGTH = 2 * ORDERS + 1
COLUMNS = 2 * ORDERS + 2

# Row n - 1: what each order's logarithm weighs in BLEU-n. The published evaluation rounds the thirds.
SOUND_WEIGHTS = np.tri(ORDERS) / np.arange(1, ORDERS + 1)[:, None]
UNIX_WEIGHTS = np.where(SOUND_WEIGHTS == 1 / 3, 0.33, SOUND_WEIGHTS)


def bleu(predictions: Sequence[str], references: Sequence[str], protocol: Protocol = "sound") -> NDArray[np.float64]:
    """BLEU-1 to BLEU-4 of each pair; a report's BLEU-n is column n - 1. See `sentence_bleu` for the protocols.

    Returns:
        [n, 4], each in [0, 1] or NaN.

    Raises:
        ValueError: The lists differ in length.

    >>> bleu(["No effusion ."], ["No effusion ."]).round(3).tolist()
    [[1.0, 1.0, 1.0, 0.576]]
    """
    return sentence_bleu(bleu_counts(predictions, references), protocol)


def bleu_counts(predictions: Sequence[str], references: Sequence[str]) -> NDArray[np.int64]:
    """What BLEU needs to know of each pair: sums of rows are what it needs to know of a set.

    Returns:
        [n, 10]: for orders 1 to 4, the n-grams of the prediction that the reference holds too (each as often as there
        at most), columns `MATCHES`; how many n-grams the prediction has, at least 1 as nltk counts them, columns
        `TOTALS`; the words of the prediction and of the reference.

    Raises:
        ValueError: The lists differ in length.

    >>> bleu_counts(["No effusion."], ["No pleural effusion."]).tolist()
    [[3, 1, 0, 0, 3, 2, 1, 1, 3, 4]]
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references")
    texts = [words(text) for text in (*predictions, *references)]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    counts = np.empty((len(predictions), COLUMNS), dtype=np.int64)
    counts[:, MATCHES] = _matches(texts, lengths)
    counts[:, PREDICTION_LENGTH], counts[:, REFERENCE_LENGTH] = np.split(lengths, 2)
    counts[:, TOTALS] = np.maximum(1, counts[:, PREDICTION_LENGTH, None] - np.arange(ORDERS))
    return counts


def _matches(texts: list[list[str]], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """n-grams that the texts of a pair share, [n, 4]; texts are the n predictions, then the n references.

    All texts are one array of numbers: equal n-grams of one pair have equal numbers, those of other pairs have others.
    """
    n = len(texts) // 2
    vocabulary: dict[str, int] = {}
    tokens = np.array([vocabulary.setdefault(word, len(vocabulary)) for text in texts for word in text], dtype=np.int64)
    text = np.repeat(np.arange(2 * n), lengths)  # [tokens]
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))  # words to the end of the text, [tokens]
    single = np.unique(text % max(n, 1) * len(vocabulary) + tokens, return_inverse=True)[1]
    matches = np.zeros((n, ORDERS), dtype=np.int64)
    grams = single.copy()
    for order in range(1, ORDERS + 1):
        starts = np.flatnonzero(left >= order)
        if order > 1:  # an n-gram is its first n - 1 words, by their number, and one word more
            longer = grams[starts] * len(tokens) + single[starts + order - 1]
            grams[starts] = np.unique(longer, return_inverse=True)[1]
        mine, theirs = np.split(starts, [np.searchsorted(starts, lengths[:n].sum())])
        shared = np.minimum(*(np.bincount(grams[side], minlength=len(tokens)) for side in (mine, theirs)))
        pair = np.zeros(len(tokens), dtype=np.int64)
        pair[grams[mine]] = text[mine]
        matches[:, order - 1] = np.bincount(pair, weights=shared, minlength=n)[:n]
    return matches


def sentence_bleu(counts: NDArray[np.int64], protocol: Protocol = "sound") -> NDArray[np.float64]:
    """BLEU-1 to BLEU-4 of single reports from their counts.

    An order without a match counts as ln(length) / (2^k * 5) matches, k the how-manieth such order of the report; for a
    report of one word, whose logarithm is 0, the order is left out. No matching word at all is 0.

    Args:
        counts: [..., 10], as `bleu_counts` returns them.
        protocol: "sound": equal weights, and a prediction without words scores 0. "unix": the weights of BLEU-3 are
            0.33 and add up to 0.99, and a prediction without words is NaN, for the published mean leaves it out.

    Returns:
        [..., 4].
    """
    matches, totals, length = counts[..., MATCHES], counts[..., TOTALS], counts[..., PREDICTION_LENGTH]
    missed = matches == 0
    smoothed = np.log(np.maximum(length, 1))[..., None] / (2.0 ** np.cumsum(missed, axis=-1) * SMOOTHING_BASE)
    precisions = np.where(missed, smoothed, matches) / totals
    logs = np.log(np.where(precisions > 0, precisions, 1.0))
    weights = UNIX_WEIGHTS if protocol == "unix" else SOUND_WEIGHTS
    scores: NDArray[np.float64] = _brevity(counts)[..., None] * np.exp((logs[..., None, :] * weights).sum(axis=-1))
    scores[missed[..., 0]] = 0.0
    scores[length == 0] = np.nan if protocol == "unix" else 0.0
    return scores


def corpus_bleu(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-4 of sets of reports from their summed counts: equal weights, no smoothing.

    Args:
        counts: [..., 10], sums of rows of `bleu_counts`; leading axes are sets, such as the resamples of a bootstrap.

    Returns:
        [...], each in [0, 1]; 0 where an order has no match (nltk returns a number around 1e-78 there).

    >>> counts = bleu_counts(["No effusion.", "Clear lungs."], ["No effusion.", "The lungs are clear."])
    >>> round(float(corpus_bleu(counts.sum(axis=0))), 3)
    0.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # ln 0 = -inf, whose exponential is the 0 that is meant
        logs = np.log(counts[..., MATCHES] / counts[..., TOTALS])
    found = (counts[..., MATCHES] > 0).all(axis=-1)
    return np.where(found, _brevity(counts) * np.exp(logs.mean(axis=-1)), 0.0)


def _brevity(counts: NDArray[Any]) -> NDArray[np.float64]:
    """1 where the predictions are no shorter than the references, [...]."""
    lengths = np.maximum(counts[..., PREDICTION_LENGTH], 1)
    penalty: NDArray[np.float64] = np.exp(np.minimum(0.0, 1.0 - counts[..., REFERENCE_LENGTH] / lengths))
    return penalty
