"""Studies of one patient are drawn, and swapped, together: sums by patient, and random weights of patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.statistics.measure import Matrix

BLOCK = 1 << 18  # numbers in a block of random weights: 2 MiB, which stays in a processor's cache


def numbered(clusters: Sequence[str] | None, studies: int) -> NDArray[np.intp]:
    """[n] number of each study's cluster, 0 to C - 1 in the order of their names; None: each study is its own.

    Raises:
        ValueError: There is not one cluster for each study.
    """
    if clusters is None:
        return np.arange(studies)
    if len(clusters) != studies:
        raise ValueError(f"{len(clusters)} clusters for {studies} studies")
    return np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1]


def cluster_sums(parts: Matrix, numbers: NDArray[np.intp]) -> Matrix:
    """[C, k] sums of parts [n, k] by cluster."""
    columns = [np.bincount(numbers, weights=column) for column in parts.T]
    return np.stack(columns, axis=1)


def blocks(replicates: int, clusters: int) -> Iterator[slice]:
    """Rows of a [replicates, clusters] matrix, so few at a time that a block stays small."""
    step = max(1, BLOCK // max(1, clusters))
    for start in range(0, replicates, step):
        yield slice(start, min(start + step, replicates))


def reweighted(sums: Sequence[Matrix], replicates: int, rng: np.random.Generator) -> list[Matrix]:
    """Sums over clusters under random weights, the same weights for all measures (Rubin, Ann. Stat. 9:130, 1981).

    The weights are independent exponentials of mean 1. Unlike the counts of a draw with replacement they leave no
    cluster out; their common scale is of no account for a metric that is a ratio.

    Args:
        sums: [C, k] for each measure; k may differ.
        replicates: How many sets of weights.
        rng: Where the weights come from.

    Returns:
        [replicates, k] for each measure.
    """
    clusters = len(sums[0])
    drawn = [np.empty((replicates, each.shape[1])) for each in sums]
    for rows in blocks(replicates, clusters):
        weights = rng.standard_exponential((rows.stop - rows.start, clusters))
        for out, each in zip(drawn, sums, strict=True):
            out[rows] = weights @ each  # one product a measure: a value never depends on its neighbours' columns
    return drawn
