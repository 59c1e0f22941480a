"""Intervals of the kernel distance, and the difference of two models' kernel distances, by patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from unix_bench.scoring.statistics.bootstrap import Interval
from unix_bench.scoring.statistics.clusters import blocks, numbered
from unix_bench.scoring.statistics.measure import Matrix
from unix_bench.scoring.statistics.paired import Difference
from unix_bench.scoring.statistics.patient_pairs import (
    PatientPairs,
    across,
    check_level,
    effective_patients,
    membership,
    pair_counts,
    t_interval,
)

ROUNDING = 1e-12  # a difference this small, as a share of the kernel values, is none


def kernel_interval(
    kxx: ArrayLike,
    kyy: ArrayLike,
    kxy: ArrayLike,
    patients: Sequence[str] | None,
    level: float = 0.95,
    generated_patients: Sequence[str] | None = None,
) -> Interval | None:
    """Interval of the kernel distance that endlessly many such patients would give.

    The middle is the mean over pairs of images of different patients, the error that of the jackknife that leaves out
    a patient at a time, from the [P, P] sums (Efron and Stein, Ann. Stat. 9:586), the quantile Student's with the
    effective number of patients less one. The distance over all images, pairs within a patient included, always lies
    inside. Where the two distributions are equal the error is overstated: the interval is then too wide.

    Args:
        kxx: [n, n] kernel values of real images; the diagonal does not count.
        kyy: [m, m] of generated ones.
        kxy: [n, m] of real with generated.
        patients: [n] each real image's patient; None: each image stands for itself.
        level: Coverage aimed at, in (0, 1).
        generated_patients: [m] for two sets that are not paired; None: those of the real images, row by row.

    Returns:
        (low, high); None where a side has fewer than three patients.

    Raises:
        ValueError: Shapes that do not fit, NaN or Inf, or `level` out of range.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 60, 4))
    >>> low, high = kernel_interval((x @ x.T / 4 + 1) ** 3, (y @ y.T / 4 + 1) ** 3, (x @ y.T / 4 + 1) ** 3, None)
    >>> low < 0 < high
    True
    """
    check_level(level)
    real, generated, cross = _kernel(kxx, "kxx"), _kernel(kyy, "kyy"), _kernel(kxy, "kxy")
    n, m = cross.shape
    if real.shape != (n, n) or generated.shape != (m, m):
        raise ValueError(
            f"kernel matrices must be [n, n], [m, m] and [n, m], not {list(real.shape)}, {list(generated.shape)} and "
            f"{list(cross.shape)}"
        )
    rows, columns, effective = _sides(patients, generated_patients, n, m)
    pairs = PatientPairs(
        (across(rows, real, rows), across(columns, generated, columns), -2.0 * across(rows, cross, columns)),
        (pair_counts(rows, rows), pair_counts(columns, columns), pair_counts(rows, columns)),
    )
    centre, error = pairs.estimate()
    if not np.isfinite(error):
        return None
    value = _off_diagonal_mean(real) + _off_diagonal_mean(generated) - 2.0 * float(cross.mean())
    return t_interval(centre, error, effective - 1.0, level, value)


def paired_kernel_difference(
    kyy_a: ArrayLike,
    kxy_a: ArrayLike,
    kyy_b: ArrayLike,
    kxy_b: ArrayLike,
    patients: Sequence[str] | None,
    seed: int,
    replicates: int = 2000,
    level: float = 0.95,
) -> Difference:
    """How far model a's kernel distance lies above model b's, both against the same real images and prompts.

    A studentised bootstrap (Efron and Tibshirani, 1993, section 12.5): patients are drawn with replacement, the same
    for both models; in each draw the difference less the observed one is divided by the draw's own jackknife error.
    The interval is symmetric, by the size of that ratio, and p is the level at which it begins to hold 0. What the real
    images have among themselves cancels out. Two models equal in distance need not be exchangeable prompt by prompt, so
    outputs are never swapped.

    Args:
        kyy_a: [n, n] kernel values among a's images, row i drawn for the prompt of real image i.
        kxy_a: [n, n] of real images with a's.
        kyy_b: [n, n] among b's images.
        kxy_b: [n, n] of real images with b's.
        patients: [n] each prompt's patient; None: each stands for itself.
        seed: Of the draws.
        replicates: Draws.
        level: Of the interval.

    Returns:
        The difference over all images; ci and p are None where there are fewer than three patients.

    Raises:
        ValueError: Shapes that do not fit, NaN or Inf, `replicates` or `level` out of range.
    """
    check_level(level)
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, not {replicates}")
    within_a, cross_a = _kernel(kyy_a, "kyy_a"), _kernel(kxy_a, "kxy_a")
    within_b, cross_b = _kernel(kyy_b, "kyy_b"), _kernel(kxy_b, "kxy_b")
    n = len(within_a)
    if any(each.shape != (n, n) for each in (within_a, cross_a, within_b, cross_b)):
        raise ValueError(f"kernel matrices of two models on the same {n} prompts must all be [{n}, {n}]")
    value = _one_sided(within_a, cross_a) - _one_sided(within_b, cross_b)
    rows = _sides(patients, None, n, n)[0]
    together = within_a - within_b - 2.0 * (cross_a - cross_b)
    pairs = PatientPairs((across(rows, together, rows),), (pair_counts(rows, rows),))
    centre, error = pairs.estimate()
    if not np.isfinite(error):
        return Difference(value, None, None)
    if max(abs(value), abs(centre), error) <= ROUNDING * float(np.abs(within_a).mean()):
        return Difference(0.0, (0.0, 0.0), 1.0)
    ratios = np.abs(_studentised(pairs, centre, replicates, np.random.default_rng(seed)))
    reach = float(np.quantile(ratios, level, method="higher")) * error  # an infinite ratio has no share to interpolate
    p = min(1.0, (1 + int((ratios * error >= abs(centre)).sum())) / (1 + len(ratios)))
    return Difference(value, (min(centre - reach, value), max(centre + reach, value)), p)


def _studentised(pairs: PatientPairs, centre: float, replicates: int, rng: np.random.Generator) -> Matrix:
    """[B] (drawn value - centre) / drawn error; infinite where a draw holds too few patients to know its error."""
    found = [np.empty(0)]
    for drawn in _draws(len(pairs.sums[0]), replicates, rng):
        value, error = pairs.with_errors(drawn)
        known = np.isfinite(error) & (error > 0.0)
        found.append(np.divide(value - centre, error, out=np.full_like(value, np.inf), where=known))
    return np.concatenate(found)


def _draws(patients: int, replicates: int, rng: np.random.Generator) -> Iterator[Matrix]:
    for rows in blocks(replicates, patients):
        size = rows.stop - rows.start
        yield rng.multinomial(patients, np.full(patients, 1.0 / patients), size=size).astype(np.float64)


def _sides(
    patients: Sequence[str] | None, generated_patients: Sequence[str] | None, n: int, m: int
) -> tuple[sparse.csr_array, sparse.csr_array, float]:
    """Membership of real and of generated images in the patients of both, and how many effective patients there are."""
    if generated_patients is None:
        if n != m:
            raise ValueError(f"{n} real and {m} generated images are not pairs: name the generated ones' patients too")
        numbers = numbered(patients, n)
        rows = membership(numbers, int(numbers.max(initial=-1)) + 1)
        return rows, rows, effective_patients(numbers)
    if patients is None or len(patients) != n or len(generated_patients) != m:
        raise ValueError(f"there must be one patient for each of {n} real and {m} generated images")
    both = numbered([*patients, *generated_patients], n + m)
    count = int(both.max(initial=-1)) + 1
    least = min(effective_patients(patients), effective_patients(generated_patients))
    return membership(both[:n], count), membership(both[n:], count), least


def _kernel(values: ArrayLike, name: str) -> Matrix:
    matrix: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{name} must be a matrix with at least one row, not {list(matrix.shape)}")
    # A sum is finite only if all its terms are, short of an overflow that no later sum would survive either.
    if not np.isfinite(matrix.sum()):
        raise ValueError(f"{name} holds NaN or Inf")
    return matrix


def _off_diagonal_mean(kernel: Matrix) -> float:
    n = len(kernel)
    return float((kernel.sum() - kernel.trace()) / (n * (n - 1))) if n > 1 else float("nan")


def _one_sided(within: Matrix, cross: Matrix) -> float:
    """The part of the kernel distance that depends on the model."""
    return _off_diagonal_mean(within) - 2.0 * float(cross.mean())
