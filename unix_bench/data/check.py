"""Opening every image of a set, so that a damaged file is known before hours are spent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unix_bench.data.images import UnreadableImage, open_image
from unix_bench.data.loading import ordered_map
from unix_bench.data.study import Study
from unix_bench.notes import read_note, write_note


@dataclass(frozen=True)
class Opened:
    """An image file that could be decoded.

    Attributes:
        stamp: Its size and time of change: while they stay, it is not opened again.
        digest: sha256 of the file.
        mode: As `open_image` gives it, L or RGB.
    """

    stamp: str
    digest: str
    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class ImageCheck:
    """What opening the images showed.

    Attributes:
        pixel_digest: sha256 over ids and file contents, in order.
        opened: Study id -> its image, where it could be decoded.
        unreadable: Study id -> why its image, or the study, cannot be used.
    """

    pixel_digest: str
    opened: dict[str, Opened]
    unreadable: dict[str, str]


def check_images(studies: Sequence[Study], cache: Path, advance: Callable[[], None] = lambda: None) -> ImageCheck:
    """Decode every study's image once; a file that passed is not opened again while its size and time stay.

    Args:
        studies: Whose images to open.
        cache: Where passed files are noted.
        advance: Called after each image.
    """
    note = cache / "images" / f"{_key(studies)}.json"
    known = _read(note)
    opened: dict[str, Opened] = {}
    unreadable: dict[str, str] = {}
    total = hashlib.sha256()
    for study, found in zip(studies, ordered_map(lambda study: _look(study, known), studies), strict=True):
        if isinstance(found, Opened):
            opened[study.id] = found
            total.update(f"{study.id} {found.digest}\n".encode())
        else:
            unreadable[study.id] = found
            total.update(f"{study.id}\n".encode())
        advance()
    write_note(
        note, json.dumps({str(study.inputs.image): asdict(opened[study.id]) for study in studies if study.id in opened})
    )
    return ImageCheck(total.hexdigest(), opened, unreadable)


def _look(study: Study, known: dict[str, Opened]) -> Opened | str:
    """The study's image, or the reason why it cannot be used."""
    if study.problem is not None:
        return study.problem
    path = study.inputs.image
    try:
        state = path.stat()
        stamp = f"{state.st_size} {state.st_mtime_ns}"
        before = known.get(str(path))
        if before is not None and before.stamp == stamp:
            return before
        image = open_image(path)
        return Opened(stamp, hashlib.sha256(path.read_bytes()).hexdigest(), *image.size, image.mode)
    except FileNotFoundError:
        return f"{path} is missing"
    except (UnreadableImage, OSError) as error:
        return str(error)


def _key(studies: Sequence[Study]) -> str:
    paths = "\n".join(str(study.inputs.image) for study in studies)
    return hashlib.sha256(paths.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(note: Path) -> dict[str, Opened]:
    try:
        return {path: Opened(**fields) for path, fields in json.loads(read_note(note) or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}
