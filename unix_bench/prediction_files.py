"""Files of predictions that somebody else made: JSON Lines, and the CSV that UniX's own evaluation writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path, PurePath
from typing import Any

from unix_bench.data import DataSet, Study
from unix_bench.errors import UserError

Line = dict[str, Any]
FIELDS = ("id", "report", "image", "error")
IMAGE, PREDICTION, REFERENCE = "Image Path", "Report Impression", "Ground Truth"


def read_predictions(file: Path, data: DataSet) -> dict[str, Line]:
    """Predictions by study id, in the order of the file.

    Args:
        file: `{"id", "report"}` or `{"id", "image"}` a line, optionally `"error"`; or, named `.csv`, UniX's columns.
        data: The studies they are of.

    Returns:
        One object a study, as in JSON Lines; of a CSV also `"unix_csv"`: prediction and reference as UniX's evaluation
        reads them from it.

    Raises:
        UserError: The file or a line is malformed, or names an unknown study or one twice; names the line.
    """
    lines = _csv_lines(file, data) if file.suffix.lower() == ".csv" else _json_lines(file)
    return _by_id(file, lines, {study.id for study in data.studies})


def read_recorded(file: Path) -> dict[str, Line]:
    """Predictions by study id of a file in JSON Lines, whatever set they are of; raises as `read_predictions`."""
    return _by_id(file, _json_lines(file), None)


def predicted_report(line: Mapping[str, Any]) -> str:
    """The report of a line.

    Raises:
        ValueError: It has none.
    """
    report = line.get("report")
    if not isinstance(report, str):
        raise ValueError('it has no text under "report"')
    return report


def predicted_image(line: Mapping[str, Any], folder: Path) -> Path:
    """The image file of a line, whose path is relative to a folder.

    Raises:
        ValueError: It has none, or one outside the folder.
    """
    stated = line.get("image")
    if not isinstance(stated, str) or not stated:
        raise ValueError('it has no path under "image"')
    try:
        path = (folder / stated).resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(f"image '{stated!r}' is no path: {error}") from error
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"image '{stated}' leaves the folder of the predictions file")
    return path


def _by_id(file: Path, lines: Iterator[tuple[str, Line]], known: Set[str] | None) -> dict[str, Line]:
    """Lines by id, in order; `known` are the ids there may be, None: any."""
    found: dict[str, Line] = {}
    places: dict[str, str] = {}
    for where, line in lines:
        identity = line["id"]
        if identity in found:
            raise UserError(f"{file}, {where}: id '{identity}' already stands in {places[identity]}: keep one of them")
        if known is not None and identity not in known:
            raise UserError(
                f"{file}, {where}: the data has no study '{identity}': check that the predictions are of this set"
            )
        found[identity], places[identity] = line, where
    return found


def _json_lines(file: Path) -> Iterator[tuple[str, Line]]:
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"predictions file {file} cannot be read: {error.strerror}") from error
    for number, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        where = f"line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file}, {where} is not JSON ({error}): write one object a line") from error
        if not isinstance(line, dict) or not isinstance(line.get("id"), str):
            example = '{"id": "...", "report": "..."} or {"id": "...", "image": "..."}'
            raise UserError(f'{file}, {where} has no text under "id": write {example}')
        known = {key: line[key] for key in FIELDS if key in line}
        if "error" not in known and any(known.get(key, "") is None for key in ("report", "image")):
            known["error"] = f"its prediction is null in {file.name}"
        yield where, known


def _csv_lines(file: Path, data: DataSet) -> Iterator[tuple[str, Line]]:
    import pandas as pd

    try:
        cells = pd.read_csv(file, dtype=str, keep_default_na=False)
        published = pd.read_csv(file)  # empty cells, NA, None and their like become NaN, and str() makes "nan" of that
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"predictions file {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file} is no CSV ({error}): write it as UniX's evaluation does, or as JSON Lines") from error
    missing = [name for name in (IMAGE, PREDICTION, REFERENCE) if name not in cells]
    if missing:
        raise UserError(
            f"{file} lacks the column '{missing[0]}': a CSV has the columns of UniX's evaluation "
            f"({IMAGE}, {PREDICTION}, {REFERENCE}); other predictions come as JSON Lines"
        )
    if cells.empty:
        raise UserError(f"{file} has no row: check that UniX's evaluation came to its end")
    names = _Names(data)
    for index, (image, prediction) in enumerate(zip(cells[IMAGE], cells[PREDICTION], strict=True)):
        where = f"row {index + 1}"
        as_read = published.iloc[index]
        yield (
            where,
            {
                "id": names.study(image, f"{file}, {where}").id,
                "report": prediction,
                "error": None if prediction else "its cell is empty, as UniX's evaluation writes a failed sample",
                "ground_truth": cells[REFERENCE].iloc[index],
                "unix_csv": (_as_published(as_read[PREDICTION]), _as_published(as_read[REFERENCE])),
            },
        )


def _as_published(cell: object) -> str:
    return str(cell).replace("\ufffd", "?").strip()


class _Names:
    """Finds the study that an image path means, which may come from another machine."""

    def __init__(self, data: DataSet) -> None:
        self._data = data
        self._by_id = {study.id: study for study in data.studies}
        self._by_name: dict[str, list[Study]] = {}
        for study in data.studies:
            self._by_name.setdefault(study.inputs.image.name, []).append(study)

    def study(self, stated: str, where: str) -> Study:
        """The study of that id, else the one whose image path ends most like it.

        Raises:
            UserError: None or several fit.
        """
        if stated in self._by_id:
            return self._by_id[stated]
        path = PurePath(stated)
        fitting = self._by_name.get(path.name) or [s for s in (self._by_id.get(path.stem),) if s is not None]
        if not fitting:
            raise UserError(f"{where}: the data has no image '{stated}': check that the predictions are of this set")
        shared = [_common_end(path, study.inputs.image) for study in fitting]
        best = [study for study, length in zip(fitting, shared, strict=True) if length == max(shared)]
        if len(best) > 1:
            raise UserError(f"{where}: image '{stated}' may be {best[0].id} or {best[1].id}: write the id")
        return best[0]


def _common_end(a: PurePath, b: PurePath) -> int:
    """How many last parts two paths share."""
    length = 0
    for x, y in zip(reversed(a.parts), reversed(b.parts), strict=False):
        if x != y:
            break
        length += 1
    return length
