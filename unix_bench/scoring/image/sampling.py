"""What a distance would be with more images or fewer: extrapolation, the floor of sampling, one common n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.features import as_matrix, as_pair
from unix_bench.scoring.image.frechet import frechet_distance
from unix_bench.scoring.image.kernel import kernel_distance
from unix_bench.scoring.image.neighbours import PRDC, prdc

ROWS_A_COLUMN = 1.1  # fewer rows than this times d in a block, and FD is not linear in 1/n any more

Integers = NDArray[np.intp]


@dataclass(frozen=True)
class PRDCSpread:
    """PRDC over repeated subsamples of one size: mean, and standard deviation between the subsamples."""

    mean: PRDC
    deviation: PRDC


def fd_infinity(real: Any, generated: Any, seed: int, divisions: Sequence[int] = (1, 2)) -> float:
    """The Frechet distance extrapolated to endlessly many images on both sides.

    Both sides are cut into b disjoint blocks together, the mean distance of the blocks is taken for each b, and a
    straight line in 1/n + 1/m is followed to 0. With the whole sets and their halves this is Richardson's
    2 FD(n) - FD(n / 2), which had the least spread in our simulations.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d]; where m = n, row i of one side stays with row i of the other.
        seed: Of the cut into blocks.
        divisions: The numbers of blocks b, at least two different ones.

    Raises:
        ValueError: NaN or Inf, unequal d, a block of fewer than 1.1 d rows, or fewer than two divisions.
    """
    x, y = as_pair(real, generated)
    if len(set(divisions)) < 2 or min(divisions) < 1:
        raise ValueError(f"divisions must be two different numbers of blocks or more, not {list(divisions)}")
    least, smallest = int(np.ceil(ROWS_A_COLUMN * x.shape[1])), min(len(x), len(y)) // max(divisions)
    if smallest < max(2, least):
        raise ValueError(
            f"FD-infinity of {x.shape[1]} columns needs {max(2, least)} rows in each of {max(divisions)} blocks, "
            f"and there are {smallest}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    x, y = x[order], y[order if len(x) == len(y) else rng.permutation(len(y))]
    inverse, distances = [], []
    for blocks in sorted(set(divisions)):
        rows, columns = len(x) // blocks, len(y) // blocks
        inverse.append(1.0 / rows + 1.0 / columns)
        pairs = [(x[b * rows : (b + 1) * rows], y[b * columns : (b + 1) * columns]) for b in range(blocks)]
        distances.append(float(np.mean([frechet_distance(*pair) for pair in pairs])))
    return float(np.polynomial.Polynomial.fit(inverse, distances, 1)(0.0))


def patient_halves(patients: Sequence[str], seed: int) -> tuple[Integers, Integers]:
    """Rows of two halves that share no patient, of nearly equal size, each in ascending order.

    Patients with many images are dealt first, each to the side with fewer; ties in their number by chance.

    Args:
        patients: [n] whose image each row is.
        seed: Of the halving.

    Raises:
        ValueError: Fewer than two patients.
    """
    names, numbers = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"halves without a common patient need two patients, and there are {len(names)}")
    rng = np.random.default_rng(seed)
    counts = np.bincount(numbers)
    side = np.zeros(len(names), dtype=np.intp)
    filled = np.zeros(2, dtype=np.intp)
    for patient in np.lexsort((rng.random(len(names)), -counts)):
        side[patient] = rng.integers(2) if filled[0] == filled[1] else int(np.argmin(filled))
        filled[side[patient]] += counts[patient]
    return np.flatnonzero(side[numbers] == 0), np.flatnonzero(side[numbers] == 1)


def fd_floor(real: Any, patients: Sequence[str], seed: int) -> float:
    """Frechet distance of two patient-disjoint halves of the real images: what sampling alone amounts to at n / 2.

    Args:
        real: [n, d], numpy or torch.
        patients: [n] whose image each row is.
        seed: Of the halving; the same seed gives `fd_at_half` the same halves.

    Raises:
        ValueError: NaN or Inf, not one patient for each row, fewer than two patients, or a half of fewer than two rows.
    """
    x = as_matrix(real, "real")
    one, other = _equal_halves(len(x), patients, seed)
    return frechet_distance(x[one], x[other])


def fd_at_half(real: Any, generated: Any, patients: Sequence[str], seed: int) -> float:
    """Frechet distance at the size of the floor: each half of the real images with the other half's generated ones.

    So both share no patient with each other, as in the floor; the mean of the two is returned.

    Args:
        real: [n, d], numpy or torch.
        generated: [n, d]; row i is drawn for the study of real row i.
        patients: [n] whose study it is.
        seed: Of the halving.

    Raises:
        ValueError: As `fd_floor`, or unequal shapes.
    """
    x, y = as_pair(real, generated)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} real and {len(y)} generated rows: they must be paired")
    one, other = _equal_halves(len(x), patients, seed)
    return (frechet_distance(x[one], y[other]) + frechet_distance(x[other], y[one])) / 2.0


def kd_floor(real: Any, patients: Sequence[str], seed: int) -> float:
    """Kernel distance of two patient-disjoint halves of the real images; unbiased, so 0 but for sampling and seed.

    Args:
        real: [n, d], numpy or torch.
        patients: [n] whose image each row is.
        seed: Of the halving.

    Raises:
        ValueError: As `fd_floor`.
    """
    x = as_matrix(real, "real")
    one, other = _equal_halves(len(x), patients, seed)
    return kernel_distance(x[one], x[other])


def _equal_halves(n: int, patients: Sequence[str], seed: int) -> tuple[Integers, Integers]:
    """Halves of one size, since a Frechet distance depends on it: the greater loses rows by chance."""
    if len(patients) != n:
        raise ValueError(f"{len(patients)} patients for {n} rows")
    halves = patient_halves(patients, seed)
    size = min(map(len, halves))
    rng = np.random.default_rng((seed, 1))
    one, other = (half if len(half) == size else np.sort(rng.choice(half, size, replace=False)) for half in halves)
    return one, other


def prdc_at(real: Any, generated: Any, n: int, repeats: int, seed: int, k: int = 5) -> PRDCSpread:
    """PRDC of subsamples of n rows a side, since its values depend on n.

    Args:
        real: [N, d], numpy or torch.
        generated: [M, d]; where M = N, a subsample has the same rows on both sides.
        n: Rows of a subsample, above k.
        repeats: Subsamples, at least two; drawn without replacement each.
        seed: Of the subsamples.
        k: Which neighbour sets the radius.

    Raises:
        ValueError: As `prdc`, n above the rows there are, or fewer than two repeats.
    """
    x, y = as_pair(real, generated)
    if not k < n <= min(len(x), len(y)):
        raise ValueError(f"n must lie between {k + 1} and the {min(len(x), len(y))} rows, not {n}")
    if repeats < 2:
        raise ValueError(f"repeats must be 2 or more, not {repeats}")
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(repeats):
        of_x = rng.choice(len(x), n, replace=False)
        of_y = of_x if len(x) == len(y) else rng.choice(len(y), n, replace=False)
        drawn.append(astuple(prdc(x[of_x], y[of_y], k)))
    values = np.array(drawn)
    return PRDCSpread(PRDC(*values.mean(axis=0).tolist()), PRDC(*values.std(axis=0, ddof=1).tolist()))
