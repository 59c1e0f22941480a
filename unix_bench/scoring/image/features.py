"""Feature matrices at the border of the image metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Rows = NDArray[Any]  # float32 or float64


def as_rows(features: Any, name: str, least: int = 2) -> Rows:
    """A numpy array or torch tensor [n, d] as it is where it holds float32 or float64, otherwise as float64.

    Raises:
        ValueError: Not two-dimensional, fewer than `least` rows, or NaN / Inf inside.
    """
    if hasattr(features, "detach"):
        tensor = features.detach().cpu()
        features = tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
    rows = np.asarray(features)
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} features must be [n, d], not {list(rows.shape)}")
    if rows.shape[0] < least:
        raise ValueError(f"{name} features need at least {least} rows, not {rows.shape[0]}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} features hold NaN or Inf")
    return rows


def as_matrix(features: Any, name: str, least: int = 2) -> Matrix:
    """Float64 [n, d] of a numpy array or torch tensor [n, d]; raises as `as_rows`."""
    return as_rows(features, name, least).astype(np.float64, copy=False)


def as_pair(real: Any, generated: Any, least: int = 2) -> tuple[Matrix, Matrix]:
    """Both sides of a comparison in float64; they may differ in rows, not in columns."""
    x, y = as_rows_pair(real, generated, least)
    return x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)


def as_rows_pair(real: Any, generated: Any, least: int = 2) -> tuple[Rows, Rows]:
    """Both sides of a comparison, float32 or float64 as they come; they may differ in rows, not in columns."""
    pair = as_rows(real, "real", least), as_rows(generated, "generated", least)
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(f"real features have {pair[0].shape[1]} columns, generated ones {pair[1].shape[1]}")
    return pair
