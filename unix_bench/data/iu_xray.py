"""The Indiana University chest X-rays in the Open-i / Kaggle layout.

    indiana_reports.csv        uid, MeSH, Problems, image, indication, comparison, findings, impression
    indiana_projections.csv    uid, filename, projection
    images/images_normalized/  the files; images/ and the root itself are looked into as well

`XXXX` in a text is the source's own de-identification mask. Labels are the human MeSH tags, mapped by `iu_mesh.toml`:
1 tagged, 0 not tagged. A patient cannot be told apart across studies, so the study stands for the patient.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from unix_bench.cards import SetCard
from unix_bench.data.rows import csv_rows
from unix_bench.data.sections import fold
from unix_bench.data.study import FINDINGS, DataSet, Inputs, Reference, Study
from unix_bench.errors import UserError
from unix_bench.settings import PREFIX, Settings

LICENCE = "CC BY-NC-ND 4.0"
CITATION = "Demner-Fushman D. et al., JAMIA 2016;23(2):304-310, doi:10.1093/jamia/ocv080"
SECTIONS = {"findings": ("findings",), "impression": ("impression",), "findings_impression": ("findings", "impression")}


def read_iu_xray(name: str, card: SetCard, settings: Settings) -> DataSet:
    """Read the frontal images and their reports.

    Raises:
        UserError: A file is missing or malformed; names the file and row, and how to fetch the set.
    """
    root = settings.iu_root
    if root is None or not (root / "indiana_reports.csv").is_file():
        raise UserError(
            f"{name} needs {PREFIX}IU_ROOT, a folder with indiana_reports.csv, indiana_projections.csv and the images: "
            "download the Kaggle data set raddar/chest-xrays-indiana-university"
        )
    place = next((root / sub for sub in ("images/images_normalized", "images") if (root / sub).is_dir()), root)
    reports = {}
    for number, row in csv_rows(root / "indiana_reports.csv", ("uid", "MeSH", "indication", "findings", "impression")):
        if row["uid"] in reports:
            raise UserError(f"{root / 'indiana_reports.csv'}, row {number}: uid '{row['uid']}' stands there twice")
        reports[row["uid"]] = row
    projections = root / "indiana_projections.csv"
    studies: dict[str, Study] = {}
    for number, row in csv_rows(projections, ("uid", "filename", "projection")):
        where = f"{projections}, row {number}"
        if card.views and row["projection"] not in card.views:
            continue
        if row["uid"] not in reports:
            raise UserError(f"{where}: indiana_reports.csv has no report of uid '{row['uid']}'")
        identity = row["filename"].removesuffix(".png").removesuffix(".dcm")
        image = (place / row["filename"]).resolve()
        if not image.is_relative_to(root.resolve()):
            raise UserError(f"{where}: file '{row['filename']}' leaves the data folder")
        if identity in studies:
            raise UserError(f"{where}: file '{row['filename']}' stands there twice")
        report = reports[row["uid"]]
        text = fold(" ".join(report[section] for section in SECTIONS[card.reference])) or None
        uid = f"CXR{row['uid']}"
        studies[identity] = Study(
            Inputs(identity, image, text, None, fold(report["indication"]) or None),
            Reference(image, text, labels_of(report["MeSH"])),
            where,
            patient_id=uid,
            study_id=uid,
            view=row["projection"],
        )
    return DataSet(
        name, root, tuple(studies.values()), LICENCE, CITATION, restricted=True, opened_as=name,
        reference_text=card.reference,
    )  # fmt: skip


def labels_of(mesh: str) -> dict[str, int]:
    """The 14 findings from a study's MeSH tags, `;` between tags, `/` between a tag and its qualifiers.

    >>> labels = labels_of("Cardiomegaly/mild;Pleural Effusion/left")
    >>> [finding for finding, label in labels.items() if label]
    ['Cardiomegaly', 'Pleural Effusion']
    """
    tags = [[fold(part).lower() for part in tag.split("/")] for tag in mesh.split(";") if tag.strip()]
    if not tags or tags == [["no indexing"]]:  # nobody tagged it
        return {}
    labels = dict.fromkeys(FINDINGS, 0)
    for tag in tags:
        for finding, patterns in _mesh().items():
            if any(tag[0] == pattern[0] and set(pattern[1:]) <= set(tag[1:]) for pattern in patterns):
                labels[finding] = 1
    labels["No Finding"] = int(tags == [["normal"]])
    return labels


@cache
def _mesh() -> dict[str, list[list[str]]]:
    """Finding -> tags, each a heading and the qualifiers it needs."""
    text = files("unix_bench.data").joinpath("iu_mesh.toml").read_text(encoding="utf-8")
    return {finding: [tag.split("/") for tag in tags] for finding, tags in tomllib.loads(text).items()}
