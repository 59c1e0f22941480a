"""What a distance is by sampling alone: the floor that two halves of the real images set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.features import Matrix, as_pair
from unix_bench.scoring.image.frechet import fit_gaussian, gaussian_distance
from unix_bench.scoring.image.kernel import sum_within
from unix_bench.scoring.image.tiles import dots_of

Integers = NDArray[np.intp]


@dataclass(frozen=True)
class Floors:
    """Distances at half the images, each a mean over halvings of the patients.

    Attributes:
        fd: Frechet distance of the two halves of the real images: what sampling alone amounts to.
        fd_at_half: Frechet distance of each half of the real images to the other half's generated ones.
        kd: Absolute kernel distance of the two halves of the real images; its expectation would be 0 but for the sign.
        n: Images in a half.
    """

    fd: float
    fd_at_half: float
    kd: float
    n: int


def floors(real: Any, generated: Any, patients: Sequence[str], seed: int, halvings: int = 4) -> Floors:
    """Floors of both distances, and FD at the floors' size, from the same halvings.

    Halves share no patient with each other, and no half of the real images is compared with images generated for its
    own patients. A Frechet distance depends on the number of images, so that like is compared with like.

    Args:
        real: [n, d], numpy or torch.
        generated: [n, d]; row i is drawn for the study of real row i.
        patients: [n] whose study it is.
        seed: Of the halvings.
        halvings: How many.

    Raises:
        ValueError: NaN or Inf, unequal shapes, not one patient for each row, fewer than two patients, a half of fewer
            than two rows, or no halving.

    >>> rng = np.random.default_rng(0)
    >>> real, perfect = rng.normal(size=(2, 400, 8))
    >>> found = floors(real, perfect, [str(i // 4) for i in range(400)], seed=0)
    >>> found.n, 0.5 < found.fd_at_half / found.fd < 2.0
    (200, True)
    """
    x, y = as_pair(real, generated)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} real and {len(y)} generated rows: they must be paired")
    if len(patients) != len(x):
        raise ValueError(f"{len(patients)} patients for {len(x)} rows")
    if halvings < 1:
        raise ValueError(f"halvings must be 1 or more, not {halvings}")
    halves = [_equal_halves(patients, np.random.default_rng((seed, index))) for index in range(halvings)]
    n = len(halves[0][0])  # patients of one size change places between halvings, so the halves' size does not change
    if n < 2:
        raise ValueError(f"a half of the patients needs at least two images, and there is {n}")
    fd, fd_at_half = np.mean([_frechet(x, y, *pair) for pair in halves], axis=0)
    return Floors(float(fd), float(fd_at_half), float(np.abs(_kernel(x, halves)).mean()), n)


def _dealt(patients: Sequence[str], rng: np.random.Generator) -> tuple[Integers, Integers]:
    names, numbers = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"halves without a common patient need two patients, and there are {len(names)}")
    counts = np.bincount(numbers)
    side = np.zeros(len(names), dtype=np.intp)
    filled = np.zeros(2, dtype=np.intp)
    for patient in np.lexsort((rng.random(len(names)), -counts)):
        side[patient] = rng.integers(2) if filled[0] == filled[1] else int(np.argmin(filled))
        filled[side[patient]] += counts[patient]
    return np.flatnonzero(side[numbers] == 0), np.flatnonzero(side[numbers] == 1)


def _equal_halves(patients: Sequence[str], rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Halves of one size: the greater loses rows by chance."""
    halves = _dealt(patients, rng)
    size = min(map(len, halves))
    one, other = (half if len(half) == size else np.sort(rng.choice(half, size, replace=False)) for half in halves)
    return one, other


def _frechet(x: Matrix, y: Matrix, one: Integers, other: Integers) -> tuple[float, float]:
    """Distance of the real halves, and the mean of those across to generated ones."""
    real_one, real_other = fit_gaussian(x[one]), fit_gaussian(x[other])
    across = gaussian_distance(real_one, fit_gaussian(y[other])), gaussian_distance(real_other, fit_gaussian(y[one]))
    return gaussian_distance(real_one, real_other), sum(across) / 2.0


def _kernel(x: Matrix, halves: Sequence[tuple[Integers, Integers]]) -> Matrix:
    """[halvings] kernel distances of the real halves; one pass over the kernel serves all halvings."""
    (n, d), size = x.shape, len(halves[0][0])
    members = np.zeros((n, 2 * len(halves)))  # the ones first, then the others
    for index, (one, other) in enumerate(halves):
        members[one, index] = members[other, len(halves) + index] = 1.0
    among = np.zeros((2 * len(halves),) * 2)

    def add(rows: slice, columns: slice, values: Matrix) -> None:
        share = members[rows].T @ (values @ members[columns])
        among[:] += share + share.T if rows != columns else share

    sum_within(dots_of(x, x), n, d, add)
    ones = np.arange(len(halves))
    others, pairs = ones + len(halves), size * (size - 1)
    found: Matrix = (among[ones, ones] + among[others, others]) / pairs - 2.0 * among[ones, others] / size**2
    return found
