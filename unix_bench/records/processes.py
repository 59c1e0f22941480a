"""Which machine this is, and whether a process of it runs: what a pid in a file means."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def this_machine() -> tuple[str, str, str]:
    """Host, boot and namespace of pids: together they say where a pid means something."""
    boot = pid_namespace = ""
    with suppress(OSError):
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        pid_namespace = str((PROC / "self/ns/pid").readlink())
    return re.sub(r"[^\x21-\x7e]", "?", socket.gethostname()), boot, pid_namespace


def is_running(pid: int, started: int | None) -> bool:
    """Whether the process that had this pid and start time still runs; where a time is not known, the pid decides."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    state, found = state_and_start(pid)
    if state in ("Z", "X", "x"):  # dead, though nobody has asked for its exit code yet
        return False
    return None in (found, started) or found == started


def state_and_start(pid: int) -> tuple[str | None, int | None]:
    """State and start time of a process; None where the system does not tell."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None, None
    fields = stat[stat.rindex(b")") + 1 :].split()  # a program's name, the field before, may hold anything
    return fields[0].decode(), int(fields[19])  # fields 3 and 22 of proc(5)
