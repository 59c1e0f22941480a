"""Feature matrices at the border of the image metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def as_matrix(features: Any, name: str, least: int = 2) -> Matrix:
    """Float64 [n, d] of a numpy array or torch tensor [n, d].

    Raises:
        ValueError: Not two-dimensional, fewer than `least` rows, or NaN / Inf inside.
    """
    matrix = np.asarray(features.detach().cpu() if hasattr(features, "detach") else features, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{name} features must be [n, d], not {list(matrix.shape)}")
    if matrix.shape[0] < least:
        raise ValueError(f"{name} features need at least {least} rows, not {matrix.shape[0]}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} features hold NaN or Inf")
    return matrix


def as_pair(real: Any, generated: Any, least: int = 2) -> tuple[Matrix, Matrix]:
    """Both sides of a comparison; they may differ in rows, not in columns."""
    pair = as_matrix(real, "real", least), as_matrix(generated, "generated", least)
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(f"real features have {pair[0].shape[1]} columns, generated ones {pair[1].shape[1]}")
    return pair
