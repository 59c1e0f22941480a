"""What both protocols of the generation task share: images go to one meter after the other, rows are put together."""

from __future__ import annotations

from collections.abc import Sequence

from unix_bench.protocols.base import NewLine, Pair, Row, Scored, Value
from unix_bench.protocols.generation.base import Drawings, FeatureReader, ImageMeter, Measured
from unix_bench.protocols.metered import MeterScoring
from unix_bench.records import RunFolder
from unix_bench.settings import Settings


class GenerationScoring(MeterScoring[ImageMeter]):
    """Drawn images held against real ones."""

    def __init__(self, meters: Sequence[ImageMeter], stand_in: bool, settings: Settings) -> None:
        """Take the meters.

        Args:
            meters: What measures.
            stand_in: Do all numbers come from a stand-in's features?
            settings: Where features are kept.
        """
        super().__init__(meters)
        self.stand_in = stand_in
        self._settings = settings

    def drawings(self, run: RunFolder, pairs: Sequence[Pair]) -> Drawings:
        """The images behind pairs of which none failed."""
        return Drawings(
            [run.path / (pair.sample.image or "") for pair in pairs],
            [pair.study.reference.image for pair in pairs],
            [pair.study.inputs.prompt or "" for pair in pairs],
            [pair.patient for pair in pairs],
            [pair.study.patient_id is not None for pair in pairs],
        )

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], new_line: NewLine) -> Scored:
        reader = FeatureReader(self._settings, new_line)
        drawn = self.drawings(run, pairs)
        empty = Measured([{} for _ in rows])
        found = [meter.measure(drawn, rows, reader) if pairs else empty for meter in self._meters]
        columns = {name: column for measured in found for name, column in measured.columns.items()}
        rankings = [measured.ranking for measured in found if measured.ranking is not None]
        return Scored(
            [self._values(index, row, found) for index, row in enumerate(rows)],
            columns,
            ranking=rankings[-1] if rankings else None,  # alignment, which comes last, says more than likeness
        )

    def _values(self, index: int, row: Row, found: Sequence[Measured]) -> list[Value]:
        return [
            measured.rows[index].get(name) or Value(name, None, row.why_empty)
            for meter, measured in zip(self._meters, found, strict=True)
            for name in meter.names
            if row.pathology is None or name not in meter.once
        ]
