"""Euclidean distances of all rows with all rows: bounds for every pair from a matrix product, exact where it counts.

|x|^2 + |y|^2 - 2 x.y is quick, and wrong by rounding: a row is not at distance 0 from its duplicate. So it serves as a
bound only, and each comparison that the bound leaves open is made with the sum of squared differences, in float64.
The product may then be in float32: what comes out is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.features import Matrix, Rows
from unix_bench.scoring.image.tiles import EDGE, Dots, cut, dots_of

Integers = NDArray[np.intp]
Tile = NDArray[Any]

CHUNK = 1 << 19  # numbers in a block of differences: 4 MiB
SMALLEST = 1e-30  # beside squares that are scaled to at most 1: below it float32 runs out of exponents
# In float32 the bounds must stay close beside the distances to neighbours, or too many pairs are left open.
CLOSE = 0.02


def squared_distances(x: Rows, y: Rows, i: Integers, j: Integers) -> Matrix:
    """Sums of squared differences of rows i of x and j of y, [p] each; equal rows are at exactly 0."""
    squares = np.empty(len(i))
    step = max(1, CHUNK // x.shape[1])
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        difference = np.subtract(x[i[part]], y[j[part]], dtype=np.float64)
        squares[part] = np.square(difference, out=difference).sum(axis=1)
    return squares


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of the squared distances of rows of x with rows of y.

    Attributes:
        x: [n, d], y: [m, d]: where exact distances come from.
        dots: Products of the working rows: x and y moved by one vector and divided by `scale`.
        x_norms: [n] squared lengths of the working rows, y_norms: [m].
        error: A squared distance is wrong by at most `error` times the sum of both squared lengths.
        scale: Length by which the working rows are divided.
    """

    x: Rows
    y: Rows
    dots: Dots
    x_norms: Matrix
    y_norms: Matrix
    error: float
    scale: float = 1.0

    def lower(self, rows: slice, columns: slice) -> Tile:
        """Lower bounds [rows, columns] of the squared distances, over scale^2."""
        tile = self.dots(rows, columns)
        tile *= -2.0
        tile += ((1.0 - self.error) * self.x_norms[rows, None] - SMALLEST).astype(tile.dtype)
        tile += ((1.0 - self.error) * self.y_norms[columns]).astype(tile.dtype)
        return tile

    def slack(self, i: Any, j: Any) -> Matrix:
        """What to add to lower bounds to make upper ones, for rows i with rows j."""
        slack: Matrix = 2.0 * self.error * (self.x_norms[i] + self.y_norms[j]) + 2.0 * SMALLEST
        return slack

    def upper(self, lower: Tile, rows: slice, columns: slice) -> Matrix:
        """Upper bounds of a tile from its lower ones."""
        among = np.arange(len(self.x_norms))[rows, None], np.arange(len(self.y_norms))[columns]
        return lower + self.slack(*among)

    def exact(self, i: Integers, j: Integers) -> Matrix:
        """Squared distances of rows i with rows j, [p], not scaled."""
        return squared_distances(self.x, self.y, i, j)


def error_of(d: int, dtype: Any) -> float:
    """Bound on a squared distance's relative error, against the sum of both squared lengths.

    A dot product of d terms errs by d + 2 roundings, the entries' own included (Higham, Accuracy and Stability,
    section 3.1), the doubling, the two additions and the bounds' own rounding by less than 16 more.
    """
    return (d + 16) * float(np.finfo(dtype).eps) / 2.0


def bounds_of(x: Rows, y: Rows, dtype: Any) -> Bounds:
    """Bounds from features, multiplied in float32 or float64.

    Args:
        x: [n, d].
        y: [m, d]; may be x itself.
        dtype: Of the product.
    """
    centre = x.mean(axis=0, dtype=np.float64)
    reach = max(float(np.maximum(side.max(axis=0) - centre, centre - side.min(axis=0)).max()) for side in (x, y))
    scale = reach * np.sqrt(x.shape[1]) or 1.0
    left, x_norms = _working(x, centre, scale, dtype)
    right, y_norms = (left, x_norms) if y is x else _working(y, centre, scale, dtype)
    return Bounds(x, y, dots_of(left, right), x_norms, y_norms, error_of(x.shape[1], dtype), scale)


def _working(x: Rows, centre: Matrix, scale: float, dtype: Any) -> tuple[Rows, Matrix]:
    """Rows moved and scaled, so that their squares are at most 1, and their squared lengths before rounding."""
    moved, norms = np.empty(x.shape, dtype=dtype), np.empty(len(x))
    for rows in cut(len(x)):  # no second matrix of float64 for features of float32
        part = (x[rows] - centre) / scale
        norms[rows] = np.einsum("nd,nd->n", part, part)
        moved[rows] = part
    return moved, norms


def suited_bounds(x: Rows, y: Rows, k: int) -> Bounds:
    """Bounds in float32 where these are close enough to tell neighbours apart, otherwise in float64."""
    quick = bounds_of(x, y, np.float32)
    some, others = slice(0, EDGE), slice(0, max(EDGE, k + 1))
    upper = quick.upper(quick.lower(some, others), some, others)
    neighbour = np.partition(upper, min(k, upper.shape[1] - 1), axis=1)[:, min(k, upper.shape[1] - 1)]
    spread = 2.0 * quick.error * (quick.x_norms[some] + np.median(quick.y_norms[others]))
    return quick if np.median(spread) <= CLOSE * np.median(neighbour) else bounds_of(x, y, np.float64)
