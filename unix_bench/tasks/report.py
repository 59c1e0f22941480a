"""The report task: an image and an instruction in, a report out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import Study, load_images
from unix_bench.execution import ProgressLine
from unix_bench.models import ReportRequest, ReportWriter
from unix_bench.records import RunFolder, Sample
from unix_bench.scoring.report import ROUGE_TOKENISER, TOKENISER, bleu, rouge_l
from unix_bench.tasks.base import Pair, Row, Scored, Value

NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l")


class ReportTask:
    """Asks for reports and holds them against the reference reports."""

    encoder = None
    encoder_digest = None
    stand_in_scores = False
    reads_reference_images = False

    def __init__(self, instruction: str) -> None:
        self.instruction = instruction

    def definition(self, metric: str) -> dict[str, str]:
        tokeniser = ROUGE_TOKENISER if metric == "rouge_l" else TOKENISER
        return {"tokeniser": tokeniser, "aggregate": "mean over reports"}

    def lacks(self, study: Study) -> str | None:
        return None if study.problem or study.reference.report is not None else "no reference report"

    def predict(self, model: ReportWriter, studies: Sequence[Study], seeds: Sequence[int]) -> Sequence[str]:
        """Reports; decoding is greedy, so the seeds are not used."""
        images = load_images(study.inputs.image for study in studies)
        return model.write(
            [
                ReportRequest(
                    id=study.id,
                    image=image,
                    instruction=study.inputs.instruction or self.instruction,
                    indication=study.inputs.indication,
                )
                for study, image in zip(studies, images, strict=True)
            ]
        )

    def keep(self, run: RunFolder, study_id: str, output: str) -> Sample:
        return Sample(id=study_id, report=output)

    def check_prediction(self, line: Mapping[str, Any], folder: Path) -> None:
        if not isinstance(line.get("report"), str):
            raise ValueError('it has no text under "report"')

    def import_prediction(self, run: RunFolder, line: Mapping[str, Any], folder: Path) -> Sample:
        return Sample(id=line["id"], report=line["report"])

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], progress: ProgressLine) -> Scored:
        scores = np.zeros((len(pairs), len(NAMES)))
        predicted = [index for index, pair in enumerate(pairs) if pair.sample.error is None]
        predictions = [pairs[index].sample.report or "" for index in predicted]
        references = [pairs[index].study.reference.report or "" for index in predicted]
        scores[predicted] = np.column_stack([bleu(predictions, references), rouge_l(predictions, references)])
        progress.advance(len(pairs))
        return Scored(
            [_values(row, scores[row.members]) for row in rows],
            {name: scores[:, column].tolist() for column, name in enumerate(NAMES)},
        )


def _values(row: Row, scores: NDArray[np.float64]) -> list[Value]:
    if not row.members:
        return [Value(name, None, row.why_empty) for name in NAMES]
    return [Value(name, float(mean)) for name, mean in zip(NAMES, scores.mean(axis=0), strict=True)]
