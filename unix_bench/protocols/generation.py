"""The generation task under protocol `sound`: the distribution of drawn images against that of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import Study, UnreadableImage, load_images
from unix_bench.errors import UserError
from unix_bench.execution import batch_plan
from unix_bench.features import DemoDino, Encoder
from unix_bench.protocols.base import NewLine, Pair, Row, Samples, Scored, Value, covers, without_failures
from unix_bench.records import RunFolder
from unix_bench.scoring.image import frechet_distance, kernel_distance, prdc
from unix_bench.spec import OnError

NEIGHBOURS = 5
ENCODE_BATCH = 32
SHARES = ("precision", "recall", "density", "coverage")
Features = NDArray[np.float32]


class SoundGeneration:
    """FD, KD and PRDC in one encoder's features, all images of a row at once."""

    stand_in = DemoDino.stand_in
    absent: Mapping[str, str] = {}

    def __init__(self, on_error: OnError | None) -> None:
        if on_error == "score-zero":
            raise UserError("--on-error score-zero has no meaning for FD, KD and PRDC, which only a set of images has")
        self.on_error: OnError = on_error or "drop-pair"

    @cached_property
    def _encoder(self) -> Encoder:
        return DemoDino()

    @property
    def instruments(self) -> Mapping[str, str]:
        return {self._encoder.name: self._encoder.digest}

    def why_not(self, metric: str) -> str | None:
        names = [f"{name}_{self._encoder.name}" for name in ("fd", "kd", *SHARES)]
        if not any(covers(metric, name) for name in names):
            raise KeyError(metric)
        return None

    def definition(self, metric: str) -> dict[str, str]:
        own = {"fd": {"covariance": "over n - 1"}, "kd": {"kernel": "(x.y / d + 1)^3, unbiased, all rows"}}
        return {
            "reference": "real image of the same study",
            "encoder": f"{self._encoder.name}@{self._encoder.digest[:8]}",
            "geometry": self._encoder.geometry,
            **own.get(metric.partition("_")[0], {"k": str(NEIGHBOURS)}),
        }

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        return without_failures(eligible, samples)

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], new_line: NewLine) -> Scored:
        real, generated = [], []
        with new_line("encoding", len(pairs)) as line:
            for batch in batch_plan(pairs, ENCODE_BATCH):
                real.append(self._encode([pair.study.reference.image for pair in batch]))
                generated.append(self._encode([run.path / (pair.sample.image or "") for pair in batch]))
                line.advance(len(batch))
        empty = np.zeros((0, self._encoder.dim), dtype=np.float32)
        x, y = np.concatenate([empty, *real]), np.concatenate([empty, *generated])
        return Scored([self._values(row, x[row.members], y[row.members]) for row in rows], {})

    def _encode(self, paths: Sequence[Path]) -> Features:
        try:
            return self._encoder.encode(list(load_images(paths))).numpy()
        except UnreadableImage as error:  # it could be read when the run began
            raise UserError(f"{error}: restore it and score again") from error

    def _values(self, row: Row, real: Features, generated: Features) -> list[Value]:
        suffix = self._encoder.name
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
        for name in SHARES:
            values.append(Value(f"{name}_{suffix}", getattr(shares, name, None), reason))
        return values


def _too_few(row: Row, least: int) -> str | None:
    n = len(row.members)
    if n == 0:
        return row.why_empty
    return f"needs {least} images, there {'is' if n == 1 else 'are'} {n}" if n < least else None
