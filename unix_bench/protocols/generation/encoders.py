"""The image encoders that judge, found by the settings, or the reason why one cannot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from unix_bench.data import DataSet
from unix_bench.errors import UserError
from unix_bench.execution import choose_device
from unix_bench.features import BioViLT, DemoDino, Encoder, MedSigLip, RadDino
from unix_bench.features.places import (
    BIOVIL_T,
    MEDSIGLIP,
    RAD_DINO,
    find_biovil_t,
    find_medsiglip,
    find_rad_dino,
)
from unix_bench.protocols.base import patient_of
from unix_bench.protocols.metered import Absent
from unix_bench.settings import PREFIX, Settings

PAD, SQUASH = "pad-square", "squash-299"


def _how(release: str, folder: str) -> str:
    return (
        f"{release} is not here: put its files into {folder}/ below {PREFIX}WEIGHTS "
        "(`unix-bench doctor` says what is missing)"
    )


NO_RAD_DINO = _how(RAD_DINO, "rad-dino")
NO_BIOVIL_T = _how(BIOVIL_T, "biovil-t")
NO_MEDSIGLIP = _how(MEDSIGLIP, "medsiglip")

Found: TypeAlias = Encoder | Absent


def rad_dino(settings: Settings, geometry: str = PAD) -> RadDino | Absent:
    """RAD-DINO under one geometry."""
    try:
        return RadDino(find_rad_dino(settings), settings.cache, geometry, *_where(settings))
    except UserError as error:
        return _absent(NO_RAD_DINO, error, settings.rad_dino)


def medsiglip(settings: Settings) -> MedSigLip | Absent:
    """MedSigLIP, the judge of another family."""
    try:
        return MedSigLip(find_medsiglip(settings), settings.cache, PAD, *_where(settings))
    except UserError as error:
        return _absent(NO_MEDSIGLIP, error, settings.medsiglip)


def biovil_t(settings: Settings) -> BioViLT | Absent:
    """BioViL-T, which embeds images and texts in one space."""
    try:
        return BioViLT(find_biovil_t(settings), settings.cache, *_where(settings))
    except UserError as error:
        return _absent(NO_BIOVIL_T, error, settings.biovil_t)


def judge(settings: Settings, geometry: str) -> Encoder:
    """The encoder of FD, KD and PRDC: RAD-DINO, or where that is not here the stand-in under its own name."""
    found = rad_dino(settings, geometry)
    return DemoDino(geometry) if isinstance(found, Absent) else found


def _where(settings: Settings) -> tuple[str, str]:
    return choose_device("auto"), settings.encoder_dtype


def _absent(reason: str, error: UserError, stated: Path | None) -> Absent:
    """Weights that nobody configured are absent; a place that was named and does not hold them is a mistake.

    Raises:
        UserError: The place was named in a setting of its own.
    """
    if stated is not None:
        raise error
    return Absent(reason, str(error))


@dataclass(frozen=True)
class Training:
    """Real images of the kind that models are trained on, to compare with beside the test set.

    Attributes:
        data: The whole set; only rows of split "train" count where any row has a split.
    """

    data: DataSet

    @cached_property
    def _studies(self) -> list[tuple[Path, str]]:
        split = any(study.split for study in self.data.studies)
        chosen = [study for study in self.data.studies if not study.problem and (not split or study.split == "train")]
        return [(study.inputs.image, patient_of(study)) for study in chosen]

    @property
    def tag(self) -> str:
        return f"{self.data.name}@{self.data.content_digest[:8]}"

    @property
    def images(self) -> list[Path]:
        return [path for path, _ in self._studies]

    @property
    def patients(self) -> list[str]:
        return [patient for _, patient in self._studies]
