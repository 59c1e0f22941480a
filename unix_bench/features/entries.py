"""The files of the feature store: one vector each, with a checksum, whole or not believed.

An entry is not flushed to the disk, which would cost more than the features of a small network: after a power cut the
checksum finds what is missing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NUMBER = np.dtype("<f4")
CHECKSUM = hashlib.sha256().digest_size  # bytes before the numbers
PARTIAL = ".partial"
ABANDONED_S = 3600.0  # no writer needs this long for a file: it was killed


class DamagedEntry(ValueError):
    """A file that is not the entry its name says."""


def entry_path(folder: Path, key: str) -> Path:
    """Where the vector of `key` lies among those of one encoder."""
    return folder / key[:2] / key


def read_entry(folder: Path, key: str, dim: int) -> NDArray[np.float32] | None:
    """The vector [dim] of `key`, which counts as used now; None where there is none.

    Raises:
        DamagedEntry: The file has another length, its numbers are not finite, or the checksum is that of other numbers,
            another key or another folder.
    """
    path = entry_path(folder, key)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[CHECKSUM:]
    if len(payload) != dim * NUMBER.itemsize or content[:CHECKSUM] != _checksum(folder, key, payload):
        raise DamagedEntry(str(path))
    row = np.frombuffer(payload, NUMBER).astype(np.float32)
    if not np.isfinite(row).all():
        raise DamagedEntry(str(path))
    with suppress(OSError):  # another process may have removed it, or the folder be read-only
        os.utime(path)
    return row


def write_entry(folder: Path, key: str, row: NDArray[np.float32]) -> None:
    """Keep a vector, whole or not at all, whoever else writes the same.

    Raises:
        OSError: It cannot be written.
    """
    path = entry_path(folder, key)
    payload = row.astype(NUMBER).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(PARTIAL, f"{key[:16]}-", path.parent)  # of mode 0600, a name no other host has
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(_checksum(folder, key, payload) + payload)
        Path(name).replace(path)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def shrink(place: Path, limit: int) -> None:
    """Remove the entries of all encoders that were used least recently, until the rest has at most `limit` bytes."""
    now, total = time.time(), 0
    entries = []
    for path, state in _files(place):
        if path.name.endswith(PARTIAL):
            if now - state.st_mtime > ABANDONED_S:
                with suppress(OSError):
                    path.unlink()
            continue
        entries.append((state.st_mtime_ns, path, state.st_size))
        total += state.st_size
    for _, path, size in sorted(entries):
        if total <= limit:
            return
        with suppress(FileNotFoundError):  # another process makes room too
            try:
                path.unlink()
            except PermissionError:
                continue
        total -= size


def _files(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for root, _, names in os.walk(place):
        for name in names:
            path = Path(root, name)
            with suppress(OSError):
                yield path, path.lstat()


def _checksum(folder: Path, key: str, payload: bytes) -> bytes:
    return hashlib.sha256(f"{folder.name} {key} ".encode() + payload).digest()
