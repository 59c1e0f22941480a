"""Answers about texts, kept in the cache: a text is put to a model of the same weights once."""

from __future__ import annotations

import hashlib
import json
import sys
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
    read = {text: _known(path, text) for text, path in notes.items()}
    found = {text: answers[0] for text, answers in read.items() if answers}
    if damaged := sum(answers is None for answers in read.values()):
        many = f"{damaged} answers in the cache were damaged and are"
        what = many if damaged > 1 else "1 answer in the cache was damaged and is"
        print(f"WARNING: {what} computed again", file=sys.stderr)
    missing = sorted((text for text in notes if text not in found), key=lambda text: (-len(text), text))
    advance(sum(text in found for text in texts))
    for start in range(0, len(missing), AT_ONCE):
        asked = missing[start : start + AT_ONCE]
        for text, value in zip(asked, answer(asked), strict=True):
            write_note(notes[text], json.dumps({"answer": value, "sha256": _checksum(text, value)}))
            found[text] = value
        chunk = set(asked)
        advance(sum(text in chunk for text in texts))
    return [found[text] for text in texts]


def _known(path: Path, text: str) -> list[Any] | None:
    """The answer that a note holds, in a list; an empty one where there is no note, None where it is not believed."""
    content = read_note(path)
    if content is None:
        return []
    try:
        note = json.loads(content)
        value = note["answer"]
        return [value] if note["sha256"] == _checksum(text, value) else None
    except (ValueError, TypeError, KeyError):
        return None


def _checksum(text: str, value: Any) -> str:
    return hashlib.sha256(json.dumps([text, value]).encode()).hexdigest()


def _note(place: Path, text: str) -> Path:
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return place / name[:2] / name
