"""Intervals of the kernel distance, and the difference of two models' kernel distances, by patients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unix_bench.scoring.image import KernelSums
from unix_bench.scoring.statistics.bootstrap import Interval
from unix_bench.scoring.statistics.clusters import blocks
from unix_bench.scoring.statistics.measure import Matrix
from unix_bench.scoring.statistics.paired import Difference
from unix_bench.scoring.statistics.patient_pairs import (
    PatientPairs,
    check_level,
    effective_patients,
    patient_pairs,
    t_interval,
)

ROUNDING = 1e-12  # a difference this small, as a share of the kernel values, is none
SAME = 1e-9  # kernel values summed in another order differ less, as a share of the largest sum


def kernel_interval(sums: KernelSums, level: float = 0.95) -> Interval | None:
    """Interval of the kernel distance that endlessly many such patients would give.

    The middle is the mean over pairs of images of different patients, the error that of the jackknife that leaves out
    a patient at a time (Efron and Stein, Ann. Stat. 9:586), the quantile Student's with the effective number of
    patients less one. The distance over all images, pairs within a patient included, always lies inside. Where the two
    distributions are equal the error is overstated: the interval is then too wide.

    Args:
        sums: Kernel values summed by patient.
        level: Coverage aimed at, in (0, 1).

    Returns:
        (low, high); None where there are fewer than three patients.

    Raises:
        ValueError: `level` out of range.

    >>> from unix_bench.scoring.image import kernel_sums
    >>> x, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    >>> low, high = kernel_interval(kernel_sums(x, y, None))
    >>> low < 0 < high
    True
    """
    check_level(level)
    centre, error = patient_pairs(sums.xx + sums.yy - 2.0 * sums.xy, sums.counts).estimate()
    if not np.isfinite(error):
        return None
    effective = effective_patients(np.repeat(np.arange(len(sums.counts)), sums.counts))
    return t_interval(centre, error, effective - 1.0, level, sums.estimate.value)


def paired_kernel_difference(
    a: KernelSums, b: KernelSums, seed: int, replicates: int = 2000, level: float = 0.95
) -> Difference:
    """How far model a's kernel distance lies above model b's, both against the same real images and prompts.

    A studentised bootstrap (Efron and Tibshirani, 1993, section 12.5): patients are drawn with replacement, the same
    for both models; in each draw the difference less the observed one is divided by the draw's own jackknife error.
    The interval is symmetric, by the size of that ratio, and p is the level at which it begins to hold 0. What the real
    images have among themselves cancels out. Two models equal in distance need not be exchangeable prompt by prompt, so
    outputs are never swapped.

    Args:
        a: Kernel values of one model by patient.
        b: Those of the other.
        seed: Of the draws.
        replicates: Draws.
        level: Of the interval.

    Returns:
        The difference over all images; ci and p are None where there are fewer than three patients.

    Raises:
        ValueError: Other patients, numbers of images or real images for one than for the other, `replicates` or
            `level` out of range.
    """
    check_level(level)
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, not {replicates}")
    _check_pair(a, b)
    value = _one_sided(a) - _one_sided(b)
    pairs = patient_pairs(a.yy - b.yy - 2.0 * (a.xy - b.xy), a.counts)
    centre, error = pairs.estimate()
    if not np.isfinite(error):
        return Difference(value, None, None)
    if max(abs(value), abs(centre), error) <= ROUNDING * float(np.abs(a.yy).sum()) / _number_of_pairs(a):
        return Difference(0.0, (0.0, 0.0), 1.0)
    ratios = np.abs(_studentised(pairs, centre, replicates, np.random.default_rng(seed)))
    reach = float(np.quantile(ratios, level, method="higher")) * error  # an infinite ratio has no share to interpolate
    p = min(1.0, (1 + int((ratios * error >= abs(centre)).sum())) / (1 + len(ratios)))
    return Difference(value, (min(centre - reach, value), max(centre + reach, value)), p)


def _studentised(pairs: PatientPairs, centre: float, replicates: int, rng: np.random.Generator) -> Matrix:
    """[B] (drawn value - centre) / drawn error; infinite where a draw holds too few patients to know its error."""
    found = [np.empty(0)]
    for drawn in _draws(len(pairs.sums), replicates, rng):
        value, error = pairs.with_errors(drawn)
        known = np.isfinite(error) & (error > 0.0)
        found.append(np.divide(value - centre, error, out=np.full_like(value, np.inf), where=known))
    return np.concatenate(found)


def _draws(patients: int, replicates: int, rng: np.random.Generator) -> Iterator[Matrix]:
    for rows in blocks(replicates, patients):
        size = rows.stop - rows.start
        yield rng.multinomial(patients, np.full(patients, 1.0 / patients), size=size).astype(np.float64)


def _check_pair(a: KernelSums, b: KernelSums) -> None:
    if a.patients != b.patients or not np.array_equal(a.counts, b.counts):
        raise ValueError("two models must have the same patients, and as many images of each")
    if not np.allclose(a.xx, b.xx, rtol=0.0, atol=SAME * float(np.abs(a.xx).max())):
        raise ValueError("two models must be compared with the same real images")


def _number_of_pairs(sums: KernelSums) -> int:
    """Pairs of different images on one side, either order."""
    n = int(sums.counts.sum())
    return n * (n - 1)


def _one_sided(sums: KernelSums) -> float:
    """The part of the kernel distance that depends on the model."""
    return float(sums.yy.sum()) / _number_of_pairs(sums) - 2.0 * float(sums.xy.sum()) / int(sums.counts.sum()) ** 2
