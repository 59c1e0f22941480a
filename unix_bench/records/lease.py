"""One process at a time on a run's folder, and a sign of life that other machines can read.

flock fails on Lustre and NFS, so the lock is a file: `lease.json` names its holder, who rewrites it every few seconds
with how far the run is. A holder of this machine is dead when its process is; one of another machine when its file has
stopped changing.

No file system can replace a file on condition of what it holds. So whoever takes a dead lease over first makes
`lease.<its nonce>.dead`, which holds the successor and which only one process can make; then it replaces `lease.json`.
Who holds the lease is found by starting at `lease.json` and following these files. A holder that was thought dead and
wakes up in the middle of a heartbeat may overwrite `lease.json`, but still finds its successor by name: `check` tells
it that it has lost, and tells the successor that it has not. What `check` cannot see is a take-over between it and the
write that follows: a holder that slept just there writes that once.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from unix_bench.errors import UserError
from unix_bench.records.atomic import writing_to
from unix_bench.records.processes import is_running, state_and_start, this_machine

LEASE_FILE = "lease.json"
BEAT_S = 10.0
STALE_S = 120.0  # a file server may hang for a minute, and a busy node hold a thread up
WATCH_S = 2.5 * BEAT_S
ROUNDS = 20  # each is lost to somebody who took, released or tidied in between
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
STALE_HANDLES = 3  # in a row: NFS says so of a file that another machine replaced while it was read


class _Content(BaseModel):
    """What `lease.json` holds; fields of a later version are passed over, so that its lease is respected."""

    model_config = ConfigDict(frozen=True)

    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]  # becomes part of a path
    host: Annotated[str, Field(pattern=r"^[\x21-\x7e]*$")]  # is printed on other people's terminals
    boot: str
    pid_namespace: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]  # 0 and below mean groups of processes to os.kill
    started: int | None
    began: AwareDatetime
    beat: int
    status: dict[str, Any]

    def is_of_this_machine(self) -> bool:
        """Whether its pid means something here; another container on this machine has other pids."""
        return (self.host, self.boot, self.pid_namespace) == this_machine()

    def is_alive(self) -> bool:
        """Whether its process runs, on this machine."""
        return is_running(self.pid, self.started)


@dataclass(frozen=True)
class _Seen:
    """A lease as it lies in the folder: `content` is None where it is damaged or may not be read."""

    raw: bytes
    mtime: float
    content: _Content | None
    successor: Path


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of life of whoever works on a run.

    Attributes:
        began: ISO time of day, UTC.
        age_s: Since the sign; below zero where a clock jumped.
        state: "alive" or "dead" where the process is this machine's. On another machine "alive" while its sign is
            young, else "silent".
        status: What it told of itself.
    """

    host: str
    pid: int
    began: str
    age_s: float
    state: Literal["alive", "dead", "silent"]
    status: dict[str, Any]


