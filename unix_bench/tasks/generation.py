"""The generation task: a prompt in, an image out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unix_bench.data import Study, UnreadableImage, load_images, open_image
from unix_bench.errors import UserError
from unix_bench.execution import ProgressLine, batch_plan
from unix_bench.features import DemoDino, Encoder
from unix_bench.models import ImageDrawer, ImageRequest
from unix_bench.records import RunFolder, Sample
from unix_bench.scoring.image import frechet_distance, kernel_distance, prdc
from unix_bench.tasks.base import Pair, Row, Scored, Value

NEIGHBOURS = 5
ENCODE_BATCH = 32
Features = NDArray[np.float32]


class GenerationTask:
    """Asks for images and holds their distribution against that of the real ones."""

    encoder = DemoDino.name
    stand_in_scores = DemoDino.stand_in
    reads_reference_images = True

    @cached_property
    def _encoder(self) -> Encoder:
        return DemoDino()

    @property
    def encoder_digest(self) -> str:
        return self._encoder.digest

    def definition(self, metric: str) -> dict[str, str]:
        own = {"fd": {"covariance": "over n - 1"}, "kd": {"kernel": "(x.y / d + 1)^3, unbiased, all rows"}}
        return {
            "reference": "real image of the same study",
            "encoder": f"{self.encoder}@{self.encoder_digest[:8]}",
            "geometry": self._encoder.geometry,
            **own.get(metric.partition("_")[0], {"k": str(NEIGHBOURS)}),
        }

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

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], progress: ProgressLine) -> Scored:
        if any(pair.sample.error is not None for pair in pairs):
            raise UserError("--on-error score-zero has no meaning for FD, KD and PRDC, which only a set of images has")
        real, generated = [], []
        for batch in batch_plan(pairs, ENCODE_BATCH):
            real.append(self._encode([pair.study.reference.image for pair in batch]))
            generated.append(self._encode([run.path / (pair.sample.image or "") for pair in batch]))
            progress.advance(len(batch))
        empty = np.zeros((0, self._encoder.dim), dtype=np.float32)
        x, y = np.concatenate([empty, *real]), np.concatenate([empty, *generated])
        return Scored([self._values(row, x[row.members], y[row.members]) for row in rows], {})

    def _encode(self, paths: Sequence[Path]) -> Features:
        try:
            return self._encoder.encode(list(load_images(paths))).numpy()
        except UnreadableImage as error:  # it could be read when the run began
            raise UserError(f"{error}: restore it and score again") from error

    def _values(self, row: Row, real: Features, generated: Features) -> list[Value]:
        suffix = self.encoder
        values = []
        # With fewer than 2 d images most of FD is the bias of estimating a covariance from so few.
        bias = ["bias-dominated"] if len(real) < 2 * self._encoder.dim else []
        distances: tuple[tuple[str, Callable[[Any, Any], float], list[str]], ...] = (
            ("fd", frechet_distance, bias),
            ("kd", kernel_distance, []),
        )
        for name, metric, flags in distances:
            reason = _too_few(row, 2)
            value = None if reason else metric(real, generated)
            values.append(Value(f"{name}_{suffix}", value, reason, [] if reason else flags))
        reason = _too_few(row, NEIGHBOURS + 1)
        shares = None if reason else prdc(real, generated, NEIGHBOURS)
        for name in ("precision", "recall", "density", "coverage"):
            values.append(Value(f"{name}_{suffix}", getattr(shares, name, None), reason))
        return values


def _too_few(row: Row, least: int) -> str | None:
    n = len(row.members)
    if n == 0:
        return row.why_empty
    return f"needs {least} images, there {'is' if n == 1 else 'are'} {n}" if n < least else None
