"""Means over pairs of images of different patients, and what they become when patients are left out or drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from unix_bench.scoring.statistics.bootstrap import Interval
from unix_bench.scoring.statistics.measure import Matrix

FEW_PATIENTS = 15.0  # below so many effective patients the intervals of image metrics are flagged `few-patients`


@dataclass(frozen=True, eq=False)
class PatientPairs:
    """A mean of kernel values over all pairs of images of different patients.

    A pair within one patient says nothing of what two independent patients would give, and a patient who is drawn
    twice must not be paired with the own copy; so there is no such pair in it, with whatever weights.

    Attributes:
        sums: [P, P] symmetric, its diagonal 0: the kernel values of two patients' images added up.
        counts: [P, P] how many pairs of images that are.
    """

    sums: Matrix
    counts: Matrix

    def left_out(self, drawn: Matrix) -> tuple[Matrix, Matrix]:
        """Values of samples of patients, and with one more patient left out.

        Args:
            drawn: [B, P] how often each patient is in each of B samples.

        Returns:
            [B] values and [B, P] values of the samples without one copy of a patient; NaN where no pair remains.
        """
        by_patient, pairs = drawn @ self.sums, drawn @ self.counts
        total, number = (by_patient * drawn).sum(axis=1), (pairs * drawn).sum(axis=1)
        # Each pair stands twice in a symmetric matrix, and the diagonal, which would be subtracted twice, is 0.
        without = _share(total[:, None] - 2.0 * by_patient, number[:, None] - 2.0 * pairs)
        return _share(total, number), without

    def with_errors(self, drawn: Matrix) -> tuple[Matrix, Matrix]:
        """Values of samples of patients and their standard errors by the delete-a-patient jackknife.

        Args:
            drawn: [B, P] how often each patient is in each of B samples.

        Returns:
            [B] values, [B] standard errors; NaN where too few patients are in a sample.
        """
        value, without = self.left_out(drawn)
        patients = drawn.sum(axis=1)
        without = np.where(drawn > 0, without, 0.0)  # those not drawn cannot be left out
        centre = (drawn * without).sum(axis=1) / patients
        squares = (drawn * np.square(without - centre[:, None])).sum(axis=1)
        return value, np.sqrt((patients - 1.0) / patients * squares)

    def estimate(self) -> tuple[float, float]:
        """Value of all patients and its standard error: the jackknife's, or that of the pairs where it is larger.

        Where two distributions are nearly equal, no patient moves the value alone, only pairs of patients do. The
        jackknife is right on average there, but comes out near 0 in just those samples whose value is lowest, and
        the interval would lie below the truth. The error of a mean over pairs that are uncorrelated (Serfling,
        Approximation Theorems of Mathematical Statistics, 1980, section 5.2.1) is the least that is credible.

        Returns:
            Value and error; the error is NaN where there are fewer than three patients.
        """
        value, error = self.with_errors(np.ones((1, len(self.sums))))
        number = self.counts.sum()
        scatter = np.zeros_like(self.sums)
        if number > 0:
            scatter = (self.sums - self.sums.sum() / number * self.counts) / number
        least = np.sqrt(2.0 * np.square(scatter).sum())
        return float(value[0]), float(np.maximum(error[0], least))


def _share(total: Matrix, number: Matrix) -> Matrix:
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0.5)


def patient_pairs(summed: Matrix, counts: NDArray[np.intp]) -> PatientPairs:
    """Pairs of different patients from kernel values summed by patient.

    Args:
        summed: [P, P] sums of kernel values; pairs within a patient, on the diagonal, do not count.
        counts: [P] images of each patient, the same along rows and columns.
    """
    sums, pairs = (summed + summed.T) / 2.0, np.outer(counts, counts).astype(np.float64)
    np.fill_diagonal(sums, 0.0)
    np.fill_diagonal(pairs, 0.0)
    return PatientPairs(sums, pairs)


def effective_patients(patients: Sequence[Any] | NDArray[Any]) -> float:
    """How many patients of equal size would weigh as evenly: n^2 / sum n_p^2 (Kish, Survey Sampling, 1965).

    Args:
        patients: [n] each image's patient.

    Raises:
        ValueError: There is no image.

    >>> effective_patients(["a", "b", "c", "c"])
    2.6666666666666665
    """
    if not len(patients):
        raise ValueError("there is no image, so there are no patients to count")
    sizes = np.unique(np.asarray(patients, dtype=str), return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def image_flags(patients: Sequence[str], known: bool) -> list[str]:
    """Why an interval of an image metric is not to be trusted, if it is not (docs/image_intervals.md has the figures).

    Args:
        patients: [n] each image's patient, or what stands for one.
        known: Whether all of them are patients indeed.

    Returns:
        `patients-unknown` where they are not, `few-patients` below `FEW_PATIENTS` effective ones.
    """
    few = not patients or effective_patients(patients) < FEW_PATIENTS
    return [*([] if known else ["patients-unknown"]), *(["few-patients"] if few else [])]


def t_interval(centre: float, error: float, degrees: float, level: float, value: float | None = None) -> Interval:
    """Centre +- t * error, widened where needed to hold the printed value, which may be another estimate.

    Args:
        centre: Estimate in the middle.
        error: Its standard error.
        degrees: Of freedom of the error; at least 1 is taken.
        level: Coverage aimed at.
        value: What is printed beside the interval; None: the centre.
    """
    reach = float(stats.t.isf((1.0 - level) / 2.0, max(1.0, degrees))) * error
    shown = centre if value is None else value
    return min(centre - reach, shown), max(centre + reach, shown)


def check_level(level: float) -> None:
    """Refuse a level that is no share.

    Raises:
        ValueError: It lies outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
