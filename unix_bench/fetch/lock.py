"""`weights.lock`: what was fetched under each name, from which commit, and every file's digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unix_bench.cards import Released
from unix_bench.errors import UserError
from unix_bench.records import write_atomic
from unix_bench.weights import digest_file

LOCK = "weights.lock"
COMMIT, SHA256 = r"^[0-9a-f]{40}$", r"^[0-9a-f]{64}$"

Say = Callable[[str], None]


class LockedFile(BaseModel):
    """One file as it was fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=SHA256)
    bytes: int = Field(ge=0)


class Locked(BaseModel):
    """What was fetched under one name: where from, where to, and every file's digest.

    Attributes:
        folder: Below the weights folder.
        revision: As the card asked for it.
        patterns: The card's `files`.
        commit: What the revision was when it was first fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    hub_id: str
    revision: str
    patterns: list[str]
    commit: str = Field(pattern=COMMIT)
    files: dict[str, LockedFile] = Field(min_length=1)

    def is_of(self, card: Released) -> bool:
        """Does the card still ask for what was fetched?"""
        asked = (card.weights, card.hub_id, card.revision, card.files)
        return asked == (self.folder, self.hub_id, self.revision, self.patterns)


class Lock(BaseModel):
    """`weights.lock`.

    Attributes:
        weights: What was fetched, by the name of its card, `mine`; that card's part `base` by `mine/base`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    weights: dict[str, Locked] = {}


def stays_below(name: str) -> bool:
    """Is it a relative path that does not leave the folder it starts from?"""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not re.search(r"[\\\0]", name)


@contextmanager
def alone(root: Path, say: Say) -> Iterator[None]:
    """One fetch at a time in a weights folder, where its file system knows locks; the kernel frees a killed one's."""
    import fcntl

    guard = root / f".{LOCK}.guard"
    try:
        root.mkdir(parents=True, exist_ok=True)
        stream = guard.open("a")
    except OSError as error:
        raise UserError(f"cannot write to {root}: {error.strerror}: choose another weights folder") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another fetch is at work in {root}: waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:  # a network disk without locks: two at once cost traffic, and the later lock entry wins
            pass
        yield


def read_lock(root: Path) -> Lock:
    """The lock of a weights folder; an empty one where there is none.

    Raises:
        UserError: It is damaged, or names a path outside the folder.
    """
    path = root / LOCK
    try:
        lock = Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lock()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise UserError(f"{path} is damaged ({where}: {first['msg']}): restore it, or remove it and fetch") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for name, locked in lock.weights.items():
        for place in (locked.folder, *locked.files):
            if not stays_below(place):
                raise UserError(f"{path}: '{place}' of '{name}' leaves the weights folder: restore the file")
    return lock


def write_lock(root: Path, lock: Lock) -> None:
    """Write the lock, whole or not at all, the same text for the same content."""
    text = json.dumps(lock.model_dump(), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomic(root / LOCK, f"{text}\n".encode())


def differing_files(folder: Path, locked: Locked, cache: Path | None) -> dict[str, str]:
    """Each file that is not what the lock says, and how; without a cache, sizes alone are compared."""
    found: dict[str, str] = {}
    for name, file in sorted(locked.files.items()):
        path = folder / name
        try:
            if not path.is_file():
                found[name] = "missing"
            elif path.stat().st_size != file.bytes:
                found[name] = f"{path.stat().st_size} bytes instead of {file.bytes}"
            elif cache is not None and digest_file(path, cache) != file.sha256:
                found[name] = f"not the one that {LOCK} names"
        except OSError as error:
            found[name] = f"unreadable ({error.strerror})"
    return found


def amount(files: int, size: int) -> str:
    """How many files, and how big they are together."""
    return f"{files} {'file' if files == 1 else 'files'} ({size / 1e6:.1f} MB)"


def described(locked: Locked) -> str:
    """What was fetched under a name, in words."""
    size = sum(file.bytes for file in locked.files.values())
    return f"{amount(len(locked.files), size)} of {locked.hub_id} at {locked.commit}"
