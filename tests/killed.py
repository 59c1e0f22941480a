"""The command line in processes of its own, which can be killed; they start in a fraction of a second."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["killed_preload"])


def start(words: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """`unix-bench WORDS` in a folder, with what it prints in `said` there."""
    told = dict(os.environ) | dict(environment or {})
    process = FORK.Process(target=_command, args=([str(word) for word in words], folder, told))
    process.start()
    return process


def run(words: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Its exit code and what it printed."""
    process = start(words, folder, environment)
    process.join(300)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode, said(folder)


def said(folder: Path) -> str:
    return (folder / "said").read_text()


def wait_for(path: Path, process: BaseProcess) -> None:
    """Return when a file is there."""
    for _ in range(3000):
        if path.exists():
            return
        assert process.is_alive(), "it ended without making the file"
        time.sleep(0.02)
    raise AssertionError(f"{path} does not appear")


def _command(words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    """The child's life: a new session, as a scheduler starts it."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from unix_bench.cli import main

    with (folder / "said").open("w", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            sys.argv = ["unix-bench", *words]
            main(words)
