"""Predictions from a file: models that nobody can run, and any other system, as one of the bench's models.

A folder of predictions stands where weights would: `report.jsonl` or `generation.jsonl` with a line for each study,
`{"id", "report"}` or `{"id", "image"}`, as `unix-bench score --predictions` takes them. Lines of other studies are not
looked at, so that one file serves every subset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from PIL import Image

from unix_bench.cards import ModelCard
from unix_bench.data import open_image
from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest, ReportRequest
from unix_bench.prediction_files import Line, predicted_image, predicted_report, read_recorded

if TYPE_CHECKING:
    from unix_bench.models.base import ImageDrawer, Loadable, ReportWriter


class NoPrediction(ValueError):
    """The file has nothing for a study; the message says which file, or what the file says went wrong."""


class Recorded:
    """Answers with the lines of a file."""

    demo_version = "none"

    def __init__(self, file: Path, lines: Mapping[str, Line]) -> None:
        self._file, self._lines = file, lines

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the one setting, `file`, and every line of that file.

        Raises:
            UserError: The file is not there, or a line is not a prediction of this kind; names the line's id.
        """
        if set(stated) != {"file"}:
            raise UserError(
                f"card '{card.name}': its one setting for {kind} is file: see to {', '.join(stated) or 'it'}"
            )
        file = _path(directory, stated["file"], card)
        for identity, line in _read(file, card).items():
            try:
                _see(line, kind, directory)
            except ValueError as error:
                raise UserError(f"{file}, prediction of '{identity}': {error}") from error
        return dict(stated)

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        file = _path(directory, settings["file"], card)
        return cls(file, _read(file, card))

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See whether there are predictions, and whether each file that the card names can be read."""
        if not any(directory.glob("*.jsonl")):
            raise UserError(f"{directory} holds no predictions: {_how(card)}")
        for settings in card.settings.values():
            file = _path(directory, settings.get("file"), card)
            if file.is_file():
                _read(file, card)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Raise `UserError`: there are no predictions but real ones."""
        why = f" ({card.verified['weights']})" if "weights" in card.verified else ""
        raise UserError(f"{card.title} is not run but read from a file, and has no demo{why}: {_how(card)}")

    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """The report of each request.

        Raises:
            NoPrediction: A study has none.
        """
        return [predicted_report(self._line(request.id)) for request in requests]

    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """The image of each request; its seed is not used.

        Raises:
            NoPrediction: A study has none.
            UnreadableImage: Its file cannot be read.
        """
        return [open_image(predicted_image(self._line(request.id), self._file.parent)) for request in requests]

    def _line(self, identity: str) -> Line:
        line = self._lines.get(identity)
        if line is None:
            raise NoPrediction(f"no prediction in {self._file.name}")
        if line.get("error") is not None:
            raise NoPrediction(str(line["error"]))
        return line


def _path(directory: Path, stated: object, card: ModelCard) -> Path:
    """The file of a folder that a setting names: one of its own, since an image's path is relative to it."""
    if not isinstance(stated, str) or not stated or Path(stated).name != stated:
        raise UserError(f"card '{card.name}': file must be the name of a file in the folder, not {stated!r}")
    return directory / stated


def _read(file: Path, card: ModelCard) -> dict[str, Line]:
    if not file.is_file():
        raise UserError(f"{file} is missing: {_how(card)}")
    lines = read_recorded(file)
    if not lines:
        raise UserError(f"{file} holds no prediction: {_how(card)}")
    return lines


def _see(line: Line, kind: str, folder: Path) -> None:
    """Raise `ValueError` where a line that tells of no error is no prediction of a kind."""
    if line.get("error") is not None:
        return
    if kind == "report":
        predicted_report(line)
    else:
        predicted_image(line, folder)


def _how(card: ModelCard) -> str:
    files = " or ".join(str(settings.get("file", "the file of its settings")) for settings in card.settings.values())
    return f"give --weights FOLDER that holds {files}, a line for each study as `score --predictions` takes them"


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: Recorded) -> tuple[type[Loadable], ReportWriter, ImageDrawer]:
        return Recorded, model, model
