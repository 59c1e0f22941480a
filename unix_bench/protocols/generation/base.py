"""What was drawn, how it is turned into features, and what measures it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unix_bench.features import BioViLT, Encoder, FeatureStore
from unix_bench.protocols.base import Columns, NewLine, Ranking, Row, Value
from unix_bench.protocols.metered import AnyMeter
from unix_bench.scoring.statistics import Measure
from unix_bench.settings import Settings

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Drawings:
    """Drawn images beside the real ones of the same studies.

    Attributes:
        generated: [n] files; None: a black image stands in, as the published protocol has it.
        real: [n] files; None likewise.
        prompts: [n] what was to be drawn.
        patients: [n] whose study it is; a study of which nothing is known stands for itself.
        known: [n] whether the data names the patient.
    """

    generated: list[Path | None]
    real: list[Path | None]
    prompts: list[str]
    patients: list[str]
    known: list[bool]

    def __len__(self) -> int:
        return len(self.prompts)


class FeatureReader:
    """Features of images and texts: from the store, or through a network with its progress shown."""

    def __init__(self, settings: Settings, new_line: NewLine) -> None:
        self._cache, self._new_line = settings.cache, new_line
        self.store = FeatureStore.of(settings)

    def images(self, paths: Sequence[Path | None], encoder: Encoder) -> Features:
        """float32 [n, dim].

        Raises:
            UserError: An image or the encoder's weights cannot be read.
        """
        with self._new_line(f"features of {encoder.column}", len(paths)) as line:
            return self.store.features(paths, encoder, self._cache, line.advance)

    def each(self, label: str, rows: Sequence[Row]) -> Iterator[Row]:
        """The rows one by one, their progress shown."""
        with self._new_line(label, len(rows)) as line:
            for row in rows:
                yield row
                line.advance(1)

    def texts(self, texts: Sequence[str], encoder: BioViLT) -> tuple[Features, NDArray[np.bool_]]:
        """float32 [n, dim], and which texts were cut to what the encoder reads, [n]."""
        return self.store.text_embeddings(texts, encoder, self._cache)


@dataclass(frozen=True)
class Measured:
    """What a meter found of drawn images.

    Attributes:
        rows: For each row of the table, metric -> value; a metric that is in none has the row's own reason.
        columns: Column of `samples.parquet` -> an entry a pair.
        ranking: By what the pairs may be called good or bad.
    """

    rows: Sequence[Mapping[str, Value]]
    columns: Columns = field(default_factory=dict)
    ranking: Ranking | None = None


class OfSets:
    """A meter whose metrics only a whole set has."""

    def measures(self, columns: Columns) -> dict[str, Measure]:
        return {}


class ImageMeter(AnyMeter, Protocol):
    """Measures drawn images against real ones."""

    def measure(self, drawn: Drawings, rows: Sequence[Row], reader: FeatureReader) -> Measured:
        """Measure every row.

        Raises:
            UserError: Weights or images that were there cannot be used.
        """


def too_few(row: Row, least: int) -> str | None:
    """Why a row cannot have a metric that needs so many images; None if it can."""
    n = len(row.members)
    if n == 0:
        return row.why_empty
    return f"needs {least} images, there {'is' if n == 1 else 'are'} {n}" if n < least else None
