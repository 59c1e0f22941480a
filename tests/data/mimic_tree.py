"""A synthetic tree in the official layout of MIMIC-CXR-JPG; nothing in it comes from MIMIC-CXR."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from unix_bench.data import FINDINGS

VIEWS = ("PA", "AP", "LATERAL", "")


@dataclass
class Tree:
    """Rows of the index files before they are written; a test may change them."""

    root: Path
    split: list[dict[str, str]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    labels: list[dict[str, str]] = field(default_factory=list)
    reports: dict[str, str] = field(default_factory=dict)  # path -> text

    def write(self, zipped_reports: bool = False, images: bool = True) -> Path:
        write_gz(self.root / "mimic-cxr-2.0.0-split.csv.gz", self.split)
        write_gz(self.root / "mimic-cxr-2.0.0-metadata.csv.gz", self.metadata)
        write_gz(self.root / "mimic-cxr-2.0.0-chexpert.csv.gz", self.labels)
        if zipped_reports:
            with zipfile.ZipFile(self.root / "mimic-cxr-reports.zip", "w") as archive:
                for name, text in self.reports.items():
                    archive.writestr(name, text)
        else:
            for name, text in self.reports.items():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                (self.root / name).write_text(text, encoding="utf-8")
        if images:
            shades = [Image.fromarray(np.full((16, 16), 8 * shade, dtype=np.uint8)) for shade in range(32)]
            for number, row in enumerate(self.split):
                place = self.root / folder(row) / f"{row['dicom_id']}.jpg"
                place.parent.mkdir(parents=True, exist_ok=True)
                shades[number % 32].save(place)
        return self.root


def folder(row: Mapping[str, str]) -> str:
    return f"files/p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}"


def report_text(number: int) -> str:
    finding = FINDINGS[number % 13].lower()
    if number % 10 == 9:  # a report without findings
        return f" FINAL REPORT\n EXAMINATION: CHEST (PORTABLE AP)\n\n IMPRESSION: No change of the {finding}.\n"
    return (
        f" FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n INDICATION:  ___ year old with cough {number}.\n\n"
        f" FINDINGS: \n \n Mild {finding} is seen in study {number}.\n The heart is normal.\n\n"
        f" IMPRESSION: \n \n {finding}.\n"
    )


def make_tree(root: Path, studies: int) -> Tree:
    """`studies` synthetic studies of made-up patients: two images each, every tenth study in validate or train."""
    root.mkdir(parents=True, exist_ok=True)
    tree = Tree(root)
    for number in range(studies):
        subject, study = str(10_900_000 + number // 3), str(50_900_000 + number)
        split = ("validate", "train")[number % 20 // 10] if number % 10 == 0 else "test"
        for image in range(2):
            dicom = f"synthetic-{number:05d}-{image}"
            row = {"dicom_id": dicom, "study_id": study, "subject_id": subject, "split": split}
            tree.split.append(row)
            view = VIEWS[(number + 2 * image) % 4]
            tree.metadata.append({"dicom_id": dicom, "subject_id": subject, "study_id": study, "ViewPosition": view})
        marks = {name: ("1.0", "0.0", "-1.0", "")[(number + i) % 4] for i, name in enumerate(sorted(FINDINGS))}
        tree.labels.append({"subject_id": subject, "study_id": study, **marks})
        tree.reports[f"files/p{subject[:2]}/p{subject}/s{study}.txt"] = report_text(number)
    return tree


def write_gz(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode()))
