"""Meters of distributions: drawn images against real ones in the features of one encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unix_bench.features import Encoder
from unix_bench.protocols.base import Ranking, Row, Value
from unix_bench.protocols.generation.base import Drawings, FeatureReader, Features, Measured, OfSets
from unix_bench.protocols.generation.column import (
    COMPONENTS,
    HALVINGS,
    LEAST_COMMON,
    NEIGHBOURS,
    REPEATS,
    SEED,
    SHARES,
    Column,
    common_size,
    common_values,
    frechet_values,
    kernel_values,
    projected_values,
    share_values,
    training_axes,
    training_values,
)
from unix_bench.protocols.generation.encoders import Training, stamp
from unix_bench.protocols.metered import Absent
from unix_bench.scoring.image import FeatureTable, nearest_distances
from unix_bench.scoring.statistics import image_flags, memorisation_gap, near_share
from unix_bench.settings import PREFIX

NO_TRAINING = (
    f"no training set is configured: name a data set or folder in {PREFIX}TRAINING_DATA to compare with its images"
)
NEAR = 0.01  # of real test images lie nearer to a training image than what is called near
FLOORS = f"mean of {HALVINGS} patient-disjoint halvings, seed {SEED}"
MEMORISED = ("near_copies", "memorisation_gap", "nearest_training", "nearest_held_out")
TRAINING_ONCE = ("fd_train", "kd_train", *MEMORISED)  # of the overall row alone
ALL = (
    "fd",
    "fd_half",
    "fd_floor",
    "fd_inf",
    "kd",
    "kd_floor",
    *SHARES,
    *(f"{share}_common" for share in SHARES),
)
FD = {"covariance": "over n - 1"}
KD = {"kernel": "(x.y / d + 1)^3, unbiased, all rows"}
JACKKNIFE = "95 % by a jackknife of patients"
DEFINITIONS = {
    "fd": {**FD, "interval": f"{JACKKNIFE}, of its expectation at this n"},
    "fd_half": {**FD, "halves": FLOORS},
    "fd_floor": {**FD, "halves": f"real against real, {FLOORS}"},
    "fd_inf": {**FD, "interval": JACKKNIFE, "extrapolated": "linear in 1/n over 1, 2 and 4 blocks of patients"},
    "fd_pca": {**FD, "components": f"of training images, the lesser of {COMPONENTS} and n/4"},
    "fd_train": {**FD, "reference": "training images, as many as test images"},
    "kd": {**KD, "interval": JACKKNIFE},
    "kd_floor": {**KD, "halves": f"size of real against real, {FLOORS}"},
    "kd_train": {**KD, "reference": "all training images"},
    **{share: {"k": str(NEIGHBOURS)} for share in SHARES},
    **{
        f"{share}_common": {
            "k": str(NEIGHBOURS),
            "common": f"n of the least row of {LEAST_COMMON} images or more",
            "subsamples": f"mean of {REPEATS}, seed {SEED}",
        }
        for share in SHARES
    },
    "near_copies": {
        "near": f"nearer to a training image than {1.0 - NEAR:.0%} of real test images are",
        "interval": "95 % by a bootstrap of patients, the bound too",
    },
    "memorisation_gap": {"references": "sets of one size, no common patient", "interval": "95 % by halves of patients"},
    "nearest_training": {"references": "as many training images as held-out ones"},
    "nearest_held_out": {"references": "test images of other patients"},
}


class JudgeMeter(OfSets):
    """Everything that one encoder's features tell of drawn images."""

    absent = None
    once: Sequence[str]
    names: Sequence[str]

    def __init__(self, encoder: Encoder, training: Training | None, whole: bool = True) -> None:
        """Take the encoder; nothing is read yet.

        Args:
            encoder: Whose features.
            training: Real training images to compare with; None: none.
            whole: All metrics; False: FD and KD alone, of an encoder or geometry that gives a second opinion.
        """
        self.encoder, self._training, self._whole = encoder, training, whole
        own = [*training_names(encoder.column, True), *training_names(encoder.column, False)] if training else []
        self.names = [*judge_names(encoder.column, whole), *own]
        self.once = [f"fd_inf_{encoder.column}", *training_names(encoder.column, False)]
        self._common: int | None = None  # known once rows were measured

    @property
    def instruments(self) -> Mapping[str, str]:
        return {self.encoder.column: stamp(self.encoder)}

    def definition(self, metric: str) -> dict[str, str]:
        kind = metric.removesuffix(f"_{self.encoder.column}")
        return {
            "reference": "real image of the same study",
            "encoder": f"{self.encoder.name}@{self.encoder.digest[:8]}",
            "geometry": self.encoder.geometry,
            "dtype": self.encoder.dtype,
            **({"training": self._training.tag} if self._training and kind in (*TRAINING_ONCE, "fd_pca") else {}),
            **DEFINITIONS.get(kind, {}),
            **({"common_n": str(self._common)} if kind.endswith("_common") and self._common else {}),
        }

    def measure(self, drawn: Drawings, rows: Sequence[Row], reader: FeatureReader) -> Measured:
        column = Column(
            self.encoder.column,
            *_features(self.encoder, drawn, reader),
            np.array(drawn.patients, dtype=str),
            np.array(drawn.known, dtype=bool),
        )
        each = reader.each(f"measures of {column.name}", rows)
        if not self._whole:
            return Measured([_by_name([*frechet_values(column, row), *kernel_values(column, row)]) for row in each])
        training = reader.images(self._training.images, self.encoder) if self._training else None
        self._common = common_size(rows)
        axes = None if training is None else training_axes(training)
        found = []
        for row in each:
            shares = share_values(column, row)
            values = [
                *frechet_values(column, row, with_limit=row.pathology is None),
                *kernel_values(column, row),
                *shares,
                *common_values(column, row, self._common, shares),
            ]
            if training is not None:
                values += projected_values(column, row, axes)
                values += training_values(column, row, training) if row.pathology is None else []
            found.append(_by_name(values))
        columns: dict[str, Sequence[float]] = {}
        if self._training is not None and training is not None:
            gap, columns = _memorised(column, rows[0], training, self._training)
            found[0] |= gap
        own = -np.linalg.norm(column.generated.astype(np.float64) - column.real, axis=1)
        ranking = Ranking(f"likeness to the real image of the study ({column.name})", own.tolist())
        return Measured(found, columns, ranking)


