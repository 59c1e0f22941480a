"""Small texts in the cache that save work when they are there; losing one costs only time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def read_note(path: Path) -> str | None:
    """What was noted, or None."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def write_note(path: Path, text: str) -> None:
    """Note a text, whole or not at all; a cache that cannot be written to is no reason to stop."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch(mode=0o600)  # it may say something of restricted data
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        with suppress(OSError):  # a read-only mount refuses this too
            partial.unlink(missing_ok=True)
