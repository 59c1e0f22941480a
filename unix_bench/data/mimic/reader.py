"""MIMIC-CXR as a data set: images of the official index, texts of its reports or of a protocol's annotations."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from unix_bench.cards import SetCard
from unix_bench.data.mimic.annotations import Annotation, read_annotations
from unix_bench.data.mimic.index import ImageRow, read_images, read_labels
from unix_bench.data.mimic.reports import Reports, UnreadableReport, study_folder
from unix_bench.data.study import DataSet, Inputs, Reference, Study
from unix_bench.errors import UserError
from unix_bench.settings import PREFIX, Settings

LICENCE = "PhysioNet Credentialed Health Data Licence 1.5.0"
CITATION = "Johnson A. et al., MIMIC-CXR, Scientific Data 2019, doi:10.1038/s41597-019-0322-0"
SECTIONS = {
    "mimic_findings": ("findings",),
    "mimic_impression": ("impression",),
    "mimic_findings_impression": ("findings", "impression"),
}


PROBED = 2000  # images looked for before the tree is taken for JPEG


def read_mimic(name: str, card: SetCard, settings: Settings) -> DataSet:
    """Read one exact test set, as its card defines it.

    Raises:
        UserError: A file is missing, damaged or contradicts another; names the file and row.
    """
    if settings.mimic_root is None:
        raise UserError(f"{name} needs {PREFIX}MIMIC_ROOT, the folder of MIMIC-CXR-JPG with its index files")
    index = read_images(settings.mimic_root)
    chosen = _annotated(card, settings, index) if card.source != "official" else _official(card, settings, index)
    place = _image_place(settings, {row.dicom_id: row for row in index.values() if card.split in (None, row.split)})
    labels = read_labels(settings.mimic_root, card.labels)
    studies: list[Study] = []
    for one in chosen:
        row = one.row
        image = Path(place.format(dicom_id=row.dicom_id, study_id=row.study_id, subject_id=row.subject_id,
                                  folder=f"{study_folder(row.subject_id)}/s{row.study_id}"))  # fmt: skip
        studies.append(
            Study(
                Inputs(row.dicom_id, image, one.text, one.instruction, one.indication),
                Reference(image, one.text, labels.get(row.study_id, {}) if one.labels is None else one.labels),
                f"MIMIC-CXR split file, row {row.row}",
                one.problem,
                patient_id=row.subject_id,
                study_id=row.study_id,
                view=row.view,
                split=row.split,
            )
        )
    if not studies:
        source = settings.mimic_root if card.source == "official" else getattr(settings, f"mimic_{card.source}")
        split, views = card.split or "any", ", ".join(card.views) or "any"
        raise UserError(f"{name}: no row of {source} fits the set: split {split}, views {views}")
    return DataSet(
        name, settings.mimic_root, tuple(studies), LICENCE, CITATION, restricted=True, opened_as=name,
        reference_text=card.reference, notes=tuple(_notes(name, card, studies, index)),
    )  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """An image of the set and what goes with it; labels of None: those of the official file."""

    row: ImageRow
    text: str | None = None
    instruction: str | None = None
    indication: str | None = None
    labels: Mapping[str, int] | None = None
    problem: str | None = None


def _official(card: SetCard, settings: Settings, index: Mapping[str, ImageRow]) -> Iterator[Chosen]:
    """Images of the card's split and views, with the sections of their study's report."""
    reports = Reports(settings.mimic_reports or settings.mimic_root or Path(), _exceptions(settings))
    for row in index.values():
        if row.split == card.split and (not card.views or row.view in card.views):
            try:
                sections = reports.sections(row.subject_id, row.study_id)
            except UnreadableReport as error:
                yield Chosen(row, problem=str(error))
                continue
            if sections is None:
                yield Chosen(row)
            else:
                text = sections.text(*SECTIONS[card.reference])
                yield Chosen(row, text, indication=sections.text("indication", "history"))


def _annotated(card: SetCard, settings: Settings, index: Mapping[str, ImageRow]) -> Iterator[Chosen]:
    """Images that an annotation file names, with its texts."""
    path = getattr(settings, f"mimic_{card.source}")
    if path is None:
        raise UserError(f"this set needs {PREFIX}MIMIC_{card.source.upper()}, your copy of its annotation file")
    named: dict[str, Annotation] = {}
    for annotation in read_annotations(path, card.source):
        dicom_id = annotation.dicom_id
        if dicom_id in named:
            raise UserError(f"{annotation.where}: image '{dicom_id}' already stands in {named[dicom_id].where}")
        if dicom_id not in index:
            raise UserError(f"{annotation.where}: '{dicom_id}' is not in the official index: is it of MIMIC-CXR?")
        named[dicom_id] = annotation
        row = index[dicom_id]
        if card.split in (None, row.split) and (not card.views or row.view in card.views):
            yield Chosen(row, annotation.text, annotation.instruction, labels=annotation.labels)


def _exceptions(settings: Settings) -> Mapping[str, Mapping[str, str]]:
    """The user's file of reports that need their own treatment: [study_id] section = "how it begins"."""
    path = settings.mimic_exceptions
    if path is None:
        return {}
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    for study, sections in stated.items():
        if not isinstance(sections, dict) or not all(isinstance(opening, str) for opening in sections.values()):
            raise UserError(f'{path}: [{study}] needs lines such as findings = "how the section begins"')
    return stated


