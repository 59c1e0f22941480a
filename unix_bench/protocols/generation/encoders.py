"""The image encoders that judge, found by the settings, or the reason why one cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


def rad_dino(settings: Settings, geometry: str = PAD) -> RadDino | Absent:
    """RAD-DINO under one geometry; as all encoders here, absent where nobody configured it and its folder is nowhere.

    Raises:
        UserError: The folder that a setting names is not there, or what lies there is not this release.
    """
    place = _found(find_rad_dino, settings, settings.rad_dino, NO_RAD_DINO)
    return place if isinstance(place, Absent) else RadDino(place, settings.cache, geometry, *_where(settings))


def medsiglip(settings: Settings) -> MedSigLip | Absent:
    """MedSigLIP, the judge of another family; raises as `rad_dino`."""
    place = _found(find_medsiglip, settings, settings.medsiglip, NO_MEDSIGLIP)
    return place if isinstance(place, Absent) else MedSigLip(place, settings.cache, PAD, *_where(settings))


def biovil_t(settings: Settings) -> BioViLT | Absent:
    """BioViL-T, which embeds images and texts in one space; raises as `rad_dino`."""
    place = _found(find_biovil_t, settings, settings.biovil_t, NO_BIOVIL_T)
    return place if isinstance(place, Absent) else BioViLT(place, settings.cache, *_where(settings))


def judge(settings: Settings, geometry: str) -> Encoder:
    """The encoder of FD, KD and PRDC: RAD-DINO, or where that is not here the stand-in under its own name."""
    found = rad_dino(settings, geometry)
    return DemoDino(geometry) if isinstance(found, Absent) else found


def stamp(encoder: Encoder) -> str:
    """What an encoder is known by in the identity of a scoring: other weights or precision, another scoring."""
    return encoder.digest if encoder.dtype == "float32" else f"{encoder.digest} {encoder.dtype}"


def _where(settings: Settings) -> tuple[str, str]:
    return choose_device("auto"), settings.encoder_dtype


def _found(find: Callable[[Settings], Path], settings: Settings, stated: Path | None, reason: str) -> Path | Absent:
    try:
        return find(settings)
    except UserError as error:
        if stated is not None:
            raise
        return Absent(reason, str(error))


@dataclass(frozen=True)
class Training:
    """Real images of the kind that models are trained on, to compare with beside the test set.

    Attributes:
        tag: Name and content digest of the set.
        restricted: Nothing that shows its images may leave the machine.
        images: [m] files.
        patients: [m] whose they are.
    """

    tag: str
    restricted: bool
    images: list[Path]
    patients: list[str]

    @classmethod
    def of(cls, data: DataSet) -> Training:
        """The images of a set; only rows of split "train" count where any row has a split.

        Raises:
            UserError: There are fewer than two.
        """
        usable = [study for study in data.studies if not study.problem]
        split = any(study.split for study in usable)
        chosen = [study for study in usable if study.split == "train" or not split]
        if len(chosen) < 2:
            raise UserError(
                f"training data '{data.name}' has {len(chosen)} usable rows of split 'train': name a set that has "
                "them, or one without a split column"
            )
        return cls(
            f"{data.name}@{data.content_digest[:8]}",
            data.restricted,
            [study.inputs.image for study in chosen],
            [patient_of(study) for study in chosen],
        )