class Lease:
    """The right to write to a run's folder; while it is held, a thread gives a sign of life every `BEAT_S` seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._status: dict[str, Any] = {}
        self._own: _Content | None = None
        self._lost = False
        self._turn = threading.Lock()  # NFS renames a file that is open here out of the way before it is replaced
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take the lease, making the folder if need be; where it is held already, `check` it.

        Watches a silent holder on another machine for `WATCH_S` seconds before it takes its place, and says so on
        stderr.

        Raises:
            UserError: Another process is at work there, or the folder cannot be written to.
        """
        if self._own is not None:
            self.check()
            return
        own = _describe_this_process(self._status)
        try:
            with writing_to(self._folder):
                _take(self._folder, own)
        except BaseException:
            with suppress(OSError):
                self._folder.rmdir()
            raise
        self._own, self._lost, self._stop = own, False, threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(own, self._stop), name="lease", daemon=True)
        self._thread.start()

    def tell(self, status: Mapping[str, Any]) -> None:
        """Set what the next heartbeat says; does no I/O, and any thread may call it.

        Args:
            status: JSON-able. "done" and "total", whole numbers, are told to who finds the folder taken. Copied.
        """
        self._status = from_json(to_json(dict(status), inf_nan_mode="null"))

    def check(self) -> None:
        """Make sure, before a write, that the lease is still held.

        Raises:
            UserError: Somebody took it over or deleted it, or the folder cannot be read.
            RuntimeError: It was never taken.
        """
        if self._own is None:
            raise RuntimeError("the lease was not taken")
        with self._turn, writing_to(self._folder):
            seen = _look(self._folder)
        if not self._lost and _is_of(seen, self._own):
            return
        self._lost = True
        name = self._folder.name
        if seen is None or _is_of(seen, self._own):
            raise UserError(f"{name} is no longer this process's, as {LEASE_FILE} was deleted there: {_AGAIN}")
        raise UserError(f"{name} was taken over by {_who(seen)} while this process gave no sign of life: {_AGAIN}")

    def release(self) -> None:
        """Give the lease back where it is held, and remove the folder where nothing else is in it."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        own, self._own = self._own, None
        if own is None:
            return
        with suppress(OSError):  # who finds it sees that this process is gone
            if not self._lost and _is_of(_look(self._folder), own):
                (self._folder / LEASE_FILE).unlink()
                _tidy(self._folder)
        with suppress(OSError):
            self._folder.rmdir()

    def _keep(self, own: _Content, stop: threading.Event) -> None:
        while not stop.wait(BEAT_S):
            with self._turn, suppress(OSError):  # a full disk or a server's hiccup may have passed by the next beat
                if self._lost or not _is_of(_look(self._folder), own):
                    self._lost = True
                    return
                own = own.model_copy(update={"beat": own.beat + 1, "status": self._status})
                _replace(self._folder, own)


_AGAIN = "what was written is kept, so give the command again and it goes on from there"


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """The last sign of life in a run's folder, from any machine; None where there is none that can be read.

    In a folder that this user cannot write to, the age rests on the clocks of two machines.
    """
    try:
        seen = _look(folder)
        if seen is None or seen.content is None:
            return None
        try:
            age = _age(folder, seen)
        except OSError:
            age = time.time() - seen.mtime
    except OSError:
        return None
    content = seen.content
    state: Literal["alive", "dead", "silent"]
    if content.is_of_this_machine():
        state = "alive" if content.is_alive() else "dead"
    else:
        state = "alive" if 0 <= age < STALE_S else "silent"
    return Heartbeat(content.host, content.pid, content.began.isoformat(), age, state, content.status)


def _take(folder: Path, own: _Content) -> None:
    """Make `own` the holder, or raise what stands against it."""
    for _ in range(ROUNDS):
        with suppress(FileNotFoundError):  # somebody released just now, and tidied the folder or removed it
            folder.mkdir(parents=True, exist_ok=True)
            if _try_to_take(folder, own):
                return
    raise UserError(f"{folder} changes hands all the time: see who else works on it, and give the command again")


def _try_to_take(folder: Path, own: _Content) -> bool:
    """One round. What counts is who is seen to hold it: an NFS server may answer "exists" to who made the file."""
    _create(folder / LEASE_FILE, own)
    seen = _look(folder)
    if seen is None or _is_of(seen, own):
        return seen is not None
    certain = _wait_for_death(folder, seen)
    _create(seen.successor, own)
    try:
        if not _is_of(_look(folder), own):
            _withdraw(seen.successor, own)
            return False
        _replace(folder, own)
    except BaseException:
        _withdraw(seen.successor, own)
        raise
    # Who may only sleep finds its successor by name until the release; a dead one asks no more.
    _tidy(folder, keep=(_successor(folder, own.nonce), *(() if certain else (seen.successor,))))
    if not certain:
        print(f"{folder.name}: taken over from {_who(seen)}", file=sys.stderr)
    return True


def _wait_for_death(folder: Path, seen: _Seen) -> bool:
    """Return once the holder is dead: True where that is certain, False where it only kept silent.

    Raises:
        UserError: It is alive, or may be.
        FileNotFoundError: It released the lease.
    """
    if seen.content is not None and seen.content.is_of_this_machine():
        if seen.content.is_alive():
            raise _taken(folder, seen)
        return True
    age = _age(folder, seen)
    if 0 <= age < STALE_S:
        raise _taken(folder, seen, age)
    why = f"gave its last sign of life {age:.0f} s ago" if age > 0 else "gave a sign of life dated in the future"
    print(f"{folder.name}: {_who(seen)} {why}; watching for another one for {WATCH_S:.0f} s", file=sys.stderr)
    end = time.monotonic() + WATCH_S
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, WATCH_S / 50))
        _age(folder, seen)  # makes a file, without which NFS may go on showing the folder as it was
        now = _look(folder)
        if now is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / LEASE_FILE))
        if now.raw != seen.raw:
            raise _taken(folder, now)
    return False


def _taken(folder: Path, seen: _Seen, age: float | None = None) -> UserError:
    """What the user is told of a holder; with the age of its last sign of life where that is all that is known."""
    what = f"{folder.name} is being worked on by {_who(seen)}"
    if seen.content is not None:
        began, status = seen.content.began.astimezone(UTC), seen.content.status
        today = began.date() == datetime.now(UTC).date()
        what += f" since {began:{'%H:%M' if today else '%Y-%m-%d %H:%M'}} UTC"
        done, total = status.get("done"), status.get("total")
        if isinstance(done, int):
            what += f" ({done} of {total} done)" if isinstance(total, int) else f" ({done} done)"
    if age is None:
        return UserError(f"{what}: wait for it, or stop it; `unix-bench show {folder.name}` tells how far it is")
    again = f"give the command again in {max(1, math.ceil(STALE_S - age))} s"
    return UserError(f"{what}; its last sign of life is {age:.0f} s old: wait for it, or, if it is gone, {again}")


def _who(seen: _Seen) -> str:
    if seen.content is None:
        return f"an unknown process ({LEASE_FILE} cannot be read)"
    here = seen.content.is_of_this_machine()
    return f"process {seen.content.pid} on {'this machine' if here else seen.content.host}"


def _is_of(seen: _Seen | None, own: _Content) -> bool:
    return seen is not None and seen.content is not None and seen.content.nonce == own.nonce


def _look(folder: Path) -> _Seen | None:
    """The lease that holds, or None where the folder has none."""
    seen = _read(folder / LEASE_FILE)
    known: set[Path] = set()
    while seen is not None and seen.successor not in known:  # a copied file may name itself as its successor
        known.add(seen.successor)
        successor = _read(seen.successor)
        if successor is None:
            break
        seen = successor
    return seen


def _read(path: Path) -> _Seen | None:
    for attempt in range(STALE_HANDLES):
        try:
            with path.open("rb") as stream:
                raw, mtime = stream.read(), os.fstat(stream.fileno()).st_mtime
            break
        except FileNotFoundError:
            return None
        except PermissionError:  # its time is all that there is to be seen
            mtime = path.stat().st_mtime
            raw = str(mtime).encode()
            break
        except OSError as error:
            if error.errno != errno.ESTALE or attempt == STALE_HANDLES - 1:
                raise
    try:
        content = _Content.model_validate_json(raw)
    except ValidationError:
        content = None
    key = content.nonce if content else f"torn-{hashlib.sha256(path.name.encode() + raw).hexdigest()[:16]}"
    return _Seen(raw, mtime, content, _successor(path.parent, key))


def _successor(folder: Path, key: str) -> Path:
    return folder / f"lease.{key}.dead"


def _age(folder: Path, seen: _Seen) -> float:
    """Seconds since a lease was written, by the file server's clock alone: that of a new file beside it."""
    with tempfile.TemporaryFile(dir=folder, prefix="lease.", suffix=".partial") as probe:
        return os.fstat(probe.fileno()).st_mtime - seen.mtime


