"""Which images a grid shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EACH = 3


class Chosen(NamedTuple):
    """Indices of images, in each group the highest score first, but the worst of all at the head of `worst`."""

    best: tuple[int, ...]
    median: tuple[int, ...]
    worst: tuple[int, ...]


def choose_shown(scores: NDArray[Any], members: Sequence[int]) -> Chosen:
    """The best, the most ordinary and the worst images of a row, up to three each and none twice.

    Fewer than nine are dealt out in turn: to the best, to the worst, to the median. Of equal scores the lower index
    counts as better.

    Args:
        scores: [n], higher is better; an image whose score is not finite is not chosen.
        members: The row's indices into `scores`.

    >>> choose_shown(np.array([0.1, 0.9, np.nan, 0.5, 0.4]), range(5))
    Chosen(best=(1, 3), median=(4,), worst=(0,))
    """
    scored = [int(index) for index in np.unique(np.asarray(members, dtype=np.intp)) if np.isfinite(scores[index])]
    ranked = sorted(scored, key=lambda index: -scores[index])
    n = len(ranked)
    best, worst, median = (min(EACH, (n + others) // 3) for others in (2, 1, 0))
    middle = float(np.median(scores[ranked])) if ranked else 0.0
    between = sorted(ranked[best : n - worst], key=lambda index: abs(scores[index] - middle))[:median]
    return Chosen(
        tuple(ranked[:best]),
        tuple(index for index in ranked if index in between),
        tuple(reversed(ranked[n - worst :])),
    )
