"""Kernel distance of two feature sets (Binkowski et al., arXiv 1801.01401, section 4)."""

from __future__ import annotations

from typing import Any

from unix_bench.scoring.image.features import Matrix, as_pair


def kernel_distance(real: Any, generated: Any) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, over all rows, in float64.

    It may be negative; its expectation is 0 where both sets come from one distribution.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d].

    Raises:
        ValueError: NaN or Inf, fewer than two rows, or unequal d.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> kernel_distance(x[:100], x[100:]) < 0.1 < kernel_distance(x[:100], x[100:] + 1.0)
    True
    """
    x, y = as_pair(real, generated)
    return _mean_off_diagonal(_kernel(x, x)) + _mean_off_diagonal(_kernel(y, y)) - 2.0 * float(_kernel(x, y).mean())


def _kernel(x: Matrix, y: Matrix) -> Matrix:
    gram: Matrix = (x @ y.T / x.shape[1] + 1.0) ** 3
    return gram


def _mean_off_diagonal(gram: Matrix) -> float:
    n = gram.shape[0]
    return float((gram.sum() - gram.trace()) / (n * (n - 1)))
