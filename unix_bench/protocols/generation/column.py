"""One encoder's features of both sides, asked about one row of the table after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unix_bench.protocols.base import Row, Value
from unix_bench.protocols.generation.base import Features, too_few
from unix_bench.scoring.image import FeatureTable, Projection, floors, frechet_distance, kernel_distance, pca
from unix_bench.scoring.statistics import FrechetJackknife, image_flags, kernel_interval

SEED = 0
NEIGHBOURS = 5
SHARES = ("precision", "recall", "density", "coverage")
HALVINGS = 4
REPEATS = 20  # subsamples at the common n
LEAST_COMMON = 2 * NEIGHBOURS  # rows of fewer images do not set the common n, nor get values at it
COMPONENTS = 32  # principal components at most, and a quarter of the row's images
BIAS = "bias-dominated"


@dataclass(frozen=True, eq=False)
class Column:
    """Features and what is known of each pair.

    Attributes:
        name: Of the column, as metric names end.
        table: Both sides' features.
        real, generated: [n, d].
        patients: [n].
        known: [n] whether the patient is known.
    """

    name: str
    table: FeatureTable
    real: Features
    generated: Features
    patients: NDArray[np.str_]
    known: NDArray[np.bool_]

    @property
    def dim(self) -> int:
        return int(self.real.shape[1])

    def patients_of(self, row: Row) -> list[str]:
        """Patients of a row's pairs."""
        named: list[str] = self.patients[row.members].tolist()
        return named

    def flags(self, row: Row) -> list[str]:
        """Why the row's intervals are not to be trusted, if they are not."""
        return image_flags(self.patients_of(row), bool(self.known[row.members].all()))

    def named(self, metric: str, value: float | None, reason: str | None = None) -> Value:
        return Value(f"{metric}_{self.name}", value, reason)


def frechet_values(column: Column, row: Row, with_limit: bool = False) -> list[Value]:
    """FD with an interval for its expectation at this n, beside what sampling alone amounts to.

    The floor compares halves of the real images, so what it is held against is the FD of as many images. FD is flagged
    where there are fewer than 2 d images, the floor is more than half of that, or there is none.

    Args:
        column: Whose features.
        row: Whose images.
        with_limit: FD of endlessly many images too.
    """
    names = ("fd", "fd_half", "fd_floor", "kd_floor", *(["fd_inf"] if with_limit else []))
    reason = too_few(row, 2)
    if reason:
        return [column.named(name, None, reason) for name in names]
    x, y = column.real[row.members], column.generated[row.members]
    found = FrechetJackknife(x, y, column.patients_of(row))
    try:
        floor = floors(x, y, column.patients_of(row), SEED, HALVINGS)
        half, least, kernel, reason = floor.fd_at_half, floor.fd, floor.kd, None
    except ValueError:  # fewer than two patients, or a half of one image
        half, least, kernel = None, None, None
        reason = "needs two halves of two images each that share no patient"
    biased = len(x) < 2 * column.dim or half is None or least is None or least > half / 2.0
    flags = column.flags(row)
    value = Value(f"fd_{column.name}", found.value, flags=[*([BIAS] if biased else []), *flags], ci=found.interval())
    values = [
        value,
        column.named("fd_half", half, reason),
        column.named("fd_floor", least, reason),
        column.named("kd_floor", kernel, reason),
    ]
    if with_limit:
        limit = found.limit()
        needed = f"needs two blocks of whole patients with {1.1 * column.dim:.0f} images each"
        values.append(
            column.named("fd_inf", None, needed)
            if limit is None
            else Value(f"fd_inf_{column.name}", limit.value, flags=flags, ci=limit.ci)
        )
    return values


def kernel_values(column: Column, row: Row) -> list[Value]:
    """KD with an interval over patients."""
    reason = too_few(row, 2)
    if reason:
        return [column.named("kd", None, reason)]
    sums = column.table.kernel_sums(column.patients.tolist(), row.members)
    return [Value(f"kd_{column.name}", sums.estimate.value, flags=column.flags(row), ci=kernel_interval(sums))]


def share_values(column: Column, row: Row) -> list[Value]:
    """Precision, recall, density and coverage of all images of a row, which depend on how many those are."""
    reason = too_few(row, NEIGHBOURS + 1)
    shares = None if reason else column.table.prdc(row.members, row.members, NEIGHBOURS)
    return [column.named(name, getattr(shares, name, None), reason) for name in SHARES]


def common_size(rows: Sequence[Row]) -> int | None:
    """The number of images that every row is cut to for shares that can be compared: the least of those that count."""
    return min((len(row.members) for row in rows if len(row.members) >= LEAST_COMMON), default=None)


def common_values(column: Column, row: Row, size: int | None, whole: Sequence[Value]) -> list[Value]:
    """The four shares at one number of images, the mean of repeated subsamples with their standard deviation.

    Args:
        column: Whose features.
        row: Whose images.
        size: The common number of images; None: no row has enough.
        whole: The shares of all the row's images.
    """
    reason = too_few(row, size or LEAST_COMMON)
    if reason or size is None:
        return [column.named(f"{name}_common", None, reason) for name in SHARES]
    if size == len(row.members):  # there is one subsample: all of it
        return [replace(value, name=_common(value.name, column)) for value in whole]
    spread = column.table.prdc_at(size, REPEATS, SEED, row.members, row.members)
    both = zip(SHARES, astuple(spread.mean), astuple(spread.deviation), strict=True)
    return [Value(f"{name}_common_{column.name}", mean, sd=sd) for name, mean, sd in both]


def _common(name: str, column: Column) -> str:
    return f"{name.removesuffix(column.name)}common_{column.name}"


def projected_values(column: Column, row: Row, axes: Projection | None) -> list[Value]:
    """FD in the space of the first principal components of real training images."""
    components = 0 if axes is None else min(axes.axes.shape[1], len(row.members) // 4)
    reason = too_few(row, 4) or (None if components > 0 else "the training images are too few, or all alike")
    if reason or axes is None:
        return [column.named("fd_pca", None, reason)]
    x, y = (axes(side[row.members])[:, :components] for side in (column.real, column.generated))
    return [column.named("fd_pca", frechet_distance(x, y))]


def training_axes(training: Features) -> Projection | None:
    """Principal components of training images; None where there are too few for one."""
    components = min(COMPONENTS, len(training) - 1, training.shape[1])
    return pca(training, components) if components > 0 else None


def training_values(column: Column, row: Row, training: Features) -> list[Value]:
    """Real training images against the real test images: the shift between the splits, and no floor.

    FD takes as many images of the larger set as the smaller has, chosen at random; KD, which is unbiased, all.
    """
    reason = too_few(row, 2)
    if reason:
        return [column.named(name, None, reason) for name in ("fd_train", "kd_train")]
    test = column.real[row.members]
    size = min(len(test), len(training))
    rng = np.random.default_rng(SEED)
    sides = [side[rng.choice(len(side), size, replace=False)] for side in (test, training)]
    flags = [BIAS] if size < 2 * column.dim else []
    return [
        Value(f"fd_train_{column.name}", frechet_distance(*sides), flags=flags),
        column.named("kd_train", kernel_distance(test, training)),
    ]
