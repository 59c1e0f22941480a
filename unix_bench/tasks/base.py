"""What a task adapter does: the code behind a task card's `kind`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from unix_bench.data import Study
from unix_bench.records import RunFolder, Sample


class TaskAdapter(Protocol):
    """A task: which studies take part, how a model is asked, how its answers are kept."""

    @property
    def reads_reference_images(self) -> bool:
        """Does its scoring open the real images?"""

    @property
    def takes_no_predictions(self) -> str | None:
        """Why nobody else's predictions can be scored; None if they can."""

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
