"""The image encoders that judge, found by the settings, or the reason why one cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unix_bench.data import DataSet, check_images
from unix_bench.errors import UserError
from unix_bench.execution import ProgressLine, choose_device
from unix_bench.features import BioViLT, DemoDino, Encoder, MedSigLip, RadDino
from unix_bench.features.geometry import PAD_SQUARE
from unix_bench.features.places import (
    BIOVIL_T,
    MEDSIGLIP,
    RAD_DINO,
    find_biovil_t,
    find_medsiglip,
    find_rad_dino,
)
from unix_bench.protocols.metered import Absent
from unix_bench.settings import PREFIX, Settings


def _how(release: str, folder: str) -> str:
    return (
        f"{release} is not here: put its files into {folder}/ below {PREFIX}WEIGHTS "
        "(`unix-bench doctor` says what is missing)"
    )


NO_RAD_DINO = _how(RAD_DINO, "rad-dino")
NO_BIOVIL_T = _how(BIOVIL_T, "biovil-t")
NO_MEDSIGLIP = _how(MEDSIGLIP, "medsiglip")


def rad_dino(settings: Settings, geometry: str = PAD_SQUARE) -> RadDino | Absent:
    """RAD-DINO under one geometry; as all encoders here, absent where nobody configured it and its folder is nowhere.

    Raises:
        UserError: The folder that a setting names is not there, or what lies there is not this release.
    """
    place = _found(find_rad_dino, settings, settings.rad_dino, NO_RAD_DINO)
    return place if isinstance(place, Absent) else RadDino(place, settings.cache, geometry, *_where(settings))


def medsiglip(settings: Settings) -> MedSigLip | Absent:
    """MedSigLIP, the judge of another family; raises as `rad_dino`."""
    place = _found(find_medsiglip, settings, settings.medsiglip, NO_MEDSIGLIP)
    return place if isinstance(place, Absent) else MedSigLip(place, settings.cache, PAD_SQUARE, *_where(settings))


def biovil_t(settings: Settings, geometry: str = PAD_SQUARE) -> BioViLT | Absent:
    """BioViL-T, which embeds images and texts in one space; raises as `rad_dino`."""
    place = _found(find_biovil_t, settings, settings.biovil_t, NO_BIOVIL_T)
    return place if isinstance(place, Absent) else BioViLT(place, settings.cache, geometry, *_where(settings))


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
        tag: Name, content digest and pixel digest of the set.
        restricted: Nothing that shows its images may leave the machine.
        images: [m] files.
        patients: [m] whose they are; one of whom nothing is known stands for itself.
        known: Whether every patient is known.
    """

    tag: str
    restricted: bool
    images: list[Path]
    patients: list[str]
    known: bool

    @classmethod
    def of(cls, data: DataSet, settings: Settings) -> Training:
        """The images of a set that can be read; only rows of split "train" count where any row has a split.

        Raises:
            UserError: There are fewer than two.
        """
        split = any(study.split for study in data.studies)
        chosen = [study for study in data.studies if study.split == "train" or not split]
        with ProgressLine("checking training images", len(chosen)) as line:
            check = check_images(chosen, settings.cache, lambda: line.advance(1))
        usable = [study for study in chosen if study.id not in check.unreadable]
        if len(usable) < 2:
            raise UserError(
                f"training data '{data.name}' has {len(usable)} usable rows of split 'train': name a set that has "
                "them, or one without a split column"
            )
        if len(usable) < len(chosen):
            first = next(iter(check.unreadable.values()))
            left_out = f"{len(chosen) - len(usable)} of {len(chosen)} training images are left out"
            print(f"WARNING: {left_out}, the first because {first}", file=sys.stderr)
        return cls(
            f"{data.name}@{data.content_digest[:8]}+{check.pixel_digest[:8]}",
            data.restricted,
            [study.inputs.image for study in usable],
            [study.patient_id or f"training image {study.id}" for study in usable],
            all(study.patient_id for study in usable),
        )
