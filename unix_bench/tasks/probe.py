"""The probe task: a test pair in, what it costs the model out; nothing is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unix_bench.data import Study, load_images
from unix_bench.models import PairLosses, Probe, ProbePair
from unix_bench.records import RunFolder, Sample


class ProbeTask:
    """Asks for training losses of test pairs."""

    takes_no_predictions = (
        "the probe takes no --predictions: losses come from a model's weights, with `unix-bench run --task probe`"
    )
    reads_reference_images = False  # the model does; its losses are all that is scored

    def __init__(self, instruction: str) -> None:
        self.instruction = instruction

    def lacks(self, study: Study) -> str | None:
        has_text = study.reference.report is not None or study.inputs.prompt is not None
        return None if study.problem or has_text else "neither reference report nor prompt"

    def predict(self, model: Probe, studies: Sequence[Study], seeds: Sequence[int]) -> Sequence[PairLosses]:
        """Losses of each study.

        Raises:
            ValueError: One is NaN or Inf.
        """
        images = load_images(study.inputs.image for study in studies)
        pairs = [
            ProbePair(
                id=study.id,
                image=image,
                instruction=study.inputs.instruction or self.instruction,
                report=study.reference.report,
                prompt=study.inputs.prompt,
            )
            for study, image in zip(studies, images, strict=True)
        ]
        found = model.losses(pairs, seeds)
        for losses in found:
            if not all(math.isfinite(value) for value in _stated(losses).values()):
                raise ValueError("a loss is NaN or Inf")
        return found

    def keep(self, run: RunFolder, study_id: str, output: PairLosses) -> Sample:
        return Sample(id=study_id, losses=_stated(output))

    def check_prediction(self, line: Mapping[str, Any], folder: Path) -> None:
        raise ValueError(self.takes_no_predictions)

    def import_prediction(self, run: RunFolder, line: Mapping[str, Any], folder: Path) -> Sample:
        """Never comes to it: no line passes `check_prediction`."""
        raise AssertionError("no line of a predictions file passes the check")


def _stated(losses: PairLosses) -> dict[str, float]:
    return {name: value for name, value in asdict(losses).items() if value is not None}
