"""Kernel distance of two feature sets (Binkowski et al., arXiv 1801.01401, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unix_bench.scoring.image.features import Matrix, as_pair
from unix_bench.scoring.image.tiles import Dots, dots_of, half_square, rectangle

Visit = Callable[[slice, slice, Matrix], None]  # rows and columns of a tile, and its kernel values


@dataclass(frozen=True)
class KernelEstimate:
    """A kernel distance and how sure it is.

    Attributes:
        value: Unbiased squared maximum mean discrepancy; may be negative.
        standard_error: For images drawn independently of each other; None with fewer than four rows on a side.
    """

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class SubsetMoments:
    """Mean and population standard deviation of the kernel distance over random subsets."""

    mean: float
    deviation: float


@dataclass(frozen=True, eq=False)
class Within:
    """Kernel values of one set with itself, i = j left out: row sums [n] and the sum of squares."""

    rows: Matrix
    squares: float

    @property
    def mean(self) -> float:
        n = len(self.rows)
        return float(self.rows.sum() / (n * (n - 1)))


@dataclass(frozen=True, eq=False)
class Between:
    """Kernel values of two sets: row sums [n], column sums [m] and the sum of squares."""

    rows: Matrix
    columns: Matrix
    squares: float

    @property
    def mean(self) -> float:
        return float(self.rows.sum() / (len(self.rows) * len(self.columns)))


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
    return kernel_estimate(real, generated).value


def kernel_estimate(real: Any, generated: Any) -> KernelEstimate:
    """The kernel distance with its standard error.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d].

    Raises:
        ValueError: NaN or Inf, fewer than two rows, or unequal d.
    """
    x, y = as_pair(real, generated)
    n, m, d = len(x), len(y), x.shape[1]
    return estimate(
        sum_within(dots_of(x, x), n, d), sum_within(dots_of(y, y), m, d), sum_between(dots_of(x, y), n, m, d)
    )


def kernel_distance_subsets(real: Any, generated: Any, subsets: int, subset_size: int, seed: int = 42) -> SubsetMoments:
    """The published estimate: the mean over random subsets, those that torchmetrics draws after `manual_seed(seed)`.

    torchmetrics computes each subset's kernel in float32, which fails on features far from zero; here it is float64.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d].
        subsets: How many.
        subset_size: Rows of each side in a subset, drawn without replacement.
        seed: Of a generator of its own: torch's global one is left as it is.

    Raises:
        ValueError: NaN or Inf, unequal d, no subset, or a subset of fewer than two rows or more than there are.
    """
    import torch  # only here: whoever scores from features alone need not load it

    x, y = as_pair(real, generated)
    if subsets < 1:
        raise ValueError(f"subsets must be 1 or more, not {subsets}")
    if not 2 <= subset_size <= min(len(x), len(y)):
        raise ValueError(f"subset_size must lie between 2 and the {min(len(x), len(y))} rows, not {subset_size}")
    generator = torch.Generator().manual_seed(seed)
    in_x, in_y = np.zeros((len(x), subsets)), np.zeros((len(y), subsets))
    for index in range(subsets):
        for members in (in_x, in_y):
            members[torch.randperm(len(members), generator=generator)[:subset_size].numpy(), index] = 1.0
    within = _subset_sums(x, in_x) + _subset_sums(y, in_y)
    between = np.zeros(subsets)
    for rows, columns in rectangle(len(x), len(y)):
        values = kernel_values(x[rows] @ y[columns].T, x.shape[1])
        between += np.einsum("is,is->s", in_x[rows], values @ in_y[columns])
    distances = within / (subset_size * (subset_size - 1)) - 2.0 * between / subset_size**2
    return SubsetMoments(float(distances.mean()), float(distances.std()))


def _subset_sums(x: Matrix, members: Matrix) -> Matrix:
    """Sums [S] of the kernel over pairs of different rows of x [n, d] in each subset, members [n, S]."""
    sums = np.zeros(members.shape[1])
    for rows, columns in half_square(len(x)):
        values = kernel_values(x[rows] @ x[columns].T, x.shape[1])
        if rows == columns:
            np.fill_diagonal(values, 0.0)
        share = np.einsum("is,is->s", members[rows], values @ members[columns])
        sums += share if rows == columns else 2.0 * share
    return sums


def kernel_values(dots: Matrix, d: int) -> Matrix:
    """(dot / d + 1)^3 of dot products of features with d columns; `dots` is overwritten on the way."""
    dots /= d
    dots += 1.0
    values: Matrix = dots * dots
    values *= dots
    return values


def sum_within(dots: Dots, n: int, d: int, visit: Visit | None = None) -> Within:
    """Kernel values among the n rows of one set with d columns; `visit` sees each tile, 0 where i = j."""
    sums, squares = np.zeros(n), 0.0
    for rows, columns in half_square(n):
        values = kernel_values(dots(rows, columns), d)
        if rows == columns:
            np.fill_diagonal(values, 0.0)
            squares += float(np.vdot(values, values))
        else:
            squares += 2.0 * float(np.vdot(values, values))
            sums[columns] += values.sum(axis=0)
        sums[rows] += values.sum(axis=1)
        if visit:
            visit(rows, columns, values)
    return Within(sums, squares)


def sum_between(dots: Dots, n: int, m: int, d: int, visit: Visit | None = None) -> Between:
    """Kernel values of n rows of one set with m rows of another, d columns each; `visit` sees each tile."""
    by_row, by_column, squares = np.zeros(n), np.zeros(m), 0.0
    for rows, columns in rectangle(n, m):
        values = kernel_values(dots(rows, columns), d)
        by_row[rows] += values.sum(axis=1)
        by_column[columns] += values.sum(axis=0)
        squares += float(np.vdot(values, values))
        if visit:
            visit(rows, columns, values)
    return Between(by_row, by_column, squares)


def estimate(xx: Within, yy: Within, xy: Between) -> KernelEstimate:
    """The distance from sums of kernel values, and its standard error.

    The jackknife sees the variance of the rows' own shares (the Hajek projection) rightly and that of the remaining
    interaction of two rows twice over; the latter is measured and taken off once. It is all there is where both sets
    come from one distribution: there the jackknife's standard error would be too large by the root of two, and half
    its variance is the least that can be true.
    """
    value = xx.mean + yy.mean - 2.0 * xy.mean
    n, m = len(xx.rows), len(yy.rows)
    if min(n, m) < 4:
        return KernelEstimate(value, None)
    of_x = 2.0 * (xx.rows / (n - 1) - xy.rows / m)
    of_y = 2.0 * (yy.rows / (m - 1) - xy.columns / n)
    jackknife = of_x.var(ddof=1) / n + of_y.var(ddof=1) / m
    interaction = (
        2.0 * _interaction_within(xx) / (n * (n - 1))
        + 2.0 * _interaction_within(yy) / (m * (m - 1))
        + 4.0 * _interaction_between(xy) / (n * m)
    )
    return KernelEstimate(value, float(np.sqrt(max(jackknife - interaction, jackknife / 2.0))))


def _interaction_within(kernel: Within) -> float:
    """Mean square of k(i, j) - mu - a_i - a_j, i < j: residuals of an additive fit, n (n - 3) / 2 of them free."""
    n = len(kernel.rows)
    effects = (kernel.rows / (n - 1) - kernel.mean) * (n - 1) / (n - 2)
    left = kernel.squares - n * (n - 1) * kernel.mean**2 - 2.0 * (n - 2) * float(effects @ effects)
    return max(0.0, left) / (n * (n - 3))


def _interaction_between(kernel: Between) -> float:
    """Mean square of k(i, j) - mu - a_i - b_j: residuals of an additive fit, (n - 1) (m - 1) of them free."""
    n, m = len(kernel.rows), len(kernel.columns)
    of_rows, of_columns = kernel.rows / m - kernel.mean, kernel.columns / n - kernel.mean
    explained = n * m * kernel.mean**2 + m * float(of_rows @ of_rows) + n * float(of_columns @ of_columns)
    return max(0.0, kernel.squares - explained) / ((n - 1) * (m - 1))
