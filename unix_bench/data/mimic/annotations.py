"""The user's own copies of the annotation files of published protocols; none of their content is in this project.

| source | file | rows |
|---|---|---|
| llava_rad | LLaVA-Rad's annotations, CSV or JSON | path, annotated_prompt, chexpert_labels, generate_method |
| chexgenbench | CheXGenBench's generation CSV | path, annotated_prompt, chexpert_labels |
| unix_json | UniX's test_data.json | messages (user, assistant), images |
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from unix_bench.data.mimic.index import RENAMED
from unix_bench.data.rows import csv_rows, read_text
from unix_bench.data.study import FINDINGS, parse_label
from unix_bench.errors import UserError

RULE_BASED = "rule-based"


@dataclass(frozen=True)
class Annotation:
    """One row of an annotation file.

    Attributes:
        path: Of the image, as the file states it.
        text: Prompt or report.
        instruction: What a user message asks, if the file has one.
        labels: None where the file has none.
    """

    path: str
    text: str | None
    where: str
    instruction: str | None = None
    labels: Mapping[str, int] | None = field(default=None)

    @property
    def dicom_id(self) -> str:
        return PurePosixPath(self.path.replace("\\", "/")).stem


def read_annotations(path: Path, source: str) -> Iterator[Annotation]:
    """Rows of an annotation file, in order; of LLaVA-Rad's those made by rule alone.

    Raises:
        UserError: The file is missing, torn, or a row is malformed; names the row.
    """
    if source == "unix_json":
        yield from _unix_json(path)
        return
    rows = _json_rows(path) if path.suffix in (".json", ".jsonl") else csv_rows(path, ("path", "annotated_prompt"))
    for number, row in rows:
        where = f"{path}, row {number}"
        if source == "llava_rad" and row.get("generate_method", RULE_BASED) != RULE_BASED:
            continue
        if not isinstance(row.get("path"), str) or not row["path"]:
            raise UserError(f"{where}: the path is empty")
        if not isinstance(row.get("annotated_prompt"), str):
            raise UserError(f"{where}: it has no text under annotated_prompt")
        labels = _labels(row.get("chexpert_labels"), where)
        yield Annotation(str(row["path"]), row.get("annotated_prompt") or None, where, labels=labels)


def _labels(stated: Any, where: str) -> dict[str, int] | None:
    """A dict, or the text of a Python literal of one; the text is parsed, never run."""
    if stated is None or stated == "":
        return None
    if isinstance(stated, str):
        try:
            stated = ast.literal_eval(stated)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise UserError(f"{where}: chexpert_labels is not a dictionary: {stated[:60]}") from error
    if not isinstance(stated, dict):
        raise UserError(f"{where}: chexpert_labels is not a dictionary: {str(stated)[:60]}")
    stated = {RENAMED.get(str(name), str(name)): value for name, value in stated.items()}
    unknown = [name for name in stated if name not in FINDINGS]
    if unknown:
        raise UserError(f"{where}: chexpert_labels names '{unknown[0]}', which is none of the 14 findings")
    found = {name: parse_label(_as_text(value), name, where) for name, value in stated.items()}
    return {name: label for name, label in found.items() if label is not None}


def _as_text(value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    return str(value)


def _unix_json(path: Path) -> Iterator[Annotation]:
    for number, row in _json_rows(path):
        where = f"{path}, row {number}"
        try:
            images, messages = row["images"], {one["role"]: one["content"] for one in row["messages"]}
            image, question, answer = images[0], messages["user"], messages["assistant"]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{where}: it needs `images` and `messages` of user and assistant") from error
        if len(images) != 1 or not all(isinstance(text, str) for text in (image, question, answer)):
            raise UserError(f"{where}: one image and texts are expected")
        # The reference takes the user's message verbatim, its image marker left out.
        yield Annotation(image, answer or None, where, instruction=question.replace("<image>", "") or None)


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A JSON list, or one object a line; numbered from 1."""
    content = read_text(path)
    if content.lstrip().startswith("["):
        try:
            rows = list(enumerate(json.loads(content), start=1))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not whole JSON ({error}): copy it again") from error
    else:
        rows = [
            (number, _line(path, number, line)) for number, line in enumerate(content.split("\n"), 1) if line.strip()
        ]
    for number, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number} is not an object")
        yield number, row


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number} is not whole JSON ({error}): copy it again") from error
