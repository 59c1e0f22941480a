"""Frechet distance of two feature sets (Heusel et al., arXiv 1706.08500, equation 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unix_bench.scoring.image.features import Matrix, Rows, as_rows, as_rows_pair

# A Cholesky factor errs by about machine precision times the covariance's largest entry, so that a deviation a
# thousand times smaller than the largest keeps ten digits; below that the slower QR factor is taken.
WELL_CONDITIONED = 1e-3


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and covariance of a feature set: what one side brings to a Frechet distance, fitted once for many rivals.

    Attributes:
        n: Rows it was fitted on.
        mean: [d].
        root: [min(n, d), d] with root' root the covariance over n - 1.
        variance: Trace of the covariance.
    """

    n: int
    mean: Matrix
    root: Matrix
    variance: float


def fit_gaussian(features: Any) -> Gaussian:
    """Mean and covariance of features [n, d], numpy or torch.

    Raises:
        ValueError: NaN or Inf, or fewer than two rows.
    """
    return _fit(as_rows(features, "image"))


def gaussian_distance(one: Gaussian, other: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the squared Frechet distance of two Gaussians.

    tr (S1 S2)^(1/2) is taken as the sum of the singular values of R1 R2', where S = R'R, which needs no square root
    of a matrix; for n and m rows below d it is an [n, m] problem, and covariances may be singular.

    Raises:
        ValueError: Unequal d.
    """
    if one.mean.shape != other.mean.shape:
        raise ValueError(f"one set has {len(one.mean)} columns, the other {len(other.mean)}")
    offset = one.mean - other.mean
    overlap = _nuclear_norm(one.root @ other.root.T)
    return float(offset @ offset + one.variance + other.variance - 2.0 * overlap)


def distance_of_moments(means: Matrix, covariances: Matrix) -> float:
    """The same distance where only means [2, d] and covariances [2, d, d] are known, not the features.

    The sum of singular values is taken as that of the roots of the eigenvalues of R1 S2 R1', which serves covariances
    of any rank and is more than twice as quick as `gaussian_distance` where they are ill-conditioned; singular values
    below 1e-8 of the largest are lost.
    """
    try:
        root = np.linalg.cholesky(covariances[0]).T
    except np.linalg.LinAlgError:  # constant features, or images that repeat
        values, vectors = np.linalg.eigh(covariances[0])
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    squares = np.linalg.eigvalsh(root @ covariances[1] @ root.T)
    offset = means[0] - means[1]
    traces = covariances[0].trace() + covariances[1].trace()
    return float(offset @ offset + traces - 2.0 * np.sqrt(np.maximum(squares, 0.0)).sum())


def frechet_distance(real: Any, generated: Any) -> float:
    """Frechet distance of Gaussians with the sets' means and covariances (over n - 1).

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
    x, y = as_rows_pair(real, generated)
    return gaussian_distance(_fit(x), _fit(y))


def _nuclear_norm(product: Matrix) -> float:
    """Sum of the singular values of a matrix [r, s].

    Roots of the eigenvalues of A A' are quicker than a singular value decomposition. They err by machine precision
    times the largest eigenvalue, and are taken where the smallest has enough digits left.
    """
    wide = product if product.shape[0] <= product.shape[1] else product.T
    squares = np.linalg.eigvalsh(wide @ wide.T)  # ascending
    if squares[0] > WELL_CONDITIONED**2 * squares[-1]:
        return float(np.sqrt(squares).sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _fit(x: Rows) -> Gaussian:
    mean: Matrix = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    root = _root(centred)
    return Gaussian(len(x), mean, root, float(np.vdot(root, root)))


def _root(centred: Matrix) -> Matrix:
    """R [min(n, d), d] with R'R the covariance of centred rows [n, d]."""
    n, d = centred.shape
    if n <= d:
        thin: Matrix = centred / np.sqrt(n - 1)
        return thin
    try:
        factor: Matrix = np.linalg.cholesky(centred.T @ centred / (n - 1))
    except np.linalg.LinAlgError:
        factor = np.zeros((1, 1))
    diagonal = factor.diagonal()
    if diagonal.min() <= WELL_CONDITIONED * diagonal.max():
        return np.linalg.qr(centred, mode="r") / np.sqrt(n - 1)  # type: ignore[no-any-return]
    upper: Matrix = factor.T
    return upper
