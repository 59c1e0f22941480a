"""A metric as a function of sums over studies, which is all that resampling needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
FromSums = Callable[[Matrix], Matrix]


@dataclass(frozen=True, eq=False)
class Measure:
    """What each study adds, and how a value follows from the sums.

    Attributes:
        parts: [n, k] what each of n studies adds.
        of: [..., k] sums to [...] values.
        within: Least and greatest possible value.
        pseudo: [2, k] parts of one study that is right and of one that is wrong, for ratios that may rest on a handful
            of studies; intervals give each the weight of half a patient. None where every study counts anyway.
        averaged: Where the value is the plain mean of other measures of the same studies: these; `of` agrees.
        published: [n, k] parts to the number that tables show, where a published estimate is not `of` their sums.

    Raises:
        ValueError: `parts` is not [n, k] with k > 0, or holds NaN or Inf.
    """

    parts: Matrix
    of: FromSums
    within: tuple[float, float] = (0.0, 1.0)
    pseudo: Matrix | None = None
    averaged: tuple[Measure, ...] = ()
    published: Callable[[Matrix], float] | None = None

    def __post_init__(self) -> None:
        if self.parts.ndim != 2 or not self.parts.shape[1]:
            raise ValueError(f"parts must be [studies, parts], not {list(self.parts.shape)}")
        if not np.isfinite(self.parts).all():
            raise ValueError("parts hold NaN or Inf")

    def __len__(self) -> int:
        return len(self.parts)

    def value(self) -> float:
        """The metric over all studies; NaN where none counts.

        >>> mean_of([0.0, 0.5, 1.0]).value()
        0.5
        """
        return float(self.of(self.parts.sum(axis=0)))

    def shown(self) -> float:
        """What tables show: the published estimate where there is one, else the value; NaN where no study counts."""
        return self.published(self.parts) if self.published and len(self) else self.value()

    def of_members(self, members: Sequence[int] | NDArray[Any]) -> Measure:
        """The same metric over some of the studies: their indices, or a mask [n]."""
        chosen = np.asarray(members, dtype=None if len(members) else np.intp)
        averaged = tuple(each.of_members(chosen) for each in self.averaged)
        return Measure(self.parts[chosen], self.of, self.within, self.pseudo, averaged, self.published)


def mean_of(scores: ArrayLike, counted: ArrayLike | None = None, within: tuple[float, float] = (0.0, 1.0)) -> Measure:
    """The mean of one score a study.

    Args:
        scores: [n]; what stands where `counted` is false is not looked at.
        counted: [n] bool, the studies that have a score; None: all.
        within: Least and greatest possible score.

    Raises:
        ValueError: The lengths differ, or a counted score is NaN or Inf.
    """
    values = np.asarray(scores, dtype=np.float64)
    mask = np.ones(values.shape, dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    if values.ndim != 1 or mask.shape != values.shape:
        raise ValueError(f"scores and counted must be [n] each, not {list(values.shape)} and {list(mask.shape)}")
    return Measure(np.stack([np.where(mask, values, 0.0), mask], axis=1), _ratio, within)


def f1_parts(reference: ArrayLike, predicted: ArrayLike) -> Matrix:
    """True positive, false positive and false negative of each study and class.

    Args:
        reference: [n, c] bool, the findings that are there.
        predicted: [n, c] bool, the findings a system names.

    Returns:
        [n, 3c]: TP, FP, FN of the first class, then of the second, and so on.

    Raises:
        ValueError: The shapes differ or are not [n, c].

    >>> f1_parts([[True, False]], [[True, True]]).tolist()
    [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    """
    true, named = np.asarray(reference, dtype=bool), np.asarray(predicted, dtype=bool)
    if true.ndim != 2 or true.shape != named.shape:
        raise ValueError(f"labels must be [n, classes] on both sides, not {list(true.shape)} and {list(named.shape)}")
    kinds = np.stack([true & named, ~true & named, true & ~named], axis=-1)
    return kinds.reshape(len(true), 3 * true.shape[1]).astype(np.float64)


def class_f1(parts: Matrix, index: int) -> Measure:
    """F1 of one class, 2 TP / (2 TP + FP + FN), 0 where the denominator is 0 (scikit-learn's `zero_division=0`).

    Args:
        parts: [n, 3c] as from `f1_parts`.
        index: The class, 0 to c - 1.

    Raises:
        ValueError: The columns do not come in threes.
        IndexError: There is no such class.
    """
    classes = _classes(parts)
    if not 0 <= index < classes:
        raise IndexError(f"there is no class {index}: the classes are 0 to {classes - 1}")
    return Measure(parts[:, 3 * index : 3 * index + 3], _pooled_f1, pseudo=_right_and_wrong(1))


def micro_f1(parts: Matrix) -> Measure:
    """F1 of all classes pooled.

    Args:
        parts: [n, 3c] as from `f1_parts`.

    Raises:
        ValueError: The columns do not come in threes.
    """
    return Measure(parts, _pooled_f1, pseudo=_right_and_wrong(_classes(parts)))


def macro_f1(parts: Matrix) -> Measure:
    """Mean of the classes' F1; a class that is absent from both sides counts 0.

    Args:
        parts: [n, 3c] as from `f1_parts`.

    Raises:
        ValueError: The columns do not come in threes.
    """
    averaged = tuple(class_f1(parts, index) for index in range(_classes(parts)))
    return Measure(parts, _mean_f1, averaged=averaged)


def _classes(parts: Matrix) -> int:
    columns = parts.shape[1] if parts.ndim == 2 else 0
    if columns < 3 or columns % 3:
        raise ValueError(f"parts of F1 must be [n, 3 * classes] (TP, FP, FN a class), not {list(parts.shape)}")
    return int(columns // 3)


def _right_and_wrong(classes: int) -> Matrix:
    pseudo = np.zeros((2, 3 * classes))
    pseudo[0, 0] = pseudo[1, 1] = 1.0  # a TP and an FP; FP and FN weigh the same in F1
    return pseudo


def _ratio(sums: Matrix) -> Matrix:
    total, count = sums[..., 0], sums[..., 1]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _f1(counts: Matrix) -> Matrix:
    """[..., 3] counts to [...]."""
    hits = 2.0 * counts[..., 0]
    both = hits + counts[..., 1] + counts[..., 2]
    return np.divide(hits, both, out=np.zeros_like(both), where=both > 0)


def _pooled_f1(sums: Matrix) -> Matrix:
    return _f1(_by_class(sums).sum(axis=-2))


def _mean_f1(sums: Matrix) -> Matrix:
    mean: Matrix = _f1(_by_class(sums)).mean(axis=-1)
    return mean


def _by_class(sums: Matrix) -> Matrix:
    """[..., 3c] to [..., c, 3]."""
    return sums.reshape(*sums.shape[:-1], -1, 3)
