"""Paired tests of two systems on the same studies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.statistics.bootstrap import Interval, check_request, pseudo_weight, too_few
from unix_bench.scoring.statistics.clusters import blocks, cluster_sums, numbered, reweighted
from unix_bench.scoring.statistics.measure import Matrix, Measure

# Weight, in patients, of each way that a pair can go; docs/statistics.md has the simulation it was chosen by. Where
# classes are averaged it is less, since what it adds to each class adds up.
EACH_WAY, EACH_WAY_AVERAGED = 0.5, 0.125
ROUNDING = 1e-12  # two differences this close, as a share of the range, are one


@dataclass(frozen=True)
class Difference:
    """How far system a is above system b.

    Attributes:
        value: a - b.
        ci: Its interval; None where fewer than two patients.
        p: Two-sided, of "no difference"; None where fewer than two patients.
    """

    value: float
    ci: Interval | None
    p: float | None


def paired_bootstrap(
    a: Measure,
    b: Measure,
    clusters: Sequence[str] | None,
    seed: int,
    replicates: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Interval of a difference, and the p-value at whose level the interval begins to hold 0.

    Both systems get the same random weights of patients, as in `intervals`, so what makes a study hard for both
    cancels out. F1 again gets pseudo-patients, now one for each way that a pair can go: both right, either, neither.

    Args:
        a: Measure of one system.
        b: The same measure of the other, over the same studies in the same order.
        clusters: [n] each study's patient; None: each study stands for itself.
        seed: Of the weights.
        replicates: Sets of weights.
        level: Of the interval.

    Raises:
        ValueError: The measures differ in shape, or `clusters` in length.
    """
    _check_pair(a, b)
    check_request([a, b], replicates, level)
    numbers = numbered(clusters, len(a))
    value = a.value() - b.value()
    if too_few(numbers) or not math.isfinite(value):
        return Difference(value, None, None)
    if np.array_equal(a.parts, b.parts):
        return Difference(0.0, (0.0, 0.0), 1.0)
    differences = _reweighted_differences(a, b, numbers, replicates, np.random.default_rng(seed))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    fewer = int(min((differences <= 0.0).sum(), (differences >= 0.0).sum()))
    p = min(1.0, 2.0 * (1 + fewer) / (1 + replicates))
    return Difference(value, (min(float(low), value), max(float(high), value)), p)


def _reweighted_differences(
    a: Measure, b: Measure, numbers: NDArray[np.intp], replicates: int, rng: np.random.Generator
) -> Matrix:
    """[B] differences under random weights of patients."""
    pairs = list(zip(a.averaged, b.averaged, strict=True)) or [(a, b)]
    shape = EACH_WAY_AVERAGED if a.averaged else EACH_WAY
    sums = [cluster_sums(leaf.parts, numbers) for pair in pairs for leaf in pair]
    drawn = reweighted(sums, replicates, rng)
    total = np.zeros(replicates)
    for index, (first, second) in enumerate(pairs):
        one, other = drawn[2 * index : 2 * index + 2]
        if first.pseudo is not None:
            patient = max(pseudo_weight(each) for each in sums[2 * index : 2 * index + 2])
            ways = patient * rng.standard_gamma(shape, (replicates, 4))  # both right, only one, only the other, neither
            one = one + np.stack([ways[:, 0] + ways[:, 1], ways[:, 2] + ways[:, 3]], axis=1) @ first.pseudo
            other = other + np.stack([ways[:, 0] + ways[:, 2], ways[:, 1] + ways[:, 3]], axis=1) @ first.pseudo
        total += first.of(one) - second.of(other)
    return total / len(pairs)


def approximate_randomisation(
    a: Measure, b: Measure, clusters: Sequence[str] | None, seed: int, trials: int = 10_000
) -> float:
    """Two-sided p-value of "the two systems are exchangeable" (Noreen, 1989).

    Each patient's outputs change sides at random, all together; p is the share of such worlds, the observed one
    among them, whose difference is at least as large. Patients in whom the systems do not differ are left alone; where
    the others have no more than `trials` ways to change sides, all of them are taken and p is exact.

    Args:
        a: Measure of one system.
        b: The same measure of the other, over the same studies in the same order.
        clusters: [n] each study's patient; None: each study stands for itself.
        seed: Of the swaps.
        trials: How many random swaps.

    Returns:
        p in (0, 1]; 1 for equal systems, NaN where the difference is none (no study counts).

    Raises:
        ValueError: The measures differ in shape, `clusters` in length, or `trials` is below 1.
    """
    _check_pair(a, b)
    if trials < 1:
        raise ValueError(f"trials must be at least 1, not {trials}")
    numbers = numbered(clusters, len(a))
    first, second = cluster_sums(a.parts, numbers), cluster_sums(b.parts, numbers)
    half = (first - second) / 2.0
    middle = (first + second).sum(axis=0) / 2.0
    half = np.ascontiguousarray(half[half.any(axis=1)])
    observed = abs(a.value() - b.value())
    if not math.isfinite(observed):
        return math.nan
    exact = len(half) < 63 and 2 ** len(half) <= trials
    least = observed - ROUNDING * (max(a.within[1], b.within[1]) - min(a.within[0], b.within[0]))
    reached = 0
    for signs in _all_signs(len(half)) if exact else _random_signs(len(half), trials, np.random.default_rng(seed)):
        shift = signs @ half
        reached += int((np.abs(a.of(middle + shift) - a.of(middle - shift)) >= least).sum())
    return reached / 2 ** len(half) if exact else (1 + reached) / (1 + trials)


def _all_signs(clusters: int) -> Iterator[Matrix]:
    for rows in blocks(2**clusters, clusters):
        numbers = np.arange(rows.start, rows.stop)[:, None]
        yield _signs(numbers >> np.arange(clusters) & 1)


def _random_signs(clusters: int, trials: int, rng: np.random.Generator) -> Iterator[Matrix]:
    for rows in blocks(trials, clusters):
        size = (rows.stop - rows.start) * clusters
        bits = np.unpackbits(rng.integers(0, 256, -(-size // 8), dtype=np.uint8), count=size)
        yield _signs(bits.reshape(-1, clusters))


def _signs(bits: NDArray[Any]) -> Matrix:
    return 1.0 - 2.0 * bits.astype(np.float64)


def _check_pair(a: Measure, b: Measure) -> None:
    if a.parts.shape != b.parts.shape or len(a.averaged) != len(b.averaged):
        raise ValueError(
            "two systems must have the same studies and the same measure, "
            f"not parts of {list(a.parts.shape)} and {list(b.parts.shape)}"
        )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted for being several (Holm, Scand. J. Stat. 6:65, 1979); None and NaN count as not tested.

    Raises:
        ValueError: A p-value outside [0, 1].

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    adjusted = list(p_values)
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None and not math.isnan(p))
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p-value {p} is outside [0, 1]")
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[index] = largest
    return adjusted
