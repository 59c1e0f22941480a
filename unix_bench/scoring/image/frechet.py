"""Frechet distance of two feature sets (Heusel et al., arXiv 1706.08500, equation 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from unix_bench.scoring.image.features import Matrix, as_pair


def frechet_distance(real: Any, generated: Any) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of Gaussians with the sets' means and covariances (over n - 1).

    tr (S1 S2)^(1/2) is taken as the sum of the singular values of R1 R2', where S = R'R, which needs no square root
    of a matrix and is exact for sets with fewer rows than columns.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d].

    Raises:
        ValueError: NaN or Inf, fewer than two rows, or unequal d.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(frechet_distance(x, x + 2.0), 9)
    16.0
    """
    x, y = as_pair(real, generated)
    offset = x.mean(axis=0) - y.mean(axis=0)
    root_x, root_y = _covariance_root(x), _covariance_root(y)
    overlap = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    spread = np.square(root_x).sum() + np.square(root_y).sum()
    return float(offset @ offset + spread - 2.0 * overlap)


def _covariance_root(x: Matrix) -> Matrix:
    """R [min(n, d), d] with R'R the covariance."""
    centred: Matrix = (x - x.mean(axis=0)) / np.sqrt(x.shape[0] - 1)
    return centred if x.shape[0] <= x.shape[1] else np.linalg.qr(centred).R
