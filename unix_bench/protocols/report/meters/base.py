"""What measures pairs of reports: a meter gives one or several metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unix_bench.protocols.base import NewLine
from unix_bench.protocols.metered import AnyMeter
from unix_bench.scoring.statistics import Measure


@dataclass(frozen=True)
class Texts:
    """Reports held against each other, pair by pair."""

    ids: list[str]
    predictions: list[str]
    references: list[str]


@dataclass(frozen=True)
class Reading:
    """One metric of all pairs.

    Attributes:
        estimate: The number to print for some pairs, by index, where that is not the measure's value.
        positives: Of an F1: which references show the finding, [n].
        reliable_from: Pairs below which the value is flagged `few-positives`.
    """

    measure: Measure
    estimate: Callable[[Sequence[int]], float] | None = None
    positives: NDArray[np.bool_] | None = None
    reliable_from: int = 0


@dataclass(frozen=True)
class Measured:
    """What a meter found.

    Attributes:
        readings: Metric -> reading; a metric of the meter that is not in it was not computed.
        columns: Column of `samples.parquet` -> an entry a pair.
        reason: Why the others were not computed.
        better: Which way is better, where no card says so.
    """

    readings: Mapping[str, Reading] = field(default_factory=dict)
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)
    reason: str | None = None
    better: str | None = None


class Meter(AnyMeter, Protocol):
    """Measures pairs of reports."""

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        """Measure all pairs.

        Raises:
            UserError: Weights that are there cannot be used.
        """
