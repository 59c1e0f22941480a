"""Kernel values summed by patient, from which intervals of the kernel distance are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.features import Matrix, as_pair
from unix_bench.scoring.image.kernel import KernelEstimate, estimate, sum_between, sum_within
from unix_bench.scoring.image.tiles import Dots, dots_of

Integers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Sums of the kernel k over pairs of images of two patients, P patients in all.

    A pair of different patients p, q stands for
    counts[p] counts[q] pairs of images in each matrix; p with itself for counts[p] (counts[p] - 1) pairs in `xx` and
    `yy` and counts[p]^2 in `xy`.

    Attributes:
        estimate: The kernel distance of all images, and its standard error were they drawn independently.
        patients: [P] names, sorted.
        counts: [P] images of each patient, the same on both sides.
        xx: [P, P] sum of k(real i, real j), i of p and j of q, i = j left out. Symmetric.
        yy: [P, P] the same of generated images.
        xy: [P, P] sum of k(real i, generated j), i of p and j of q, i = j included: they are different images.
        paired: [P] sum of k(real i, generated i) over the images of p: the part of xy's diagonal that has i = j.
    """

    estimate: KernelEstimate
    patients: tuple[str, ...]
    counts: Integers
    xx: Matrix
    yy: Matrix
    xy: Matrix
    paired: Matrix


@dataclass(frozen=True, eq=False)
class PatientOrder:
    """Images put in the order of their patients.

    Attributes:
        names: [P] patients, sorted.
        order: [n] which image comes where.
        numbers: [n] number of each one's patient in that order, ascending.
    """

    names: tuple[str, ...]
    order: Integers
    numbers: Integers


def in_patient_order(patients: Sequence[str] | None, n: int) -> PatientOrder:
    """Images sorted by their patients' names; None: each of the n images is a patient of its own."""
    if patients is None:
        return PatientOrder(tuple(f"{image:0{len(str(n))}d}" for image in range(n)), np.arange(n), np.arange(n))
    names, numbers = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    return PatientOrder(tuple(names.tolist()), order, numbers[order])


def kernel_sums(real: Any, generated: Any, patients: Sequence[str] | None) -> KernelSums:
    """Sum kernel values by patient.

    Args:
        real: [n, d], numpy or torch.
        generated: [n, d]; row i is drawn for the study of real row i.
        patients: [n] whose study it is; None: each stands for itself.

    Raises:
        ValueError: NaN or Inf, fewer than two rows, unequal shapes, or not one patient for each row.

    >>> sums = kernel_sums([[0.0], [1.0], [2.0]], [[1.0], [1.0], [3.0]], ["a", "b", "a"])
    >>> sums.patients, sums.counts.tolist(), sums.paired.tolist()
    (('a', 'b'), [2, 1], [344.0, 8.0])
    """
    x, y = as_pair(real, generated)
    named = len(x) if patients is None else len(patients)
    if not len(x) == len(y) == named:
        raise ValueError(f"{len(x)} real and {len(y)} generated rows for {named} patients: they must be paired")
    by_patient = in_patient_order(patients, len(x))
    x, y = x[by_patient.order], y[by_patient.order]
    return summed(by_patient, dots_of(x, x), dots_of(y, y), dots_of(x, y), x.shape[1])


def summed(by_patient: PatientOrder, xx: Dots, yy: Dots, xy: Dots, d: int) -> KernelSums:
    """The estimate and the sums by patient in one pass over the dot products of rows with d columns.

    Args:
        by_patient: The order that the rows are in.
        xx: Among real rows.
        yy: Among generated ones.
        xy: Of real with generated ones.
        d: Columns.
    """
    n, of_real, of_generated = len(by_patient.numbers), _Sums(by_patient), _Sums(by_patient)
    between = _Sums(by_patient)
    found = estimate(
        sum_within(xx, n, d, of_real.add_mirrored),
        sum_within(yy, n, d, of_generated.add_mirrored),
        sum_between(xy, n, n, d, between.add),
    )
    counts = np.bincount(by_patient.numbers)
    return KernelSums(
        found, by_patient.names, counts, of_real.pairs, of_generated.pairs, between.pairs, between.diagonal
    )


class _Sums:
    """Adds up tiles of kernel values by patient: all of them [P, P], and those with i = j [P]."""

    def __init__(self, by_patient: PatientOrder) -> None:
        self._numbers = by_patient.numbers
        count = len(by_patient.names)
        self.pairs, self.diagonal = np.zeros((count, count)), np.zeros(count)

    def add(self, rows: slice, columns: slice, values: Matrix) -> None:
        of_rows, of_columns, reduced = self._reduced(rows, columns, values)
        self.pairs[of_rows[:, None], of_columns] += reduced
        if rows == columns:
            self.diagonal += np.bincount(self._numbers[rows], values.diagonal(), len(self.diagonal))

    def add_mirrored(self, rows: slice, columns: slice, values: Matrix) -> None:
        """A tile of a symmetric matrix, which stands for its mirror image too."""
        of_rows, of_columns, reduced = self._reduced(rows, columns, values)
        self.pairs[of_rows[:, None], of_columns] += reduced
        if rows != columns:
            self.pairs[of_columns[:, None], of_rows] += reduced.T

    def _reduced(self, rows: slice, columns: slice, values: Matrix) -> tuple[Integers, Integers, Matrix]:
        """Patients of a tile's rows and columns, and its sums by both."""
        first_row, first_column = _starts(self._numbers[rows]), _starts(self._numbers[columns])
        reduced = np.add.reduceat(np.add.reduceat(values, first_column, axis=1), first_row, axis=0)
        return self._numbers[rows][first_row], self._numbers[columns][first_column], reduced


def _starts(numbers: Integers) -> Integers:
    return np.flatnonzero(np.diff(numbers, prepend=-1))
