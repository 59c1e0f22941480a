"""What measures pairs of reports: a meter gives one or several metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unix_bench.protocols.base import Columns, NewLine
from unix_bench.protocols.metered import AnyMeter
from unix_bench.scoring.statistics import Measure


@dataclass(frozen=True)
class Texts:
    """Reports held against each other, pair by pair."""

    ids: list[str]
    predictions: list[str]
    references: list[str]


@dataclass(frozen=True)
class Measured:
    """What a meter found.

    Attributes:
        measures: Metric -> measure of all pairs; a metric of the meter that is not in it was not computed.
        columns: Column of `samples.parquet` -> an entry a pair.
        positives: F1 of a finding -> which references show it, [n].
        reliable_from: Metric -> pairs below which its value is flagged `few-positives`.
        reason: Why the others were not computed.
        better: Which way is better, where no card says so.
    """

    measures: Mapping[str, Measure] = field(default_factory=dict)
    columns: Columns = field(default_factory=dict)
    positives: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    reliable_from: Mapping[str, int] = field(default_factory=dict)
    reason: str | None = None
    better: str | None = None


class Meter(AnyMeter, Protocol):
    """Measures pairs of reports."""

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        """Measure all pairs.

        Raises:
            UserError: Weights that are there cannot be used.
        """
