"""What a task adapter does: the code behind a task card's `kind`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from unix_bench.data import Study
from unix_bench.execution import ProgressLine
from unix_bench.records import RunFolder, Sample


@dataclass(frozen=True)
class Pair:
    """A study and what was predicted for it; under `score-zero` a failed prediction too."""

    study: Study
    sample: Sample


@dataclass(frozen=True)
class Row:
    """A row of the results table: the pairs it rests on, by index."""

    pathology: str | None
    members: list[int]

    @property
    def why_empty(self) -> str:
        """Why a row without members has no values."""
        return "no study was predicted" if self.pathology is None else "no predicted study shows this finding"


@dataclass(frozen=True)
class Value:
    """A metric in one row; None with a reason where it was not computed."""

    name: str
    value: float | None
    reason: str | None = None
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scored:
    """Values of each row, and the scores each study has of its own (metric -> one a pair)."""

    rows: list[list[Value]]
    per_sample: Mapping[str, Sequence[float]]


class TaskAdapter(Protocol):
    """A task: which studies take part, how a model is asked, how its answers are kept and scored."""

    @property
    def encoder(self) -> str | None:
        """Name of the image encoder it scores with; None: none."""

    @property
    def stand_in_scores(self) -> bool:
        """Do its numbers come from a stand-in? That stamps the results `demo`."""

    @property
    def encoder_digest(self) -> str | None:
        """sha256 of the encoder's weights."""

    @property
    def reads_reference_images(self) -> bool:
        """Does its scoring open the real images?"""

    def definition(self, metric: str) -> dict[str, str]:
        """What else defines a metric of its, for the signature."""

    def lacks(self, study: Study) -> str | None:
        """What the study lacks to take part, or None."""

    def predict(self, model: Any, studies: Sequence[Study], seeds: Sequence[int]) -> Sequence[Any]:
        """Ask the model; one output a study, in order.

        Raises:
            UnreadableImage: An input image cannot be opened.
        """

    def keep(self, run: RunFolder, study_id: str, output: Any) -> Sample:
        """Store an output in the run's folder."""

    def check_prediction(self, line: Mapping[str, Any], folder: Path) -> None:
        """See whether a line of a predictions file is well-formed.

        Raises:
            ValueError: It lacks the prediction, or leads out of the folder; the message says how it should be.
        """

    def import_prediction(self, run: RunFolder, line: Mapping[str, Any], folder: Path) -> Sample:
        """Store one checked line of somebody's predictions file, whose paths are relative to `folder`."""

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], progress: ProgressLine) -> Scored:
        """Compute every metric of the task for every row; `progress` counts pairs."""
