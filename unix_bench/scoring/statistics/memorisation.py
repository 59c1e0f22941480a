"""Whether drawn images lie nearer to the images a model was trained on than to as many that it never saw.

After the nearest-neighbour privacy scores of CheXGenBench (arXiv 2505.10496), which have nothing to compare with. A
nearest reference is nearer the more references there are, so both sets are taken at one size; to follow a prompt is
not to memorise, so images of the prompt's own patient are no references.

A copy is near to its original only, and of K parts of the training set one holds it: the gap of a share c of copies is
about c / K of the usual distance. Where the training set is many times larger than the held-out one, the gap shows a
model that is drawn to its training set as a whole, not one that repeats a few images; `nearest_training` shows those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image import nearest_distances
from unix_bench.scoring.image.distances import squared_distances
from unix_bench.scoring.image.features import Rows, as_rows
from unix_bench.scoring.statistics.bootstrap import Interval
from unix_bench.scoring.statistics.clusters import numbered
from unix_bench.scoring.statistics.frechet_intervals import GROUPS, patient_groups
from unix_bench.scoring.statistics.measure import Matrix
from unix_bench.scoring.statistics.patient_pairs import check_level, effective_patients, t_interval

Integers = NDArray[np.intp]
Flags = NDArray[np.bool_]

SPLITS = 100  # into halves: the error is known to 7 %


@dataclass(frozen=True, eq=False)
class MemorisationGap:
    """How much nearer drawn images are to training images than to held-out ones of other patients.

    It is 0 on average for a model that does not depend on its training images, where training and held-out patients
    come from one population; where they do not, the gap holds their difference too.

    Attributes:
        value: `to_held_out` - `to_training`; positive: nearer to training images.
        ci: Its interval; None where fewer than four patients on a side.
        to_held_out: Mean distance of a drawn image to the nearest held-out one.
        to_training: The same of as many training images.
        nearest_training: [n] distance to the nearest of all training images; 0 is a copy.
    """

    value: float
    ci: Interval | None
    to_held_out: float
    to_training: float
    nearest_training: Matrix


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Nearest reference of each group of patients, the nearest group first.

    Attributes:
        distances: [n, G] ascending; Inf for a group that has no reference for the image.
        counts: [n, G] references that the image has there.
        groups: [n, G] which group it is.
    """

    distances: Matrix
    counts: Integers
    groups: Integers

    def available(self, rows: Flags, among: Flags) -> Integers:
        """References that each of the flagged rows [n] has in the flagged groups [G]."""
        found: Integers = np.where(among[self.groups[rows]], self.counts[rows], 0).sum(axis=1)
        return found

    def nearest_among(self, references: int, rows: Flags, among: Flags) -> Matrix:
        """Distance to the nearest of so many references, averaged over all ways to draw them group by group.

        The k-th nearest group decides where it is drawn and all nearer ones are not; of the references that are not
        nearer, each time the same number is drawn.

        Args:
            references: How many are drawn.
            rows: [n] flags of images.
            among: [G] flags of groups to draw from.
        """
        counts = np.where(among[self.groups[rows]], self.counts[rows], 0)
        present = counts > 0
        remaining = np.maximum(counts[:, ::-1].cumsum(axis=1)[:, ::-1], 1)
        missed = np.where(present, np.maximum(0.0, 1.0 - references / remaining), 1.0).cumprod(axis=1)
        weights = -np.diff(missed, axis=1, prepend=1.0)
        distances = np.where(present, self.distances[rows], 0.0)
        found: Matrix = (weights * distances).sum(axis=1) / weights.sum(axis=1)
        return found


