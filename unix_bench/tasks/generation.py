"""The generation task: a prompt in, an image out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from unix_bench.data import Study, UnreadableImage, open_image
from unix_bench.models import ImageDrawer, ImageRequest
from unix_bench.records import RunFolder, Sample


class GenerationTask:
    """Asks for images and keeps them by content."""

    takes_no_predictions = None
    reads_reference_images = True

    def lacks(self, study: Study) -> str | None:
        return None if study.problem or study.inputs.prompt is not None else "no prompt"

    def predict(self, model: ImageDrawer, studies: Sequence[Study], seeds: Sequence[int]) -> Sequence[Image.Image]:
        pairs = zip(studies, seeds, strict=True)
        return model.draw([ImageRequest(study.id, study.inputs.prompt or "", seed) for study, seed in pairs])

    def keep(self, run: RunFolder, study_id: str, output: Image.Image) -> Sample:
        return Sample(id=study_id, image=run.add_image(output))

    def check_prediction(self, line: Mapping[str, Any], folder: Path) -> None:
        self._predicted_path(line, folder)

    def import_prediction(self, run: RunFolder, line: Mapping[str, Any], folder: Path) -> Sample:
        path = self._predicted_path(line, folder)
        try:
            open_image(path)
            content = path.read_bytes()
        except (UnreadableImage, OSError) as error:
            return Sample(id=line["id"], error=str(error))
        return Sample(id=line["id"], image=run.add_image_bytes(content, path.suffix.lower()))

    def _predicted_path(self, line: Mapping[str, Any], folder: Path) -> Path:
        stated = line.get("image")
        if not isinstance(stated, str) or not stated:
            raise ValueError('it has no path under "image"')
        try:
            path = (folder / stated).resolve()
        except (RuntimeError, OSError) as error:
            raise ValueError(f"image '{stated}' is no path: {error}") from error
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"image '{stated}' leaves the folder of the predictions file")
        return path