class AbsentMeter(OfSets):
    """Stands for metrics that cannot be had, so that tables say why."""

    instruments: Mapping[str, str] = {}

    def __init__(self, names: Sequence[str], absent: Absent, title: str, once: Sequence[str] = ()) -> None:
        self.names, self.absent, self._title, self.once = names, absent, title, once

    def definition(self, metric: str) -> dict[str, str]:
        return {"encoder": self._title}

    def measure(self, drawn: Drawings, rows: Sequence[Row], reader: FeatureReader) -> Measured:
        return Measured([{name: Value(name, None, self.absent.reason) for name in self.names} for _ in rows])


def judge_names(column: str, whole: bool = True) -> list[str]:
    """The metrics of an encoder's column."""
    kinds = ALL if whole else ("fd", "fd_half", "fd_floor", "kd", "kd_floor")
    return [f"{kind}_{column}" for kind in kinds]


def training_names(column: str, by_row: bool) -> list[str]:
    """The metrics of a column that need training images: those of every row, or of the overall one alone."""
    return [f"{kind}_{column}" for kind in (["fd_pca"] if by_row else TRAINING_ONCE)]


def _features(encoder: Encoder, drawn: Drawings, reader: FeatureReader) -> tuple[FeatureTable, Features, Features]:
    both = reader.images([*drawn.real, *drawn.generated], encoder)
    real, generated = both[: len(drawn)], both[len(drawn) :]
    return FeatureTable(real, generated), real, generated


def _by_name(values: Sequence[Value]) -> dict[str, Value]:
    return {value.name: value for value in values}


def _memorised(
    column: Column, whole: Row, training: Features, source: Training
) -> tuple[dict[str, Value], dict[str, Sequence[float]]]:
    """Are drawn images nearer to training images than to as many held-out ones of other patients?"""
    patients = column.patients_of(whole)
    both = len(set(patients) & set(source.patients))
    try:
        if both:
            raise ValueError(f"{both} patients are in the test set and in the training set too")
        gap = memorisation_gap(column.generated, column.real, training, patients, source.patients, seed=SEED)
    except ValueError as error:
        return _by_name([column.named(name, None, str(error)) for name in MEMORISED]), {}
    near = near_share(gap.nearest_training, nearest_distances(column.real, training), patients, SEED, NEAR)
    flags = image_flags(patients, bool(column.known.all()) and source.known)
    values = [
        Value(f"near_copies_{column.name}", near.value, ci=near.ci, flags=flags),
        Value(f"memorisation_gap_{column.name}", gap.value, ci=gap.ci, flags=flags),
        column.named("nearest_training", gap.to_training),
        column.named("nearest_held_out", gap.to_held_out),
    ]
    return _by_name(values), {f"nearest_of_all_training_{column.name}": gap.nearest_training.tolist()}
