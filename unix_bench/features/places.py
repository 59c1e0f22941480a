"""Where the weights of labellers and encoders lie: a setting, the weights folder, the hub's cache; never a download."""

from __future__ import annotations

import hashlib
from pathlib import Path

from unix_bench.errors import UserError
from unix_bench.settings import PREFIX, Settings
from unix_bench.weights import digest_file

BERT = "bert-base-uncased"
CHECKPOINT = "chexbert.pth"
VOCABULARIES = ("vocab.txt", "tokenizer.json")
RAD_DINO = "microsoft/rad-dino"
BIOVIL_T = "microsoft/BiomedVLP-BioViL-T"
MEDSIGLIP = "google/medsiglip-448"


def find_chexbert(settings: Settings) -> Path:
    """CheXbert's checkpoint.

    Raises:
        UserError: It is not there; says where it is looked for.
    """
    return _place(settings.chexbert, settings, "chexbert", CHECKPOINT, f"{CHECKPOINT} of the CheXbert release")


def find_radgraph(settings: Settings, model_type: str) -> Path:
    """The folder that holds RadGraph's archives.

    Raises:
        UserError: It is not there; says where it is looked for.
    """
    return _place(settings.radgraph, settings, "radgraph", "", f"the archive {model_type} of the release")


def find_rad_dino(settings: Settings) -> Path:
    """The folder of RAD-DINO: the setting, `rad-dino/` below the weights folder, or the hub's cache.

    Raises:
        UserError: It is in none of them; says where it is looked for.
    """
    return _folder(settings.rad_dino, settings, "rad-dino", RAD_DINO)


def find_biovil_t(settings: Settings) -> Path:
    """The folder of BioViL-T, which holds its image model and its text model; looked for as RAD-DINO is.

    Raises:
        UserError: It is nowhere; says where it is looked for.
    """
    return _folder(settings.biovil_t, settings, "biovil-t", BIOVIL_T)


def find_medsiglip(settings: Settings) -> Path:
    """The folder of MedSigLIP, looked for as RAD-DINO is.

    Raises:
        UserError: It is nowhere; says where it is looked for.
    """
    return _folder(settings.medsiglip, settings, "medsiglip", MEDSIGLIP)


def _folder(stated: Path | None, settings: Settings, folder: str, hub_name: str) -> Path:
    """The folder of an encoder whose release is a repository of the hub."""
    setting = f"{PREFIX}{folder.upper().replace('-', '_')}"
    if stated is not None:
        if not stated.is_dir():
            raise UserError(f"{stated} is not a folder: copy {hub_name} there, or change {setting}")
        return stated
    below = settings.weights / folder if settings.weights is not None else None
    if below is not None and below.is_dir():
        return below
    cached = _in_hub_cache(hub_name)
    if cached is not None:
        return cached
    raise UserError(
        f"{hub_name} is neither in {below or f'{folder}/ below a weights folder (none is set)'} nor in the hub's "
        f"cache: copy its files there, or set {setting}"
    )


def _place(stated: Path | None, settings: Settings, folder: str, name: str, what: str) -> Path:
    """A file, or with an empty name a folder: as stated, else below the weights folder."""
    setting = f"{PREFIX}{folder.upper()}"
    if stated is not None:
        place = stated / name if stated.is_dir() else stated
    elif settings.weights is not None:
        place = settings.weights / folder / name
    else:
        raise UserError(f"no weights folder is set: put {what} into {folder}/ below {PREFIX}WEIGHTS, or set {setting}")
    if not place.exists():
        raise UserError(f"{place} is missing: put {what} there, or set {setting}")
    return place


def find_text_encoder(name: str, settings: Settings, beside: Path | None = None) -> Path:
    """The folder with config.json and vocabulary of a text encoder, whose weights are not needed.

    Args:
        name: A path, or a hub id such as `bert-base-uncased`.
        settings: `bert` stands for bert-base-uncased; the weights folder may hold it under the name's last part.
        beside: A folder that relative paths may start from.

    Raises:
        UserError: It is nowhere; says where it was looked for.
    """
    if name == BERT and settings.bert is not None:
        if not _is_whole(settings.bert):
            raise UserError(f"{settings.bert} lacks config.json or vocab.txt of {BERT}: copy both there")
        return settings.bert
    places = [Path(name)] if Path(name).is_absolute() else []
    places += [beside / name] if beside else []
    places += [settings.weights / Path(name).name] if settings.weights else []
    for place in places:
        if _is_whole(place):
            return place
    cached = _in_hub_cache(name)
    if cached is not None and _is_whole(cached):
        return cached
    looked = ", ".join(dict.fromkeys(str(place) for place in places)) or "a weights folder"
    raise UserError(
        f"config.json and vocabulary of {name} are neither in {looked} nor in the hub's cache: copy them into "
        f"{Path(name).name}/ below the weights folder{f', or set {PREFIX}BERT' if name == BERT else ''}"
    )


def text_encoder_digest(place: Path, cache: Path) -> str:
    """sha256 over the files that decide how a text encoder reads a text."""
    total = hashlib.sha256()
    for part in ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        if (place / part).is_file():
            total.update(f"{part} {digest_file(place / part, cache)}".encode())
    return total.hexdigest()


def _in_hub_cache(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    for identity in (name, f"google-bert/{name}"):
        try:
            place = Path(snapshot_download(identity, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError):
            continue
        if (place / "config.json").is_file():
            return place
    return None


def _is_whole(place: Path) -> bool:
    """Whether a folder holds a configuration and a vocabulary; without one, transformers makes up an empty one."""
    return (place / "config.json").is_file() and any((place / name).is_file() for name in VOCABULARIES)