def _create(path: Path, content: _Content) -> None:
    """Make a file that is not there, whole at once; one that is there stays as it is."""
    raw, partial = content.model_dump_json().encode(), _partial(path.parent, content)
    try:
        partial.write_bytes(raw)
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _create_without_links(path, raw)
    finally:
        with suppress(OSError):
            partial.unlink()


def _create_without_links(path: Path, raw: bytes) -> None:
    """The same where a file system has no links: others may see it torn for a moment, and then let it be."""
    try:
        stream = path.open("xb")
    except FileExistsError:
        return
    try:
        with stream:
            stream.write(raw)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def _replace(folder: Path, content: _Content) -> None:
    partial = _partial(folder, content)
    try:
        partial.write_bytes(content.model_dump_json().encode())
        partial.replace(folder / LEASE_FILE)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def _partial(folder: Path, content: _Content) -> Path:
    return folder / f"lease.{content.nonce}.partial"


def _withdraw(path: Path, own: _Content) -> None:
    with suppress(OSError):
        if _is_of(_read(path), own):
            path.unlink()


def _tidy(folder: Path, keep: Collection[Path] = ()) -> None:
    """Remove what the dead left; who was just making such a file sees it gone and begins again."""
    for pattern in ("lease.*.dead", "lease.*.partial"):
        for path in folder.glob(pattern):
            if path not in keep:
                with suppress(OSError):
                    path.unlink()


def _describe_this_process(status: dict[str, Any]) -> _Content:
    host, boot, pid_namespace = this_machine()
    return _Content(
        nonce=secrets.token_hex(16),
        host=host,
        boot=boot,
        pid_namespace=pid_namespace,
        pid=os.getpid(),
        started=state_and_start(os.getpid())[1],
        began=datetime.now(UTC),
        beat=0,
        status=status,
    )
