"""Runs a command for a process that may be killed at any moment, and leaves nothing behind when either of them ends.

Started by `subprocesses.Program` as a script; the standard library is all it sees. Its arguments: a descriptor that
ends with the process it is run for, a folder to remove in the end, and the command. What the command returns, it
returns; a signal N as 128 + N.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress

CANNOT_START = 127


def main(life: int, scratch: str, command: list[str]) -> int:
    """Run the command in a process group of its own."""
    try:
        child = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror or error}", file=sys.stderr)
        shutil.rmtree(scratch, ignore_errors=True)
        return CANNOT_START
    # Only the command may hold these now: where it is gone, whoever reads them hears so.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    threading.Thread(target=_end_with_parent, args=(life, child.pid, scratch), daemon=True).start()
    code = child.wait()
    _clear(child.pid, scratch)
    return code if code >= 0 else 128 - code


def _end_with_parent(life: int, group: int, scratch: str) -> None:
    os.read(life, 1)
    _clear(group, scratch)
    os._exit(128 + signal.SIGKILL)


def _clear(group: int, scratch: str) -> None:
    """End what the command started too. A group's number is nobody else's while one of it lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
