"""ROUGE-L of single reports (Lin, ACL 2004), with rouge-score's tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUGE_TOKENISER = "lower case, a-z and digits, no stemming"
NOT_A_WORD = re.compile(r"[^a-z0-9]+")


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
    return np.array([_f1(_words(p), _words(r)) for p, r in pairs], dtype=np.float64)


def _words(text: str) -> list[str]:
    return [word for word in NOT_A_WORD.split(text.lower()) if word]


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
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & full
    return len(a) - row.bit_count()
