"""Do drawn images show what their prompts say? Cosines of BioViL-T's embeddings, with what puts them in their place."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unix_bench.features import BioViLT
from unix_bench.protocols.base import Columns, Ranking, Row, Value
from unix_bench.protocols.bootstrap import INTERVAL, patient_intervals
from unix_bench.protocols.generation.base import Drawings, FeatureReader, Features, Measured
from unix_bench.protocols.generation.encoders import stamp
from unix_bench.protocols.metered import mean_of_column
from unix_bench.scoring.image import cosine_similarity
from unix_bench.scoring.statistics import Measure, image_flags

ALIGNMENTS = ("alignment_biovilt", "alignment_real_biovilt", "alignment_shuffled_biovilt")
COSINE = (-1.0, 1.0)
CUT = "prompts-cut"
PAIRED = {
    "alignment_biovilt": "drawn image with its prompt",
    "alignment_real_biovilt": "real image with the prompt of its study",
    "alignment_shuffled_biovilt": "drawn image with every other prompt, mean",
}


class AlignmentMeter:
    """Alignment of drawn images, of the real ones, and of drawn images with prompts that were not theirs.

    The second is no ceiling: a model that was conditioned on the scorer's own text encoder can exceed it. The third is
    what an image gets that is a chest X-ray and no more.
    """

    names = ALIGNMENTS
    once: Sequence[str] = ()
    absent = None

    def __init__(self, encoder: BioViLT) -> None:
        self._encoder = encoder

    @property
    def instruments(self) -> Mapping[str, str]:
        return {self._encoder.column: stamp(self._encoder)}

    def definition(self, metric: str) -> dict[str, str]:
        return {
            "pairs": PAIRED.get(metric, ""),
            "encoder": f"{self._encoder.name}@{self._encoder.digest[:8]}",
            "geometry": self._encoder.geometry,
            "dtype": self._encoder.dtype,
            "text": "first 512 tokens",
            "aggregate": "mean over images",
            "interval": INTERVAL,
        }

    def measure(self, drawn: Drawings, rows: Sequence[Row], reader: FeatureReader) -> Measured:
        images = reader.images([*drawn.generated, *drawn.real], self._encoder)
        generated, real = images[: len(drawn)], images[len(drawn) :]
        texts, cut = reader.texts(drawn.prompts, self._encoder)
        if cut.any():
            print(
                f"WARNING: {int(cut.sum())} of {len(cut)} prompts are longer than BioViL-T reads: they were cut",
                file=sys.stderr,
            )
        scores = dict(
            zip(
                ALIGNMENTS,
                (
                    cosine_similarity(generated, texts),
                    cosine_similarity(real, texts),
                    with_other_prompts(generated, texts, drawn.prompts),
                ),
                strict=True,
            )
        )
        columns: dict[str, Sequence[object]] = {name: each.tolist() for name, each in scores.items()}
        measures = self.measures(columns)
        found = [self._values(row, measures, drawn, cut) for row in rows]
        columns["prompt_cut_biovilt"] = cut.tolist()
        ranking = Ranking("alignment with the prompt (BioViL-T)", scores["alignment_biovilt"].tolist())
        return Measured(found, columns, ranking)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        return {name: mean_of_column(columns[name], COSINE) for name in self.names if name in columns}

    def _values(
        self, row: Row, measures: Mapping[str, Measure], drawn: Drawings, cut: NDArray[np.bool_]
    ) -> dict[str, Value]:
        if not row.members:
            return {}
        chosen = [measure.of_members(row.members) for measure in measures.values()]
        patients = [drawn.patients[index] for index in row.members]
        known = all(drawn.known[index] for index in row.members)
        flags = image_flags(patients, known) + ([CUT] if cut[row.members].any() else [])
        bounds = patient_intervals(chosen, patients)
        values = {}
        for name, measure, ci in zip(measures, chosen, bounds, strict=True):
            value = measure.value()
            reason = "every study has the same prompt" if np.isnan(value) else None
            values[name] = Value(
                name, None if reason else value, reason, flags if not reason else [], None if reason else ci
            )
        return values


def with_other_prompts(images: Features, texts: Features, prompts: Sequence[str]) -> NDArray[np.float64]:
    """Each image's mean cosine with all prompts that are worded otherwise than its own, [n]; NaN where none is.

    Args:
        images: [n, d].
        texts: [n, d], row i embeds prompt i.
        prompts: [n].
    """
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (np.float64(images), np.float64(texts))]
    numbers = np.unique(np.asarray(prompts, dtype=object).astype(str), return_inverse=True)[1]
    same = np.zeros((int(numbers.max()) + 1, units[1].shape[1]))
    np.add.at(same, numbers, units[1])
    others = len(prompts) - np.bincount(numbers)[numbers]
    total = np.einsum("nd,nd->n", units[0], units[1].sum(axis=0) - same[numbers])
    found: NDArray[np.float64] = np.divide(total, others, out=np.full(len(prompts), np.nan), where=others > 0)
    return found
