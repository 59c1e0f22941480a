"""The nearest of a training set: images by features, prompts by their words. Among equals the first counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

WORD = re.compile(r"\b\w\w+\b")
BLOCK = 64  # queries at once: the distances to a few hundred thousand rows are then some 200 MB
SLACK = 1e-9  # what is nearer to each other than this, rounding may have ordered


def nearest_rows(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.intp]:
    """Index of the row nearest to each query, by Euclidean distance.

    Args:
        queries: [n, d].
        rows: [m, d], at least one.

    Returns:
        [n].
    """
    many = rows.astype(np.float64)
    squares = np.einsum("md,md->m", many, many)
    found = np.empty(len(queries), dtype=np.intp)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK].astype(np.float64)
        nearly = squares - 2.0 * block @ many.T
        least = nearly.min(axis=1)
        scale = np.einsum("nd,nd->n", block, block) + squares.max()
        for place, query in enumerate(block):
            # Products of equal rows may differ in their last digits: the few that come close are compared directly.
            close = np.flatnonzero(nearly[place] <= least[place] + SLACK * scale[place])
            exact = ((many[close] - query) ** 2).sum(axis=1)
            found[start + place] = close[exact.argmin()]
    return found


def nearest_texts(queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.intp]:
    """Index of the text most like each query: cosine of tf-idf vectors over words of two letters or more.

    Weights are those of the texts, count x (1 + ln((1 + m) / (1 + texts with the word))); words that no text has do
    not count, and a query of such words alone gets the first text.

    Args:
        queries: [n].
        texts: [m], at least one.

    Returns:
        [n].

    >>> nearest_texts(["Large effusion."], ["No effusion.", "Large left effusion."]).tolist()
    [1]
    """
    counted = [_words(text) for text in texts]
    vocabulary = {word: index for index, word in enumerate(sorted({word for words in counted for word in words}))}
    documents = Counter(word for words in counted for word in words)
    weights = np.array([1.0 + np.log((1.0 + len(texts)) / (1.0 + documents[word])) for word in vocabulary])
    known = _vectors(counted, vocabulary, weights)
    asked = _vectors([_words(text) for text in queries], vocabulary, weights)
    found = np.empty(len(queries), dtype=np.intp)
    for start in range(0, len(queries), BLOCK):
        likeness = (asked[start : start + BLOCK] @ known.T).toarray()
        found[start : start + BLOCK] = (likeness >= likeness.max(axis=1, keepdims=True) - SLACK).argmax(axis=1)
    return found


def _words(text: str) -> Counter[str]:
    return Counter(WORD.findall(text.lower()))


def _vectors(
    counted: Sequence[Counter[str]], vocabulary: dict[str, int], weights: NDArray[np.float64]
) -> sparse.csr_array:
    """[n, words], rows of length 1, or 0 where there is no known word."""
    rows, columns, values = [], [], []
    for row, words in enumerate(counted):
        terms = sorted((vocabulary[word], count) for word, count in words.items() if word in vocabulary)
        weighed = np.array([count * weights[column] for column, count in terms])
        rows += [row] * len(terms)
        columns += [column for column, _ in terms]
        values += (weighed / (np.linalg.norm(weighed) or 1.0)).tolist()
    return sparse.csr_array((values, (rows, columns)), shape=(len(counted), len(vocabulary)), dtype=np.float64)
