"""Progress on standard error: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINES = 5  # plain lines a phase, about
INTERVAL = 30.0  # and one at least every so many seconds


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class ProgressLine:
    """Progress of one phase; `with ProgressLine("drawing", 71) as line: line.advance(8)`."""

    def __init__(self, label: str, total: int, quiet: bool = False) -> None:
        self._label, self._total, self._quiet = label, total, quiet
        self._done = self._failed = 0
        self._start = self._said = time.monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(label, total=total)

    def advance(self, count: int, failed: int = 0) -> None:
        """Count finished items, and how many of them failed."""
        self._done += count
        self._failed += failed
        if self._bar is not None:
            note = f" ({self._failed} failed)" if self._failed else ""
            self._bar.update(self._task, advance=count, description=self._label + note)
        elif not self._quiet and self._line_is_due(count):
            self._say()

    def _line_is_due(self, count: int) -> bool:
        step = max(1, self._total // LINES)
        passed_mark = self._done // step > (self._done - count) // step
        return self._done == self._total or passed_mark or time.monotonic() - self._said > INTERVAL

    def _say(self) -> None:
        self._said = time.monotonic()
        rate = self._done / max(self._said - self._start, 1e-9)
        remaining = (self._total - self._done) / rate if rate else 0.0
        failed = f", {self._failed} failed" if self._failed else ""
        text = f"{self._label}: {self._done}/{self._total}, {rate:.1f}/s, {remaining:.0f} s left{failed}"
        print(text, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
