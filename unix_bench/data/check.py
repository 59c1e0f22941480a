"""Opening every image of a run before it starts, so that a damaged file is known before hours are spent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from unix_bench.data.images import UnreadableImage, open_image
from unix_bench.data.study import Study
from unix_bench.notes import read_note, write_note


@dataclass(frozen=True)
class ImageCheck:
    """What opening the images showed.

    Attributes:
        pixel_digest: sha256 over ids and file contents, in order.
        unreadable: Study id -> why its image cannot be used.
    """

    pixel_digest: str
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
    passed: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    total = hashlib.sha256()

    def look(study: Study) -> tuple[str, str, str]:
        """Stamp, content digest, and the reason why it is unreadable or ''."""
        path = study.inputs.image
        try:
            state = path.stat()
            stamp = f"{state.st_size} {state.st_mtime_ns}"
            if (seen := known.get(str(path))) and seen[0] == stamp:
                return stamp, seen[1], ""
            open_image(path)
            return stamp, hashlib.sha256(path.read_bytes()).hexdigest(), ""
        except FileNotFoundError:
            return "", "", f"{path} is missing"
        except (UnreadableImage, OSError) as error:
            return "", "", str(error)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for study, (stamp, digest, reason) in zip(studies, pool.map(look, studies), strict=True):
            if reason:
                unreadable[study.id] = reason
            else:
                passed[str(study.inputs.image)] = [stamp, digest]
            total.update(f"{study.id} {digest}\n".encode())
            advance()
    write_note(note, json.dumps(passed))
    return ImageCheck(total.hexdigest(), unreadable)


def _key(studies: Sequence[Study]) -> str:
    paths = "\n".join(str(study.inputs.image) for study in studies)
    return hashlib.sha256(paths.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(note: Path) -> dict[str, list[str]]:
    try:
        stored = json.loads(read_note(note) or "{}")
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
