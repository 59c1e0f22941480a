"""Intervals of the Frechet distance: of its expectation at this number of images, and of its limit for endlessly many.

The distance rises with few images, since covariances are estimated from them. A sample drawn from the sample with
replacement shows fewer distinct images still, so quantiles of a bootstrap lie above the value; the jackknife only asks
how far the value moves when patients are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image import frechet_distance
from unix_bench.scoring.image.features import as_pair
from unix_bench.scoring.image.frechet import distance_of_moments
from unix_bench.scoring.statistics.bootstrap import Interval
from unix_bench.scoring.statistics.clusters import numbered
from unix_bench.scoring.statistics.measure import Matrix
from unix_bench.scoring.statistics.patient_pairs import check_level, effective_patients, t_interval

GROUPS = 40  # of patients, left out one at a time
LEAST_BLOCK = 1.1  # images a dimension in a block; with fewer the distance does not fall as 1 / n
BLOCKS = (1, 2, 4)  # into how many blocks the patients are divided for the extrapolation


@dataclass(frozen=True)
class Limit:
    """The Frechet distance of endlessly many images.

    Attributes:
        value: Extrapolated.
        ci: Its interval; None where fewer than three groups of patients.
        blocks: Smallest blocks that the extrapolation used, in images.
    """

    value: float
    ci: Interval | None
    blocks: int


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over images of both sides: how many, [2, d] features, [2, d, d] products."""

    n: int
    first: Matrix
    second: Matrix

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.n + other.n, self.first + other.first, self.second + other.second)

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(self.n - other.n, self.first - other.first, self.second - other.second)

    def distance(self) -> float:
        mean = self.first / self.n
        spread = (self.second - self.n * mean[:, :, None] * mean[:, None, :]) / (self.n - 1)
        return distance_of_moments(mean, spread)


class FrechetJackknife:
    """The Frechet distance of pairs of images, its interval and its limit, from the same groups of patients.

    What one of them computes serves the others. Sums over a group are made anew each time they are left out, so that
    besides the features only a few [d, d] matrices are held.
    """

    def __init__(
        self, real: Any, generated: Any, patients: Sequence[str] | None, groups: int = GROUPS, seed: int = 0
    ) -> None:
        """Take the features; nothing is computed yet.

        Args:
            real: [n, d] features, numpy or torch.
            generated: [n, d], row i drawn for the prompt of real image i.
            patients: [n] each pair's patient; None: each stands for itself.
            groups: Into how many groups patients are put; as many as there are patients if those are fewer.
            seed: Of the groups.

        Raises:
            ValueError: Sides of different shape, fewer than two rows, NaN or Inf, or `groups` below 3.
        """
        self._x, self._y = _checked(real, generated, groups)
        n = len(self._x)
        group = patient_groups(patients, n, groups, seed)
        self._rows = [np.flatnonzero(group == each) for each in range(int(group.max()) + 1)]
        self._sizes = np.bincount(group)
        self._effective = float(n) if patients is None else effective_patients(patients)
        self._small = n <= self._x.shape[1]  # products of features would outgrow the features

    @cached_property
    def value(self) -> float:
        """The distance of all images."""
        return frechet_distance(self._x, self._y) if self._small else self._totals(1)[0].distance()

    @cached_property
    def _without(self) -> Matrix:
        """[G] the distance without each group."""
        if not self._small:
            return self._blocks_without(1)
        kept = (np.concatenate([*self._rows[:each], *self._rows[each + 1 :]]) for each in range(len(self._rows)))
        return np.array([frechet_distance(self._x[rows], self._y[rows]) for rows in kept])

    def interval(self, level: float = 0.95) -> Interval | None:
        """Interval of the distance's expectation at this number of images, its small-sample bias included.

        Groups of patients are left out one at a time (the delete-a-group jackknife); the quantile is Student's with the
        lesser of groups and effective patients, less one. It is taken of the root, which is a distance where this is
        its square: taken of the square, intervals of small distances lie too low.

        Args:
            level: Coverage aimed at, in (0, 1).

        Returns:
            (low, high) around the distance of all images; None where fewer than three patients, or where a group holds
            all images but one.

        Raises:
            ValueError: `level` out of range.

        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(2, 200, 4))
        >>> low, high = FrechetJackknife(x, y, None).interval()
        >>> low < frechet_distance(x, y) < high
        True
        """
        check_level(level)
        if len(self._sizes) < 3 or len(self._x) - int(self._sizes.max()) < 2:
            return None
        root, left = np.sqrt(max(0.0, self.value)), np.sqrt(np.maximum(self._without, 0.0))
        low, high = t_interval(float(root), _jackknife_error(left), self._degrees(), level)
        return min(max(0.0, low) ** 2, self.value), max(high**2, self.value)

    def limit(self, level: float = 0.95) -> Limit | None:
        """The distance extrapolated to endlessly many patients, with its interval.

        The mean distance of 1, 2 and 4 disjoint blocks, both sides divided alike, is extrapolated linearly in 1 / n to
        0 (after Chong and Forsyth, arXiv 1911.07023, who vary one side only and draw images). Blocks hold whole
        patients: images of one patient in several blocks would leave the bias that patients cause. A block has at least
        1.1 d images. The error is that of the whole extrapolation when groups of patients are left out one at a time.

        Args:
            level: Coverage aimed at, in (0, 1).

        Returns:
            None where two halves of the patients cannot both have 1.1 d images with a group left out.

        Raises:
            ValueError: `level` out of range.
        """
        check_level(level)
        n, least = len(self._x), max(LEAST_BLOCK * self._x.shape[1], 2.0)
        usable = [count for count in BLOCKS if count <= len(self._sizes) and _least_block(self._sizes, count) >= least]
        if len(usable) < 2:
            return None
        whole = {count: np.array([block.distance() for block in self._totals(count)]) for count in usable if count > 1}
        whole = {1: np.array([self.value]), **whole}
        without = {1: self._without, **{count: self._blocks_without(count) for count in whole if count > 1}}
        left = []
        for index, size in enumerate(self._sizes):
            distances = {count: each.copy() for count, each in whole.items()}
            for count, each in distances.items():
                each[index % count] = without[count][index]
            left.append(_extrapolated(n - int(size), distances))
        value, ci = _extrapolated(n, whole), None
        if len(left) >= 3:
            ci = t_interval(value, _jackknife_error(np.array(left)), self._degrees(), level)
        most = usable[-1]
        return Limit(value, ci, min(int(self._sizes[block::most].sum()) for block in range(most)))

    def _moments(self, group: int) -> _Moments:
        rows = np.stack([self._x[self._rows[group]], self._y[self._rows[group]]])
        return _Moments(rows.shape[1], rows.sum(axis=1), rows.transpose(0, 2, 1) @ rows)

    def _totals(self, count: int) -> list[_Moments]:
        """Of each of `count` blocks: every `count`-th group."""
        totals = []
        for block in range(count):
            total = self._moments(block)
            for group in range(block + count, len(self._rows), count):
                total += self._moments(group)
            totals.append(total)
        return totals

    def _blocks_without(self, count: int) -> Matrix:
        """[G] the distance of the block that each group is in, without that group."""
        totals = self._totals(count)
        left = [(totals[each % count] - self._moments(each)).distance() for each in range(len(self._rows))]
        return np.array(left)

    def _degrees(self) -> float:
        return min(float(len(self._sizes)), self._effective) - 1.0


