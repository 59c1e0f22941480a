"""Where the time of a run went: `phases.jsonl`, to which every process adds that works on the run.

A phase has a line when it begins, one a minute while it gives signs of life, and one when it ends; the last one counts.
A kill loses at most that minute. None of it enters `results.json`.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from unix_bench.errors import UserError
from unix_bench.records.atomic import writing_to
from unix_bench.records.code import describe_code
from unix_bench.records.schema import Phase

PHASES_FILE = "phases.jsonl"
SIGN_OF_LIFE_S = 60.0
RESET_PEAK = "5"  # proc(5): makes VmHWM begin again
PROC = Path("/proc/self")


class PhaseLog:
    """The log of one process's phases; until the run's folder is there, they are kept in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._waiting: list[Phase] = []

    def open(self, folder: Path) -> None:
        """Write to this folder from now on, first of all what was measured so far."""
        self._folder = folder
        waiting, self._waiting = self._waiting, []
        for phase in waiting:
            self._write(phase)

    @contextmanager
    def phase(self, name: str, items: int = 0, protocol: str | None = None) -> Iterator[Running]:
        """Measure what happens inside.

        Args:
            name: Of the phase.
            items: Studies it will have got through at its end, where it does not count them itself.
            protocol: Of a scoring.
        """
        running = Running(self, name, protocol)
        try:
            yield running
        except BaseException:
            with suppress(UserError):  # what ended the phase is what is to be said
                running.write("stopped")
            raise
        running.items = running.items or items
        running.write("done")

    def _write(self, phase: Phase) -> None:
        if self._folder is None:
            self._waiting.append(phase)
            return
        line = (phase.model_dump_json(exclude_none=True) + "\n").encode()
        with writing_to(self._folder), (self._folder / PHASES_FILE).open("a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - 1))
            torn = end and stream.read() != b"\n"
            stream.write(b"\n" + line if torn else line)


class Running:
    """A phase at work."""

    def __init__(self, log: PhaseLog, name: str, protocol: str | None) -> None:
        self.items = 0
        self._log, self._name, self._protocol = log, name, protocol
        self._began, self._start = datetime.now(UTC).isoformat(timespec="microseconds"), time.monotonic()
        _reset_peaks()
        self.write("at work")

    def advance(self, count: int) -> None:
        """Count studies, and give a sign of life where the last one is a minute old."""
        self.items += count
        if time.monotonic() - self._written > SIGN_OF_LIFE_S:
            self.write("at work")

    def write(self, state: Literal["at work", "done", "stopped"]) -> None:
        """Add a line on how far it is."""
        self._written = time.monotonic()
        self._log._write(
            Phase(
                name=self._name,
                began=self._began,
                state=state,
                protocol=self._protocol,
                seconds=round(self._written - self._start, 3),
                items=self.items,
                peak_rss_mb=round(_peak_rss() / 1e6, 1),
                peak_cuda_mb=_peak_cuda_mb(),
                code=describe_code(),
            )
        )


def read_phases(folder: Path) -> list[Phase]:
    """The phases of a run in the order in which they began; a line that a crash cut off does not count."""
    found: dict[tuple[str, str], Phase] = {}
    with suppress(FileNotFoundError):
        for line in (folder / PHASES_FILE).read_bytes().splitlines():
            with suppress(ValidationError):
                phase = Phase.model_validate_json(line)
                found[phase.began, phase.name] = phase
    return [found[key] for key in sorted(found)]


def _reset_peaks() -> None:
    with suppress(OSError):  # not Linux, or not allowed: then the peak is that of the whole process
        (PROC / "clear_refs").write_text(RESET_PEAK)
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()


def _peak_rss() -> int:
    """Bytes."""
    with suppress(OSError, ValueError):
        for line in (PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_cuda_mb() -> float | None:
    cuda = _cuda()
    return None if cuda is None else round(cuda.max_memory_allocated() / 1e6, 1)


def _cuda() -> Any:
    """torch.cuda where this process uses it; this room does not import torch for it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
