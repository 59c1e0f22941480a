"""Protocols made of meters: each meter measures one kind of thing and gives one or several metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from unix_bench.features import Encoder
from unix_bench.protocols.base import Columns, Pair, Row, covers, labelled_rows
from unix_bench.scoring.statistics import Measure, mean_of
from unix_bench.spec import Uncertain


@dataclass(frozen=True)
class Absent:
    """Why a meter cannot measure.

    Attributes:
        reason: What results say, with the remedy; it holds no path, so that results are the same everywhere.
        here: What is wrong on this machine; empty where the reason says it all.
    """

    reason: str
    here: str = ""


class AnyMeter(Protocol):
    """What every meter says of itself, whatever it measures."""

    @property
    def names(self) -> Sequence[str]:
        """The metrics it gives, in the order of the tables."""

    @property
    def once(self) -> Collection[str]:
        """Those of them that only the overall row has."""

    @property
    def absent(self) -> Absent | None:
        """Why it cannot measure here; None if it can."""

    @property
    def instruments(self) -> Mapping[str, str]:
        """What it measures with -> digest of that; empty where there is none, or it is absent."""

    def definition(self, metric: str) -> dict[str, str]:
        """What defines one of its metrics."""

    def measures(self, columns: Columns) -> dict[str, Measure]:
        """Its metrics of pairs from what each pair has of its own; those that only a whole set has are not in it.

        Args:
            columns: Of `samples.parquet`, for some pairs; where this meter could not measure, its own are not there.
        """


AMeter = TypeVar("AMeter", bound=AnyMeter)


class MeterScoring(Generic[AMeter]):
    """What a protocol can say of itself because its meters can."""

    training: str | None = None
    restricted = False
    judges: Sequence[Encoder] = ()

    def __init__(self, meters: Sequence[AMeter]) -> None:
        self._meters = meters

    @property
    def instruments(self) -> Mapping[str, str]:
        return {name: digest for meter in self._meters for name, digest in meter.instruments.items()}

    @property
    def absent(self) -> Mapping[str, str]:
        return {meter.names[0]: meter.absent.reason for meter in self._meters if meter.absent}

    def why_not(self, metric: str) -> str | None:
        absent = self._meter(metric).absent
        return None if absent is None else absent.here or absent.reason

    def definition(self, metric: str) -> dict[str, str]:
        return self._meter(metric).definition(metric)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        return {name: measure for meter in self._meters for name, measure in meter.measures(columns).items()}

    def rows(self, pairs: Sequence[Pair], per_pathology: bool, uncertain: Uncertain) -> list[Row]:
        return labelled_rows(pairs, per_pathology, uncertain)

    def _meter(self, metric: str) -> AMeter:
        """The meter of a metric, or the first whose metrics begin with this name.

        Raises:
            KeyError: There is none.
        """
        fitting = [meter for meter in self._meters if any(covers(metric, name) for name in meter.names)]
        exact = [meter for meter in fitting if metric in meter.names]
        if not fitting:
            raise KeyError(metric)
        return (exact or fitting)[0]


def numbers(column: Sequence[object]) -> NDArray[np.float64]:
    """[n] numbers of a column; NaN for None."""
    return np.asarray(column, dtype=np.float64)


def mean_of_column(column: Sequence[object], within: tuple[float, float] = (0.0, 1.0)) -> Measure:
    """The mean over the pairs that have a number, which lies within a range."""
    values = numbers(column)
    return mean_of(values, ~np.isnan(values), within)
