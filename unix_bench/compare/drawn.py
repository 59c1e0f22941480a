"""What the features of both runs' images tell: kernel sums for paired tests, and likeness to the real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unix_bench.compare.sides import Matched
from unix_bench.execution import ProgressLine
from unix_bench.features import Encoder, FeatureStore
from unix_bench.protocols import Pair
from unix_bench.records import RunFolder
from unix_bench.scoring.image import FeatureTable, KernelSums
from unix_bench.settings import Settings


@dataclass(frozen=True, eq=False)
class Drawn:
    """Two runs' images in the features of one encoder.

    Attributes:
        a, b: Each against the real images.
        patients: [n].
        likeness: [n] of run a's images and of run b's to the real ones: the distance, negated.
    """

    a: FeatureTable
    b: FeatureTable
    patients: list[str]
    likeness: tuple[NDArray[np.float64], NDArray[np.float64]]

    def sums(self, members: Sequence[int]) -> tuple[KernelSums, KernelSums]:
        """Kernel values of both runs by patient, of some studies."""
        return self.a.kernel_sums(self.patients, members), self.b.kernel_sums(self.patients, members)


def read_drawn(matched: Matched, settings: Settings) -> dict[str, Drawn]:
    """Features of both runs by the column of each encoder that judges them; nothing where none does.

    Raises:
        UserError: An image or an encoder's weights cannot be read.
    """
    store = FeatureStore.of(settings)
    return {encoder.column: _read(matched, encoder, store, settings.cache) for encoder in matched.scoring.judges}


def _read(matched: Matched, encoder: Encoder, store: FeatureStore, cache: Path) -> Drawn:
    a, b = (matched.pairs(side) for side in (matched.a, matched.b))
    drawn = (_images(matched.a.run, a), _images(matched.b.run, b))
    # The real images of run a's data on both sides: the same studies, and one set to be compared with.
    paths = [*(pair.study.reference.image for pair in a), *drawn[0], *drawn[1]]
    with ProgressLine(f"features of {encoder.column}", len(paths)) as line:
        real, first, second = np.split(store.features(paths, encoder, cache, line.advance), 3)
    own = tuple(-np.linalg.norm(each.astype(np.float64) - real, axis=1) for each in (first, second))
    return Drawn(FeatureTable(real, first), FeatureTable(real, second), [pair.patient for pair in a], (own[0], own[1]))


def _images(run: RunFolder, pairs: Sequence[Pair]) -> list[Path]:
    return [run.path / (pair.sample.image or "") for pair in pairs]


def judged_by(name: str, drawn: Mapping[str, Drawn]) -> Drawn | None:
    """The features behind a kernel distance; None for another metric."""
    return drawn.get(name.removeprefix("kd_")) if name.startswith("kd_") else None