def _image_place(settings: Settings, index: Mapping[str, ImageRow]) -> str:
    """Pattern of the images' paths: the user's, else the official one, JPEG or DICOM as is there."""
    pattern = settings.mimic_images
    if pattern is not None:
        if "{dicom_id}" not in pattern:
            raise UserError(f"{PREFIX}MIMIC_IMAGES '{pattern}' has no {{dicom_id}} in it")
        try:
            pattern.format(dicom_id="", study_id="", subject_id="")
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(
                f"{PREFIX}MIMIC_IMAGES '{pattern}': only {{dicom_id}}, {{study_id}}, {{subject_id}}"
            ) from error
        return str(Path(pattern).expanduser())
    suffix = ".jpg"
    for row in islice(index.values(), PROBED):
        base = f"{settings.mimic_root}/{study_folder(row.subject_id)}/s{row.study_id}/{row.dicom_id}"
        found = [suffix for suffix in (".jpg", ".dcm") if Path(base + suffix).is_file()]
        if found:
            suffix = found[0]
            break
    return f"{settings.mimic_root}/{{folder}}/{{dicom_id}}{suffix}"


def _notes(name: str, card: SetCard, studies: list[Study], index: Mapping[str, ImageRow]) -> Iterable[str]:
    """What a user must know: rows or patients of the training split, texts missing, a count that is not the stated."""
    trained_on = {row.subject_id for row in index.values() if row.split == "train"}
    shared = {study.patient_id for study in studies if study.patient_id in trained_on}
    if shared and card.split != "train":
        yield f"{name}: {len(shared)} patients have images in MIMIC-CXR's official TRAINING split too"
    in_training = sum(study.split == "train" for study in studies)
    if in_training and card.split != "train":
        yield f"{name}: {in_training} of {len(studies)} images are in MIMIC-CXR's official TRAINING split"
    with_text = [study for study in studies if study.reference.report is not None]
    if not with_text:
        yield f"{name}: none of {len(studies)} studies has a text: are the reports where {PREFIX}MIMIC_REPORTS says?"
    expected = card.expected
    if expected is None:
        return
    for what, found, stated in (("images", studies, expected.images), ("pairs", with_text, expected.pairs)):
        if stated is not None and len(found) != stated:
            counts = describe_counts(found)
            yield f"{name}: {len(found)} {what} here, {stated} stated by {expected.stated_by}: {counts}"


def describe_counts(studies: list[Study]) -> str:
    """Where the rows come from: by split, by view, and how many different ones there are."""

    def by(values: Iterable[str | None]) -> str:
        return ", ".join(f"{value or 'none'} {count}" for value, count in sorted(Counter(values).items(), key=str))

    unique = {
        "images": len({study.id for study in studies}),
        "studies": len({study.study_id for study in studies}),
        "patients": len({study.patient_id for study in studies}),
        "texts": len({study.reference.report for study in studies}),
    }
    return (
        f"by split: {by(study.split for study in studies)}; by view: {by(study.view for study in studies)}; "
        f"different {', '.join(f'{what} {count}' for what, count in unique.items())}"
    )
