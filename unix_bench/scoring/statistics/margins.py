"""A difference held against a margin: is a candidate surely no worse than that, or surely worse than that?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unix_bench.scoring.image import KernelSums
from unix_bench.scoring.statistics.clusters import numbered
from unix_bench.scoring.statistics.kernel_intervals import SAME, paired_kernel_difference
from unix_bench.scoring.statistics.measure import Matrix, Measure
from unix_bench.scoring.statistics.paired import Difference, paired_bootstrap

FEW = 5  # patients that differ, below which those that do not count as a sample of what was not seen


@dataclass(frozen=True)
class Margin:
    """How much worse is still good enough.

    Attributes:
        size: In the metric's unit, or as a share of the baseline's value; not negative.
        relative: A share. Of a baseline that is not above 0 any share is 0.
    """

    size: float
    relative: bool = False


@dataclass(frozen=True)
class MarginTest:
    """Two one-sided tests of one difference.

    Attributes:
        gain: Candidate less baseline, turned so that more is better.
        allowed: How much may be lost, in the metric's unit.
        p_worse: Of "worse by the margin or more": small where the candidate is surely good enough (non-inferior).
        p_within: Of "worse by the margin or less": small where the drop is surely larger. Both None where there are too
            few patients to tell.
    """

    gain: float
    allowed: float
    p_worse: float | None
    p_within: float | None


def measure_margin(
    candidate: Measure,
    baseline: Measure,
    clusters: Sequence[str] | None,
    higher: bool,
    margin: Margin,
    seed: int,
    replicates: int = 10_000,
    itself: bool = False,
) -> MarginTest:
    """Hold a metric against a margin, by the paired bootstrap of candidate and moved baseline.

    A relative margin is moved with the baseline in every replicate, so that its own uncertainty counts. A system
    against itself has a standard error of 0, and is surely within any margin. Of two systems that differ in fewer than
    `FEW` patients the bootstrap knows nothing: there p_worse is at least the chance to see no patient of those that
    would cost what is left of the margin, each by the metric's whole range (the rule of three where none differs).

    Args:
        candidate: Measure of the candidate.
        baseline: The same of the baseline, over the same studies in the same order.
        clusters: [n] each study's patient; None: each stands for itself.
        higher: Is more better?
        margin: What may be lost.
        seed: Of the weights.
        replicates: Sets of weights.
        itself: Are both the same system?

    Raises:
        ValueError: The measures differ in shape, or `clusters` in length.

    >>> from unix_bench.scoring.statistics import mean_of
    >>> same = mean_of([0.1, 0.5, 0.3])
    >>> measure_margin(same, same, None, True, Margin(0.01), seed=0, itself=True).p_worse
    0.0
    >>> round(measure_margin(same, same, None, True, Margin(0.01), seed=0).p_worse, 4)
    0.9703
    """
    value, turn = baseline.value(), 1.0 if higher else -1.0
    gain = turn * (candidate.value() - value)
    times, plus, allowed = _moves(value, margin, -turn)
    unseen = _unseen(candidate, baseline, clusters, allowed + min(gain, 0.0))
    if np.array_equal(candidate.parts, baseline.parts):
        return MarginTest(0.0, allowed, 0.0 if itself else unseen, 1.0)
    found = _one_sided(
        gain, allowed, turn, paired_bootstrap(candidate, _moved(baseline, times, plus), clusters, seed, replicates)
    )
    return found if found.p_worse is None else replace(found, p_worse=max(found.p_worse, unseen))


def kernel_margin(
    candidate: KernelSums,
    baseline: KernelSums,
    margin: Margin,
    seed: int,
    replicates: int = 10_000,
    itself: bool = False,
) -> MarginTest:
    """Hold a kernel distance, of which less is better, against a margin; see `paired_kernel_difference`.

    A kernel distance has no range, so of two systems that differ in fewer than `FEW` patients p_worse is 1.

    Args:
        candidate: Kernel values of the candidate by patient.
        baseline: Those of the baseline, against the same real images.
        margin: What may be lost.
        seed: Of the draws.
        replicates: Draws.
        itself: Are both the same system?

    Raises:
        ValueError: Other patients, numbers of images or real images for one than for the other.
    """
    value = baseline.estimate.value
    times, plus, allowed = _moves(value, margin, 1.0)
    plain = paired_kernel_difference(candidate, baseline, seed, replicates=1)
    if plain.ci == (0.0, 0.0):
        return MarginTest(0.0, allowed, 0.0 if itself else 1.0, 1.0)
    pairs = np.outer(baseline.counts, baseline.counts) - np.diag(baseline.counts)
    moved = replace(  # KD, less what real images have among themselves once, is `times` KD + `plus`
        baseline,
        yy=times * baseline.yy + (times - 1.0) * baseline.xx + plus * pairs,
        xy=times * baseline.xy,
    )
    found = _one_sided(-plain.value, allowed, -1.0, paired_kernel_difference(candidate, moved, seed, replicates))
    differs = np.abs(candidate.xy - baseline.xy) > SAME * float(np.abs(baseline.xy).max())
    few = int(differs.any(axis=0).sum()) < FEW  # [real patient, generated patient]
    return replace(found, p_worse=1.0) if few and found.p_worse is not None else found


def _unseen(candidate: Measure, baseline: Measure, clusters: Sequence[str] | None, left: float) -> float:
    """Chance that no patient shows what would cost `left`; 0 where enough patients differ to tell by them."""
    patients = numbered(clusters, len(baseline))
    differ = (candidate.parts != baseline.parts).any(axis=1)
    if len(np.unique(patients[differ])) >= FEW:
        return 0.0
    rated = candidate.parts.any(axis=1) | baseline.parts.any(axis=1)  # a study without the metric can show nothing
    low, high = (end(candidate.within[side], baseline.within[side]) for side, end in enumerate((min, max)))
    share = left / (high - low) if high > low else 0.0
    return (1.0 - min(1.0, max(0.0, share))) ** len(np.unique(patients[rated]))


def _moves(value: float, margin: Margin, towards: float) -> tuple[float, float, float]:
    """Factor and summand that move a value to the margin's edge, and the length of that way."""
    if not margin.relative:
        return 1.0, towards * margin.size, margin.size
    share = margin.size if value > 0.0 else 0.0
    return 1.0 + towards * share, 0.0, share * max(value, 0.0)


def _moved(measure: Measure, times: float, plus: float) -> Measure:
    """The measure whose value is `times` as large, plus `plus`."""

    def of(sums: Matrix) -> Matrix:
        return times * measure.of(sums) + plus

    averaged = tuple(_moved(each, times, plus) for each in measure.averaged)
    return replace(measure, of=of, averaged=averaged)


def _one_sided(gain: float, allowed: float, turn: float, found: Difference) -> MarginTest:
    """Both one-sided p-values from the two-sided one of candidate less moved baseline."""
    if found.p is None or not math.isfinite(found.value):
        return MarginTest(gain, allowed, None, None)
    small, large = found.p / 2.0, 1.0 - found.p / 2.0
    inside = turn * found.value > 0.0
    return MarginTest(gain, allowed, small if inside else large, large if inside else small)