def memorisation_gap(
    generated: Any,
    held_out: Any,
    training: Any,
    patients: Sequence[str],
    training_patients: Sequence[str],
    seed: int,
    groups: int = GROUPS,
    level: float = 0.95,
) -> MemorisationGap:
    """Distance of drawn images to held-out images less that to training images, with its interval.

    Both sides' patients are put into groups, and each image's nearest distance to every group is kept. From these
    follows its mean nearest distance to unions of groups with a given number of images: as many of the training images
    as of the held-out ones that are left without the patient who has most. All images of both sets are used.

    The error comes from splits of both sides' groups into halves at random: the difference of the gaps of two halves
    has four times the variance of the whole's (McCarthy, Rev. Int. Stat. Inst. 37:239, 1969), held-out images taking
    their drawn ones with them. A jackknife would not do: who loses his nearest reference goes to the second nearest,
    and the mean square of that step is about twice the variance of the least of many distances. The quantile is
    Student's with the least number of groups or effective patients, less one.

    Args:
        generated: [n, d] features, numpy or torch; row i drawn for the prompt of held-out image i.
        held_out: [n, d] images that the model was not trained on.
        training: [m, d] images that it was trained on.
        patients: [n] each held-out image's patient.
        training_patients: [m] each training image's patient.
        seed: Of the groups.
        groups: Of patients on a side, at least; fewer where there are fewer patients.
        level: Coverage aimed at, in (0, 1).

    Raises:
        ValueError: Features that are no matrices, hold NaN or Inf, or do not fit each other or their patients; a
            patient on both sides; fewer than two held-out patients; `groups` below 4, or `level` out of range.

    >>> rng = np.random.default_rng(0)
    >>> training, names = rng.normal(size=(300, 4)), [f"t{i}" for i in range(300)]
    >>> drawn, held_out, others = training[:100] + 0.01, rng.normal(size=(100, 4)), [f"h{i}" for i in range(100)]
    >>> memorisation_gap(drawn, held_out, training, others, names, seed=0).ci[0] > 0.0
    True
    """
    check_level(level)
    x, y, z = _checked(generated, held_out, training, patients, training_patients, groups)
    of_patient = numbered(patients, len(y))
    # No group holds more references than half of those that are sought, where patients allow it.
    group = patient_groups(patients, len(y), max(groups, -(-2 * len(y) // len(z))), seed)
    to_held_out = _to_others(x, y, of_patient, group)
    own, every = np.ones(len(x), dtype=bool), np.ones(int(group.max()) + 1, dtype=bool)
    references = min(int(to_held_out.available(own, every).min()), len(z))
    # A whole number of groups to the references of a half, so that unions of groups come close to it.
    a_half = max(1.0, references / 2.0)
    finer = int(np.ceil(np.ceil(groups * a_half / len(z)) * len(z) / a_half))
    of_training = patient_groups(training_patients, len(z), finer, seed)
    to_training = _to_groups(x, z, of_training)
    every_training = np.ones(int(of_training.max()) + 1, dtype=bool)
    far = to_held_out.nearest_among(references, own, every)
    near = to_training.nearest_among(references, own, every_training)
    value, ci = float((far - near).mean()), None
    least = min(len(every), len(every_training))
    if least >= 4:
        error = _error(to_held_out, to_training, group, np.random.default_rng(seed))
        effective = min(effective_patients(patients), effective_patients(training_patients))
        ci = t_interval(value, error, min(float(least), effective) - 1.0, level)
    return MemorisationGap(
        value=value,
        ci=ci,
        to_held_out=float(far.mean()),
        to_training=float(near.mean()),
        nearest_training=to_training.distances[:, 0].copy(),
    )


def _checked(
    generated: Any,
    held_out: Any,
    training: Any,
    patients: Sequence[str],
    training_patients: Sequence[str],
    groups: int,
) -> tuple[Rows, Rows, Rows]:
    x, y, z = as_rows(generated, "generated"), as_rows(held_out, "held-out"), as_rows(training, "training")
    if x.shape != y.shape:
        raise ValueError(f"generated features {list(x.shape)} and held-out ones {list(y.shape)} must be pairs")
    if z.shape[1] != x.shape[1]:
        raise ValueError(f"training features have {z.shape[1]} columns, generated ones {x.shape[1]}")
    if len(patients) != len(y) or len(training_patients) != len(z):
        raise ValueError(
            f"{len(patients)} patients for {len(y)} held-out images and {len(training_patients)} for {len(z)} training "
            "images"
        )
    both = set(patients) & set(training_patients)
    if both:
        raise ValueError(f"{len(both)} patients are both held out and trained on")
    if len(set(patients)) < 2:
        raise ValueError("a nearest held-out image of another patient needs two held-out patients, and there is 1")
    if groups < 4:
        raise ValueError(f"groups must be at least 4, not {groups}")
    return x, y, z


def _error(to_held_out: _Neighbours, to_training: _Neighbours, group: Integers, rng: np.random.Generator) -> float:
    """Standard error of the gap from halves of the groups; `group` [n] is each image's held-out group."""
    squares = []
    for _ in range(SPLITS):
        sides = [_half(each.groups.shape[1], rng) for each in (to_held_out, to_training)]
        halves = [(half[group], half, training) for half, training in (sides, [~each for each in sides])]
        references = min(
            int(each.min())
            for rows, half, training in halves
            for each in (to_held_out.available(rows, half), to_training.available(rows, training))
        )
        one, other = (
            to_held_out.nearest_among(references, rows, half).mean()
            - to_training.nearest_among(references, rows, training).mean()
            for rows, half, training in halves
        )
        share = float(sides[0].mean())
        squares.append(share * (1.0 - share) * (one - other) ** 2)
    return float(np.sqrt(np.mean(squares)))


def _half(groups: int, rng: np.random.Generator) -> Flags:
    """[G] flags of half of the groups."""
    return rng.permutation(groups) < groups // 2


def _to_groups(x: Rows, references: Rows, group: Integers) -> _Neighbours:
    """Nearest references of x [n, d] in each group of references [m, d]."""
    members = [np.flatnonzero(group == each) for each in range(int(group.max()) + 1)]
    distances = np.stack([nearest_distances(x, references[rows]) for rows in members], axis=1)
    counts = np.broadcast_to([len(rows) for rows in members], distances.shape)
    return _sorted(distances, counts)


def _to_others(x: Rows, references: Rows, patients: Integers, group: Integers) -> _Neighbours:
    """As `_to_groups`, row i of x having no references among those of patients[i]."""
    distances = np.full((len(x), int(group.max()) + 1), np.inf)
    sizes = np.bincount(patients)
    counts = np.tile(np.bincount(group), (len(x), 1))
    counts[np.arange(len(x)), group] -= sizes[patients]
    for each in range(distances.shape[1]):
        inside = np.flatnonzero(group == each)
        outside = np.flatnonzero(group != each)
        if len(outside):
            distances[outside, each] = nearest_distances(x[outside], references[inside])
        for row in inside:
            others = inside[patients[inside] != patients[row]]
            squares = squared_distances(x, references, np.full(len(others), row), others)
            distances[row, each] = np.sqrt(squares.min(initial=np.inf))
    return _sorted(distances, counts)


def _sorted(distances: Matrix, counts: Integers) -> _Neighbours:
    order = np.argsort(distances, axis=1, kind="stable")
    return _Neighbours(np.take_along_axis(distances, order, axis=1), np.take_along_axis(counts, order, axis=1), order)


@dataclass(frozen=True)
class NearShare:
    """The share of drawn images that lie unusually near to a training image.

    Attributes:
        value: In [0, 1].
        ci: Its interval; None where fewer than two patients.
    """

    value: float
    ci: Interval | None


def near_share(
    drawn: Matrix,
    held_out: Matrix,
    patients: Sequence[str],
    seed: int,
    usual: float = 0.01,
    replicates: int = 2000,
    level: float = 0.95,
) -> NearShare:
    """Share of drawn images that are nearer to a training image than all but few of the held-out real ones are.

    The bound is a quantile of the held-out images' own distances, so that a model which draws from the same
    distribution without knowing the training images has `usual` of them below it on average. Patients get random
    weights, as in `intervals`, and the bound moves with them.

    Args:
        drawn: [n] distance of each drawn image to its nearest training image.
        held_out: [n] the same of the real test images.
        patients: [n] whose study it is.
        seed: Of the weights.
        usual: Share of held-out images below the bound.
        replicates: Sets of weights.
        level: Of the interval.

    >>> drawn, real = np.linspace(0.0, 1.0, 200), np.linspace(0.5, 1.5, 200)
    >>> 0.49 < near_share(drawn, real, [str(i) for i in range(200)], seed=0, replicates=100).value < 0.53
    True
    """
    check_level(level)
    numbers = numbered(patients, len(drawn))
    places, order = np.argsort(held_out, kind="stable"), np.argsort(drawn, kind="stable")
    held, near = held_out[places], drawn[order]
    rng = np.random.default_rng(seed)
    weights = np.concatenate(
        [np.ones((1, len(drawn))), rng.standard_exponential((replicates, int(numbers.max()) + 1))[:, numbers]]
    )
    shares = np.array([_share_below(held, each[places], near, each[order], usual) for each in weights])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(shares[1:], [tail, 1.0 - tail])
    value = float(shares[0])
    few = len(set(numbers.tolist())) < 2
    return NearShare(value, None if few else (min(float(low), value), max(float(high), value)))


def _share_below(held: Matrix, of_held: Matrix, near: Matrix, of_near: Matrix, usual: float) -> float:
    """Weight of the values `near` below the `usual` quantile of `held`, both ascending with their weights."""
    bound = held[min(int(np.searchsorted(of_held.cumsum(), usual * of_held.sum())), len(held) - 1)]
    return float(of_near[: np.searchsorted(near, bound)].sum() / of_near.sum())
