"""Whole files or none: text goes to a neighbour first and takes the name when it is on the disk.

A crash leaves at most a stray `*.partial` file, never half of a named one; the price is one more fsync a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unix_bench.errors import UserError


@contextmanager
def writing_to(place: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and their like into a message that names the place."""
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        raise UserError(f"cannot write to {place}: {what}: free space there or choose another folder") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        UserError: The disk is full or the folder cannot be written to.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with writing_to(path.parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
