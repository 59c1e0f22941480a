"""The generation task: a prompt in, an image out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from unix_bench.data import Study, UnreadableImage, open_image
from unix_bench.models import ImageDrawer, ImageRequest
from unix_bench.prediction_files import predicted_image
from unix_bench.records import RunFolder, Sample


class GenerationTask:
    """Asks for images and keeps them by content."""

    takes_no_predictions = None
    reads_reference_images = True

    def lacks(self, study: Study) -> str | None:
        return None if study.problem or study.inputs.prompt is not None else "no prompt"

    def predict(self, model: ImageDrawer, studies: Sequence[Study], seeds: Sequence[int]) -> Sequence[bytes]:
        """Drawn images as PNG files, which is how they travel between processes and are kept."""
        pairs = zip(studies, seeds, strict=True)
        drawn = model.draw([ImageRequest(study.id, study.inputs.prompt or "", seed) for study, seed in pairs])
        return [_as_png(image) for image in drawn]

    def keep(self, run: RunFolder, study_id: str, output: bytes) -> Sample:
        return Sample(id=study_id, image=run.add_image(output, ".png"))

    def check_prediction(self, line: Mapping[str, Any], folder: Path) -> None:
        predicted_image(line, folder)

    def import_prediction(self, run: RunFolder, line: Mapping[str, Any], folder: Path) -> Sample:
        path = predicted_image(line, folder)
        try:
            open_image(path)
            content = path.read_bytes()
        except (UnreadableImage, OSError) as error:
            return Sample(id=line["id"], error=str(error))
        return Sample(id=line["id"], image=run.add_image(content, path.suffix.lower()))


def _as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
