"""What the features of both runs' images tell: kernel sums for paired tests, and likeness to the real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unix_bench.compare.sides import Matched, Side
from unix_bench.execution import ProgressLine
from unix_bench.features import Encoder
from unix_bench.features.geometry import PAD_SQUARE, SQUASH_299
from unix_bench.protocols.generation.base import FeatureReader
from unix_bench.protocols.generation.encoders import judge, medsiglip
from unix_bench.protocols.generation.scoring import GenerationScoring
from unix_bench.protocols.metered import Absent
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


def read_drawn(matched: Matched, settings: Settings, quiet: bool) -> dict[str, Drawn]:
    """Features of both runs by the column of the encoder, as protocol `sound` judges; else nothing.

    The published protocol's kernel distance is a mean over shards, rounded, and has no paired test.
    """
    if matched.protocol != "sound" or not isinstance(matched.scoring, GenerationScoring):
        return {}
    found = [judge(settings, PAD_SQUARE), judge(settings, SQUASH_299), medsiglip(settings)]
    reader = FeatureReader(settings, lambda label, total: ProgressLine(label, total, quiet))
    return {
        encoder.column: _read(matched, matched.scoring, encoder, reader)
        for encoder in found
        if not isinstance(encoder, Absent)
    }


def _read(matched: Matched, scoring: GenerationScoring, encoder: Encoder, reader: FeatureReader) -> Drawn:
    def drawings(side: Side) -> tuple[FeatureTable, NDArray[np.float64]]:
        drawn = scoring.drawings(side.run, matched.pairs(side))
        # The real images of run a's data on both sides: the same studies, and one set to be compared with.
        both = reader.images([*real, *drawn.generated], encoder)
        x, y = both[: len(real)], both[len(real) :]
        return FeatureTable(x, y), -np.linalg.norm(y.astype(np.float64) - x, axis=1)

    first = scoring.drawings(matched.a.run, matched.pairs(matched.a))
    real = first.real
    (a, own_a), (b, own_b) = drawings(matched.a), drawings(matched.b)
    return Drawn(a, b, first.patients, (own_a, own_b))


def judged_by(name: str, drawn: Mapping[str, Drawn]) -> Drawn | None:
    """The features behind a kernel distance; None for another metric."""
    return drawn.get(name.removeprefix("kd_")) if name.startswith("kd_") else None
