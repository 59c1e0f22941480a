"""What a test set is made of: studies, each with its inputs and its reference kept apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unix_bench.errors import UserError

# The 14 CheXpert observations (Irvin et al., arXiv 1901.07031), in the order every table and label matrix uses.
FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)


LABELS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1, "": None}


def parse_label(stated: str, finding: str, where: str) -> int | None:
    """A label as tables write it; None for one that nobody judged.

    Raises:
        UserError: It is no label; names the place.

    >>> parse_label("-1.0", "Edema", "row 2")
    -1
    """
    try:
        return LABELS[stated.strip()]
    except KeyError as error:
        raise UserError(
            f"{where}: {finding} is '{stated}': labels are 1, 0, -1 (uncertain) or empty (unknown)"
        ) from error


@dataclass(frozen=True)
class Inputs:
    """What a model may see. A text that the set does not state is None; an empty text is a text."""

    id: str
    image: Path
    prompt: str | None = None  # text to image
    instruction: str | None = None  # the set's own question about the image, if it has one
    indication: str | None = None


@dataclass(frozen=True)
class Reference:
    """What a prediction is held against; no model sees it.

    Attributes:
        image: The real image.
        report: The reference report.
        labels: Finding -> 1 present, 0 absent, -1 uncertain; a finding nobody judged is not in it.
    """

    image: Path
    report: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One row of a test set.

    Attributes:
        where: Its file and row.
        problem: Why it cannot be used although it belongs to the set; `--on-error` decides what that means.
    """

    inputs: Inputs
    reference: Reference
    where: str = ""
    problem: str | None = None
    patient_id: str | None = None
    study_id: str | None = None
    view: str | None = None
    split: str | None = None

    @property
    def id(self) -> str:
        return self.inputs.id


@dataclass(frozen=True)
class DataSet:
    """A test set and what may be done with it.

    Attributes:
        root: Folder that all its images lie below.
        restricted: Nothing derived from it that shows text, images or ids may leave the machine.
        opened_as: What to give `open_data` to open it again: its name, or its absolute path.
        reference_text: Which text is the reference, the largest hidden variable between published numbers.
        notes: What a user of the set must be told, a sentence each.
        content_digest: sha256 over ids, texts, labels and splits in order; pixels are not in it.
    """

    name: str
    root: Path
    studies: tuple[Study, ...]
    licence: str
    citation: str
    restricted: bool
    opened_as: str
    reference_text: str = "report column"
    notes: tuple[str, ...] = ()
    content_digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content_digest", _content_digest(self.studies))


def _content_digest(studies: tuple[Study, ...]) -> str:
    digest = hashlib.sha256()
    for study in studies:
        row = [
            study.id,
            study.inputs.prompt,
            study.inputs.instruction,
            study.inputs.indication,
            study.reference.report,
            [study.reference.labels.get(finding) for finding in FINDINGS],
            study.patient_id,
            study.study_id,
            study.view,
            study.split,
            study.problem is not None,
        ]
        digest.update(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
