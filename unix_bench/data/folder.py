"""Reader of a folder with a `manifest.csv`: `id,image` and, where known, texts, labels and origin."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from unix_bench.data.rows import csv_rows
from unix_bench.data.study import FINDINGS, DataSet, Inputs, Reference, Study, parse_label
from unix_bench.errors import UserError
from unix_bench.settings import expand

MANIFEST = "manifest.csv"
CARD = "dataset.toml"


class DataCard(BaseModel):
    """`dataset.toml`. A set that does not say otherwise is restricted."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    name: str = ""
    licence: str = "not stated"
    citation: str = "not stated"
    restricted: bool = True


def read_folder(root: Path, opened_as: str | None = None) -> DataSet:
    """Read a data set in the folder format; `opened_as` is the name it goes by, if it has one.

    Every cell is text as it stands: `None`, `nan` and `N/A` are words, only an empty cell is missing.

    Raises:
        UserError: The folder, its manifest or its card is missing or malformed; names the file and row.
    """
    root = expand(root)
    manifest = root / MANIFEST
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise UserError(f"data folder {root} {what}: give a folder that holds a {MANIFEST}")
    if not manifest.is_file():
        raise UserError(f"{root} holds no {MANIFEST}: list its images there, with the columns id and image")
    card = _read_card(root / CARD)
    studies = tuple(_read_studies(root.resolve(), manifest))
    if not studies:
        raise UserError(f"{manifest} lists no study: add a row for each image")
    return DataSet(
        card.name or root.resolve().name,
        root,
        studies,
        card.licence,
        card.citation,
        card.restricted,
        opened_as=opened_as or str(root.resolve()),
    )


def _read_card(path: Path) -> DataCard:
    if not path.is_file():
        return DataCard()
    try:
        return DataCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error


def _read_studies(root: Path, manifest: Path) -> Iterator[Study]:
    seen: dict[str, int] = {}
    for row_number, row in csv_rows(manifest, ("id", "image")):
        where = f"{manifest}, row {row_number}"
        identity = row["id"]
        if not identity or not row["image"]:
            raise UserError(f"{where}: the {'image' if identity else 'id'} is empty: fill it in or delete the row")
        if identity in seen:
            raise UserError(
                f"{where}: id '{identity}' already stands in row {seen[identity]}: give each row its own id"
            )
        seen[identity] = row_number
        yield _study(root, row, where)


def _study(root: Path, row: dict[str, str], where: str) -> Study:
    def text(column: str) -> str | None:
        return row.get(column) or None

    try:
        image = (root / row["image"]).resolve()
    except (RuntimeError, OSError, ValueError) as error:  # a loop of links, a NUL byte
        raise UserError(f"{where}: image '{row['image']!r}' is no path: {error}") from error
    if not image.is_relative_to(root):
        raise UserError(f"{where}: image '{row['image']}' leaves the data folder: keep all images below {root}")
    found = {finding: parse_label(row.get(finding, ""), finding, where) for finding in FINDINGS}
    labels = {finding: label for finding, label in found.items() if label is not None}
    return Study(
        Inputs(row["id"], image, text("prompt"), text("instruction"), text("indication")),
        Reference(image, text("report"), labels),
        where,
        patient_id=text("patient_id"),
        study_id=text("study_id"),
        view=text("view"),
        split=text("split"),
    )
