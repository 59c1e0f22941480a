"""The official index files: which image belongs to which study, split and view, and the studies' labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unix_bench.data.rows import csv_rows
from unix_bench.data.study import FINDINGS, parse_label
from unix_bench.errors import UserError

NUMBER = re.compile(r"[0-9]{16}")  # a subject and a study, eight digits each
SPLITS = ("train", "validate", "test")
VERSIONS = ("2.1.0", "2.0.0")
RENAMED = {"Airspace Opacity": "Lung Opacity"}
LABEL_FILES = {
    "chexpert": "mimic-cxr-{version}-chexpert.csv",
    "negbio": "mimic-cxr-{version}-negbio.csv",
    "test_set_labeled": "mimic-cxr-{version}-test-set-labeled.csv",
}


@dataclass(frozen=True)
class ImageRow:
    """One image of the official index."""

    dicom_id: str
    subject_id: str
    study_id: str
    split: str
    view: str
    row: int  # in the split file


def find_index(root: Path, name: str) -> Path:
    """The newest version of an index file, plain or gzipped; `name` holds `{version}`.

    Raises:
        UserError: There is none.
    """
    candidates = [root / (name.format(version=version) + suffix) for version in VERSIONS for suffix in ("", ".gz")]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(f"{root} holds no {candidates[-1].name}: give the folder of MIMIC-CXR-JPG as UNIX_BENCH_MIMIC_ROOT")


def read_images(root: Path) -> dict[str, ImageRow]:
    """Every image of the official split, by dicom_id.

    Raises:
        UserError: An index file is missing, damaged, or contradicts itself; names the row.
    """
    split_file = find_index(root, "mimic-cxr-{version}-split.csv")
    metadata_file = find_index(root, "mimic-cxr-{version}-metadata.csv")
    views: dict[str, dict[str, str]] = {}
    for number, row in csv_rows(metadata_file, ("dicom_id", "ViewPosition")):
        if row["dicom_id"] in views:
            raise UserError(f"{metadata_file}, row {number}: dicom_id '{row['dicom_id']}' stands there twice")
        views[row["dicom_id"]] = row
    images: dict[str, ImageRow] = {}
    for number, row in csv_rows(split_file, ("dicom_id", "study_id", "subject_id", "split")):
        where = f"{split_file}, row {number}"
        dicom_id, split = row["dicom_id"], row["split"]
        if dicom_id in images:
            raise UserError(f"{where}: dicom_id '{dicom_id}' already stands in row {images[dicom_id].row}")
        if split not in SPLITS:
            raise UserError(f"{where}: split '{split}' is not one of {', '.join(SPLITS)}")
        if not re.fullmatch(r"[\w.-]+", dicom_id) or not NUMBER.fullmatch(row["subject_id"] + row["study_id"]):
            raise UserError(f"{where}: an id is malformed: {dicom_id}, {row['subject_id']}, {row['study_id']}")
        if dicom_id not in views:
            raise UserError(f"{where}: {metadata_file.name} has no row for '{dicom_id}'")
        other = views[dicom_id]
        for key in ("subject_id", "study_id"):
            if other.get(key, row[key]) != row[key]:
                raise UserError(f"{where}: {key} is {row[key]}, {metadata_file.name} says {other[key]}")
        images[dicom_id] = ImageRow(dicom_id, row["subject_id"], row["study_id"], split, other["ViewPosition"], number)
    if not images:
        raise UserError(f"{split_file} lists no image: copy or download it again")
    return images


def read_labels(root: Path, source: str) -> dict[str, dict[str, int]]:
    """Labels of the 14 findings by study_id; a study the file does not name has none.

    Args:
        root: Of MIMIC-CXR-JPG.
        source: A key of `LABEL_FILES`.

    Raises:
        UserError: The file is missing, damaged, or holds a value that is no label; names the row.
    """
    path = find_index(root, LABEL_FILES[source])
    labels: dict[str, dict[str, int]] = {}
    for number, row in csv_rows(path, ("study_id",)):
        where = f"{path}, row {number}"
        if row["study_id"] in labels:
            raise UserError(f"{where}: study_id '{row['study_id']}' stands there twice")
        stated = {RENAMED.get(name, name): value for name, value in row.items()}
        lacking = [finding for finding in FINDINGS if finding not in stated]
        if lacking:
            raise UserError(f"{path} has no column {' and no column '.join(lacking)}: it should label all 14 findings")
        found = {finding: parse_label(stated.get(finding, ""), finding, where) for finding in FINDINGS}
        labels[row["study_id"]] = {finding: label for finding, label in found.items() if label is not None}
    return labels