def patient_groups(patients: Sequence[str] | None, images: int, groups: int, seed: int) -> NDArray[np.intp]:
    """[n] group of each image: whole patients, as even in images as the largest patient allows.

    The largest patient first, each goes to the smallest group so far; patients of one size in random order. So the
    largest patients lie in the first groups, one each, and every second, or fourth, group together are even too.

    Args:
        patients: [n] each image's patient; None: each stands for itself.
        images: n.
        groups: How many; fewer where there are fewer patients.
        seed: Of the order.

    Raises:
        ValueError: There is not one patient for each image.
    """
    numbers = numbered(patients, images)
    sizes = np.bincount(numbers)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    held = np.zeros(min(groups, len(sizes)), dtype=np.intp)
    of_patient = np.empty(len(sizes), dtype=np.intp)
    for patient in order:
        smallest = int(held.argmin())
        of_patient[patient] = smallest
        held[smallest] += sizes[patient]
    return of_patient[numbers]


def _checked(real: Any, generated: Any, groups: int) -> tuple[Matrix, Matrix]:
    """Both sides as float64, moved to lie about 0, where products of features lose no digits."""
    if groups < 3:
        raise ValueError(f"groups must be at least 3, not {groups}")
    x, y = as_pair(real, generated)
    if len(x) != len(y):
        raise ValueError(f"images must be pairs, not {len(x)} real and {len(y)} generated")
    centre = (x.mean(axis=0) + y.mean(axis=0)) / 2.0
    return x - centre, y - centre


def _least_block(sizes: NDArray[np.intp], count: int) -> int:
    """Images in the smallest of `count` blocks when its largest group is left out."""
    return min(int(sizes[block::count].sum() - sizes[block::count].max()) for block in range(count))


def _extrapolated(images: int, distances: dict[int, Matrix]) -> float:
    """Intercept of mean distances over 1 / (images a block)."""
    inverse = np.array(list(distances)) / images
    means = np.array([each.mean() for each in distances.values()])
    return float(np.polynomial.polynomial.polyfit(inverse, means, 1)[0])


def _jackknife_error(left: Matrix) -> float:
    groups = len(left)
    return float(np.sqrt((groups - 1) / groups * np.square(left - left.mean()).sum()))
