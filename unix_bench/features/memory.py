"""Answers about texts, kept in the cache: a text is put to a model of the same weights once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unix_bench.notes import read_note, write_note

AT_ONCE = 256  # texts that are answered before their answers are written down


def remembered(
    texts: Sequence[str],
    answer: Callable[[list[str]], Sequence[Any]],
    place: Path,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Any]:
    """One answer a text, in order; each distinct text that has no note yet is asked for once.

    Args:
        texts: Any texts.
        answer: Texts to answers that JSON can hold; it is given the longest texts first.
        place: Folder of the notes; its name must say whose answers they are (weights digest, truncation).
        advance: Told how many texts were answered, in all as many as there are texts.
    """
    notes = {text: _note(place, text) for text in set(texts)}
    found = {text: note for text, path in notes.items() if (note := _known(path)) is not None}
    missing = sorted((text for text in notes if text not in found), key=lambda text: (-len(text), text))
    advance(sum(text in found for text in texts))
    for start in range(0, len(missing), AT_ONCE):
        asked = missing[start : start + AT_ONCE]
        for text, value in zip(asked, answer(asked), strict=True):
            write_note(notes[text], json.dumps(value))
            found[text] = value
        chunk = set(asked)
        advance(sum(text in chunk for text in texts))
    return [found[text] for text in texts]


def _known(path: Path) -> Any:
    """What a note says; None where there is none, or a crash left less than one."""
    try:
        return json.loads(read_note(path) or "null")
    except ValueError:
        return None


def _note(place: Path, text: str) -> Path:
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return place / name[:2] / name
