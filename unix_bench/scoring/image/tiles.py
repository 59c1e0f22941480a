"""Dot products of all rows with all rows, a tile at a time, so that no [n, m] matrix need be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.features import Matrix

EDGE = 512  # rows of a tile: 2 MiB of float64, which stays in a processor's cache

Dots = Callable[[slice, slice], NDArray[Any]]  # dot products of some rows of one side with some of the other


def dots_of(x: NDArray[Any], y: NDArray[Any]) -> Dots:
    """Dot products computed when they are asked for.

    Args:
        x: [n, d].
        y: [m, d].
    """
    return lambda rows, columns: x[rows] @ y[columns].T


def dots_among(gram: Matrix, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Dots:
    """Dot products of chosen rows, taken from those of all.

    Args:
        gram: [n, m] of all rows.
        rows: Which rows of the first side, repeats allowed.
        columns: Which rows of the second side.
    """
    width = gram.shape[1]
    # One index into the flat matrix: with two, numpy takes twice as long.
    return lambda some, others: gram.take(rows[some][:, None] * width + columns[others])


def cut(n: int, edge: int = EDGE) -> list[slice]:
    """Parts of 0..n of nearly equal length, at most `edge` each, so that none is a sliver."""
    bounds = np.linspace(0, n, -(-n // edge) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def half_square(n: int, edge: int = EDGE) -> Iterator[tuple[slice, slice]]:
    """Tiles on and above the diagonal of an [n, n] matrix, row by row; the others are their mirror images."""
    parts = cut(n, edge)
    for index, rows in enumerate(parts):
        for columns in parts[index:]:
            yield rows, columns


def rectangle(n: int, m: int, edge: int = EDGE) -> Iterator[tuple[slice, slice]]:
    """All tiles of an [n, m] matrix, row by row."""
    for rows in cut(n, edge):
        for columns in cut(m, edge):
            yield rows, columns


def gram_matrix(x: Matrix, y: Matrix | None = None) -> Matrix:
    """[n, m] dot products of rows of x [n, d] and y [m, d]; of x with itself where there is no y."""
    return x @ (x if y is None else y).T
