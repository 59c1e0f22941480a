"""Kernel values summed by patient, from which intervals of the kernel distance are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.features import Matrix, as_pair
from unix_bench.scoring.image.kernel import kernel_values
from unix_bench.scoring.image.tiles import Dots, dots_of, half_square, rectangle

Integers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Sums of the kernel k over pairs of images of two patients, P patients in all.

    With w = 1 for every patient, `value` is the kernel distance. A pair of different patients p, q stands for
    counts[p] counts[q] pairs of images in each matrix; p with itself for counts[p] (counts[p] - 1) pairs in `xx` and
    `yy` and counts[p]^2 in `xy`.

    Attributes:
        patients: [P] names, sorted.
        counts: [P] images of each patient, the same on both sides.
        xx: [P, P] sum of k(real i, real j), i of p and j of q, i = j left out. Symmetric.
        yy: [P, P] the same of generated images.
        xy: [P, P] sum of k(real i, generated j), i of p and j of q, i = j included: they are different images.
        paired: [P] sum of k(real i, generated i) over the images of p: the part of xy's diagonal that has i = j.
    """

    patients: tuple[str, ...]
    counts: Integers
    xx: Matrix
    yy: Matrix
    xy: Matrix
    paired: Matrix

    @property
    def value(self) -> float:
        """The kernel distance of all images."""
        n = int(self.counts.sum())
        return float((self.xx.sum() + self.yy.sum()) / (n * (n - 1)) - 2.0 * self.xy.sum() / n**2)


def kernel_sums(real: Any, generated: Any, patients: Sequence[str]) -> KernelSums:
    """Sum kernel values by patient.

    Args:
        real: [n, d], numpy or torch.
        generated: [n, d]; row i is drawn for the study of real row i.
        patients: [n] whose study it is.

    Raises:
        ValueError: NaN or Inf, fewer than two rows, unequal shapes, or not one patient for each row.
    """
    x, y = as_pair(real, generated)
    if not len(x) == len(y) == len(patients):
        raise ValueError(f"{len(x)} real and {len(y)} generated rows for {len(patients)} patients: they must be paired")
    names, numbers = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    x, y, numbers = x[order], y[order], numbers[order]
    xy, paired = _between(dots_of(x, y), numbers, x.shape[1])
    return KernelSums(
        patients=tuple(names.tolist()),
        counts=np.bincount(numbers),
        xx=_within(dots_of(x, x), numbers, x.shape[1]),
        yy=_within(dots_of(y, y), numbers, x.shape[1]),
        xy=xy,
        paired=paired,
    )


def _within(dots: Dots, numbers: Integers, d: int) -> Matrix:
    """[P, P] sums over pairs of rows i != j; `numbers` [n] ascends."""
    patients = int(numbers[-1]) + 1
    sums = np.zeros((patients, patients))
    for rows, columns in half_square(len(numbers)):
        values = kernel_values(dots(rows, columns), d)
        if rows == columns:
            np.fill_diagonal(values, 0.0)
        _add(sums, values, numbers[rows], numbers[columns])
        if rows != columns:
            _add(sums, values.T, numbers[columns], numbers[rows])
    return sums


def _between(dots: Dots, numbers: Integers, d: int) -> tuple[Matrix, Matrix]:
    """[P, P] sums over all pairs of rows, and [P] over those with i = j."""
    patients = int(numbers[-1]) + 1
    sums, paired = np.zeros((patients, patients)), np.zeros(patients)
    for rows, columns in rectangle(len(numbers), len(numbers)):
        values = kernel_values(dots(rows, columns), d)
        _add(sums, values, numbers[rows], numbers[columns])
        if rows == columns:
            paired += np.bincount(numbers[rows], weights=values.diagonal(), minlength=patients)
    return sums, paired


def _add(sums: Matrix, values: Matrix, of_rows: Integers, of_columns: Integers) -> None:
    """Add a tile to the sums of its patients; numbers ascend along both of its sides."""
    first_row, first_column = _starts(of_rows), _starts(of_columns)
    reduced = np.add.reduceat(np.add.reduceat(values, first_row, axis=0), first_column, axis=1)
    sums[of_rows[first_row][:, None], of_columns[first_column]] += reduced


def _starts(numbers: Integers) -> Integers:
    return np.flatnonzero(np.diff(numbers, prepend=-1))
