"""The spread of a metric between training seeds, which no interval over studies contains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Values of several training seeds in brief.

    Attributes:
        mean: Their mean.
        sd: Sample standard deviation (n - 1); None for one seed.
        low: The least.
        high: The greatest.
        n: How many seeds.
    """

    mean: float
    sd: float | None
    low: float
    high: float
    n: int


def between_seeds(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and range of one value a seed.

    Raises:
        ValueError: No value, or one that is NaN or Inf.

    >>> between_seeds([0.25, 0.5, 0.75])
    Spread(mean=0.5, sd=0.25, low=0.25, high=0.75, n=3)
    """
    found = np.asarray(values, dtype=np.float64)
    if not found.size or not np.isfinite(found).all():
        raise ValueError(f"one finite value a seed is needed, not {list(values)}")
    sd = float(found.std(ddof=1)) if found.size > 1 else None
    return Spread(float(found.mean()), sd, float(found.min()), float(found.max()), found.size)
