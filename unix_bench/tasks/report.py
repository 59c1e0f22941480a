"""The report task: an image and an instruction in, a report out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unix_bench.data import Study, load_images
from unix_bench.models import ReportRequest, ReportWriter
from unix_bench.prediction_files import predicted_report
from unix_bench.records import RunFolder, Sample


class ReportTask:
    """Asks for reports."""

    takes_no_predictions = None
    reads_reference_images = False

    def __init__(self, instruction: str) -> None:
        self.instruction = instruction

    def lacks(self, study: Study) -> str | None:
        return None if study.problem or study.reference.report is not None else "no reference report"

    def predict(self, model: ReportWriter, studies: Sequence[Study], seeds: Sequence[int]) -> Sequence[str]:
        """Reports, each with its seed for a model that draws its words."""
        images = load_images(study.inputs.image for study in studies)
        return model.write(
            [
                ReportRequest(
                    id=study.id,
                    image=image,
                    instruction=study.inputs.instruction or self.instruction,
                    indication=study.inputs.indication,
                    seed=seed,
                )
                for study, image, seed in zip(studies, images, seeds, strict=True)
            ]
        )

    def keep(self, run: RunFolder, study_id: str, output: str) -> Sample:
        return Sample(id=study_id, report=output)

    def check_prediction(self, line: Mapping[str, Any], folder: Path) -> None:
        predicted_report(line)

    def import_prediction(self, run: RunFolder, line: Mapping[str, Any], folder: Path) -> Sample:
        return Sample(id=line["id"], report=predicted_report(line), unix_csv=line.get("unix_csv"))
