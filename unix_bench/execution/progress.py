"""Progress on standard error: a bar on a terminal, now and then a plain line in a log, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from unix_bench.execution.scheduler import WorkerState

Style = Literal["auto", "json", "none"]
PROGRESS: tuple[Style, ...] = ("auto", "json", "none")
LINES = 5  # plain lines a phase, about
INTERVAL = 600.0  # and one at least every so many seconds
JSON_INTERVAL = 1.0

_style: Style = "auto"


@contextmanager
def progress_as(style: Style) -> Iterator[None]:
    """Choose how every `ProgressLine` of this process shows itself meanwhile.

    Args:
        style: "auto": a bar on a terminal, else a few plain lines; "json": an object a line; "none": not at all.
    """
    global _style
    before, _style = _style, style
    try:
        yield
    finally:
        _style = before


class _Bar(BarColumn):
    """A bar for the whole, none for a worker."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        return Text() if task.total is None else super().render(task)


class ProgressLine:
    """Progress of one phase; `with ProgressLine("drawing", 71) as line: line.advance(8)`."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._done = self._failed = 0
        self._start = self._said = time.monotonic()
        self._workers: Sequence[WorkerState] = ()
        self._worker_lines: list[TaskID] = []
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal and _style == "auto":
            columns: tuple[ProgressColumn, ...] = (
                TextColumn("{task.description}", markup=False),
                _Bar(),
                TextColumn("{task.fields[note]}", markup=False),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(label, total=total, note="")

    def advance(self, count: int, failed: int = 0) -> None:
        """Count finished items, and how many of them failed."""
        self._done += count
        self._failed += failed
        if self._bar is not None:
            self._bar.update(self._task, advance=count, note=self._summary())
        elif _style == "json":
            self._say_json(at_once=self._done == self._total)
        elif _style == "auto" and self._line_is_due(count):
            self._say()

    def show_workers(self, workers: Sequence[WorkerState]) -> None:
        """Show how the workers are; one alone needs no line of its own."""
        self._workers = workers
        if _style == "json":
            self._say_json()
        if self._bar is None or len(workers) < 2:
            return
        if not self._worker_lines:
            self._worker_lines = [self._bar.add_task(f"  {worker.name}", total=None, note="") for worker in workers]
        for line, worker in zip(self._worker_lines, workers, strict=True):
            self._bar.update(line, note=_described(worker))

    def snapshot(self) -> dict[str, Any]:
        """How far it is, for programs: counts, items a second and seconds that remain (None: not known), workers."""
        seconds = time.monotonic() - self._start
        rate = self._done / seconds if seconds > 0 and self._done else None
        return {
            "phase": self._label,
            "done": self._done,
            "total": self._total,
            "failed": self._failed,
            "rate": rate and round(rate, 3),
            "remaining_s": rate and round((self._total - self._done) / rate, 1),
            "workers": [asdict(worker) for worker in self._workers],
        }

    def _line_is_due(self, count: int) -> bool:
        step = max(1, self._total // LINES)
        passed_mark = self._done // step > (self._done - count) // step
        return self._done == self._total or passed_mark or time.monotonic() - self._said > INTERVAL

    def _say(self) -> None:
        self._said = time.monotonic()
        print(f"{self._label}: {self._summary()}", file=sys.stderr, flush=True)

    def _summary(self) -> str:
        """Done, rate, time that remains, failures so far."""
        now = self.snapshot()
        speed = f", {now['rate']:.1f}/s, {timedelta(seconds=round(now['remaining_s']))} left" if now["rate"] else ""
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._done}/{self._total}{speed}{failed}"

    def _say_json(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._said >= JSON_INTERVAL:
            self._said = now
            print(json.dumps(self.snapshot()), file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        elif _style == "json":
            self._say_json(at_once=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _described(worker: WorkerState) -> str:
    """What a worker does, in a few words."""
    lost = f", lost {worker.lost} times" if worker.lost else ""
    batch = f", {worker.items} samples" if worker.items else ""
    return f"{worker.doing} for {worker.seconds:.0f} s{batch}; {worker.done} done{lost}"
