"""Precision, recall, density and coverage (Naeem et al., arXiv 2002.09797; Kynkaanniemi et al., 1904.06991)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from unix_bench.scoring.image.features import Matrix, as_pair


@dataclass(frozen=True)
class PRDC:
    """How two feature sets lie in each other's k-nearest-neighbour balls; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: Any, generated: Any, k: int = 5) -> PRDC:
    """A point lies in a ball when it is strictly nearer to the centre than the centre's k-th nearest neighbour.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d].
        k: Which neighbour, the point itself not counted, sets the radius.

    Raises:
        ValueError: NaN or Inf, n or m not above k, or unequal d.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 4))
    >>> prdc(x, x + 100.0)
    PRDC(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    x, y = as_pair(real, generated, least=k + 1)
    x_radii, y_radii = _radii(x, k), _radii(y, k)
    between = cdist(x, y)  # [real, generated]
    in_real = between < x_radii[:, None]
    in_generated = between < y_radii[None, :]
    return PRDC(
        precision=float(in_real.any(axis=0).mean()),
        recall=float(in_generated.any(axis=1).mean()),
        density=float(in_real.sum(axis=0).mean() / k),
        coverage=float((between.min(axis=1) < x_radii).mean()),
    )


def _radii(x: Matrix, k: int) -> Matrix:
    """Distance of each row to its k-th nearest other row, [n]."""
    distances = cdist(x, x)
    radii: Matrix = np.partition(distances, k, axis=1)[:, k]  # the row itself is the 0-th
    return radii
