"""Intervals by a Bayesian bootstrap over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from unix_bench.scoring.statistics.clusters import cluster_sums, numbered, reweighted
from unix_bench.scoring.statistics.measure import Matrix, Measure

FEW_POSITIVES = 20  # below so many positive studies the F1 of a finding is flagged `few-positives`
FEW_STUDIES = 500  # below so many studies a macro-F1 is flagged: the findings it averages have next to no positives
SAME = 1e-9  # a spread below this share of the range is rounding

Interval = tuple[float, float]


def intervals(
    measures: Sequence[Measure],
    clusters: Sequence[str] | None,
    seed: int,
    replicates: int = 2000,
    level: float = 0.95,
) -> list[Interval | None]:
    """Intervals of measures of the same studies, all from the same random weights of patients.

    An interval holds the quantiles of the measure under random weights (`clusters.reweighted`). Three additions, each
    for a case where these alone miss the truth (docs/statistics.md has the figures):

    * F1 gets half a patient's weight of right and of wrong pseudo-studies, Jeffreys' prior of a proportion.
    * A mean of classes joins the classes' own limits with their correlations (Zou and Donner, Stat. Med. 27:1693).
    * Where all patients agree, the limits say how large a share of other patients may have gone unseen.

    Args:
        measures: Of the same n studies.
        clusters: [n] each study's patient; None: unknown, each study stands for itself.
        seed: Same seed, same intervals, whatever the order of the measures.
        replicates: Sets of weights.
        level: Coverage aimed at, in (0, 1).

    Returns:
        (low, high) for each measure, within its range and around its value; None where fewer than two clusters count.

    Raises:
        ValueError: The measures differ in studies, `clusters` in length, or `level` or `replicates` is out of range.

    >>> from unix_bench.scoring.statistics import mean_of
    >>> low, high = intervals([mean_of([0.2, 0.4, 0.6, 0.8] * 25)], None, seed=0)[0]
    >>> low < 0.5 < high
    True
    """
    if not measures:
        return []
    check_request(measures, replicates, level)
    numbers = numbered(clusters, len(measures[0]))
    if too_few(numbers):
        return [None] * len(measures)
    leaves = [leaf for measure in measures for leaf in measure.averaged or (measure,)]
    sums = [cluster_sums(leaf.parts, numbers) for leaf in leaves]
    rng = np.random.default_rng(seed)
    drawn = reweighted(sums, replicates, rng)
    halves = rng.standard_gamma(0.5, (replicates, 2))
    tail = (1.0 - level) / 2.0
    found: list[Interval | None] = []
    first = 0
    for measure in measures:
        last = first + max(1, len(measure.averaged))
        own = list(zip(leaves[first:last], sums[first:last], drawn[first:last], strict=True))
        limits = [_limits(leaf, by_cluster, draws, halves, tail) for leaf, by_cluster, draws in own]
        found.append(_joined(measure, limits, [draws for _, _, draws in own]) if measure.averaged else limits[0])
        first = last
    return found


def too_few(numbers: NDArray[np.intp]) -> bool:
    """Whether there are fewer than two clusters, between which nothing can vary."""
    return not len(numbers) or int(numbers.max()) == 0


def check_request(measures: Sequence[Measure], replicates: int, level: float) -> None:
    """Refuse what cannot be resampled.

    Raises:
        ValueError: Measures of different studies, no replicates, or a level outside (0, 1).
    """
    if len({len(measure) for measure in measures}) > 1:
        raise ValueError(
            f"measures of {', '.join(str(len(m)) for m in measures)} studies: they must share their studies"
        )
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, not {replicates}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def pseudo_weight(by_cluster: Matrix) -> float:
    """How many studies a patient stands for, where a patient's studies tend to be right or wrong together.

    It is sum u^2 / sum u over patients with u counted studies each: 1 for single studies, m where each has m.

    Args:
        by_cluster: [C, k] sums whose total over k counts a patient's studies.
    """
    counted = by_cluster.sum(axis=1)
    total = counted.sum()
    return float(counted @ counted / total) if total > 0 else 1.0


def _limits(leaf: Measure, by_cluster: Matrix, draws: Matrix, halves: Matrix, tail: float) -> Interval | None:
    """Limits of a measure that is no mean of others; None where fewer than two clusters count and none is added."""
    informative = int(by_cluster.any(axis=1).sum())
    if leaf.pseudo is not None:
        draws = draws + pseudo_weight(by_cluster) * (halves @ leaf.pseudo)
    elif informative < 2:
        return None
    value = leaf.value()
    low, high = np.quantile(leaf.of(draws), [tail, 1.0 - tail])
    least, greatest = leaf.within
    if high - low <= SAME * (greatest - least):
        unseen = float(betaincinv(0.5, informative + 0.5, 1.0 - tail))
        low, high = value - unseen * (value - least), value + unseen * (greatest - value)
    # At 0 and 1 the pseudo-studies pull both limits to one side of the value.
    return max(least, min(float(low), value)), min(greatest, max(float(high), value))


def _joined(measure: Measure, limits: Sequence[Interval | None], draws: Sequence[Matrix]) -> Interval | None:
    """Limits of the mean of members from theirs, at the distances' quadratic mean under the draws' correlation."""
    if any(pair is None for pair in limits):
        return None
    values = np.array([member.value() for member in measure.averaged])
    bounds = np.array(limits)
    under = np.stack([member.of(each) for member, each in zip(measure.averaged, draws, strict=True)])
    correlation = _correlation(under)
    below, above = values - bounds[:, 0], bounds[:, 1] - values
    centre = values.mean()
    low = centre - np.sqrt(max(0.0, below @ correlation @ below)) / len(values)
    high = centre + np.sqrt(max(0.0, above @ correlation @ above)) / len(values)
    return max(measure.within[0], float(low)), min(measure.within[1], float(high))


def _correlation(rows: Matrix) -> Matrix:
    """[m, m] correlation of rows [m, B]; 0 with a row that does not vary."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)
    correlation: Matrix = unit @ unit.T
    np.fill_diagonal(correlation, 1.0)
    return correlation
