"""ROUGE-L of single reports (Lin, ACL 2004) as rouge-score 0.1.2 computes it without its stemmer."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUGE_TOKENISER = "lower case, a-z and digits, no stemming"
WORD = re.compile(r"[a-z0-9]+")


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """F1 of the longest common subsequence of words of each pair; lower case, letters a-z and digits, no stemming.

    Returns:
        [n], each in [0, 1]; 0 where either side has no word.

    Raises:
        ValueError: The lists differ in length.

    >>> rouge_l(["the heart is large"], ["The heart is normal."]).tolist()
    [0.75]
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references")
    pairs = zip(predictions, references, strict=True)
    return np.array([_f1(WORD.findall(p.lower()), WORD.findall(r.lower())) for p, r in pairs], dtype=np.float64)


def bootstrap_median(scores: NDArray[np.float64], seed: int = 0, samples: int = 500) -> float:
    """What the published evaluation reports for ROUGE-L: the median of the means of bootstrap samples.

    The draws are those of `rouge_score.scoring.BootstrapAggregator` after `np.random.seed(seed)`; the publication sets
    no seed, so that its own value varies in the fourth decimal.

    Args:
        scores: [n].
        seed: Of numpy's legacy generator.
        samples: How many samples of n scores are drawn.

    Raises:
        ValueError: No score, or no sample.
    """
    if not len(scores) or samples < 1:
        raise ValueError(f"cannot take the median of {samples} bootstrap means of {len(scores)} scores")
    generator = np.random.RandomState(seed)
    means = [scores[generator.choice(len(scores), size=len(scores))].mean() for _ in range(samples)]
    return float(np.median(means))


def _f1(prediction: list[str], reference: list[str]) -> float:
    common = _longest_common_subsequence(prediction, reference)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2.0 * precision * recall / (precision + recall)


def _longest_common_subsequence(a: list[str], b: list[str]) -> int:
    """Its length, by rows of the dynamic programme held as the bits of one integer (Hyyro, 2004)."""
    places: dict[str, int] = {}
    for index, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << index
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        if word in places:  # else the row stays as it is
            matched = row & places[word]
            row = row + matched | row - matched
    return len(a) - (row & full).bit_count()
