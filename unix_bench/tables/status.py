"""What a run is doing, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from unix_bench.records import RunStatus
from unix_bench.tables.harmless import harmless

MEANING = {
    "at work": "at work",
    "silent": "at work on another machine, but silent",
    "died": "stopped where its process died: the same command goes on",
    "done": "done: `unix-bench merge` joins it with the others",
    "not at work": "not at work: the same command goes on",
}


def print_status(status: RunStatus) -> None:
    """Print how a run is, its workers and its shards."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in status_lines(status):
        console.print(harmless(line))


def status_lines(status: RunStatus) -> list[str]:
    """The lines of `print_status`, those of shards and workers indented."""
    failed = f", {status.failed} of them failed" if status.failed else ""
    lines = [f"{status.run}: {MEANING[status.state]} ({status.predictions} predictions recorded{failed})"]
    if status.host is not None:
        lines.append(
            f"  process {status.pid} on {status.host} since {status.began}; seen {status.age_s or 0:.0f} s ago"
        )
    if status.progress:
        lines += [f"  {line}" for line in _progress_lines(status.progress)]
    return lines + [f"  {line}" for shard in status.shards for line in status_lines(shard)]


def _progress_lines(told: Mapping[str, Any]) -> list[str]:
    """What a process told of itself, as far as it can be understood: another version may have."""
    rate, remaining = told.get("rate"), told.get("remaining_s")
    speed = f", {rate}/s, {remaining:.0f} s left" if isinstance(remaining, int | float) else ""
    lines = [f"{told.get('phase', 'working')}: {told.get('done', '?')} of {told.get('total', '?')}{speed}"]
    for worker in told.get("workers") or []:
        if isinstance(worker, Mapping):
            doing = f"{worker.get('doing')} for {worker.get('seconds')} s"
            lines.append(f"  {worker.get('name')}: {doing}, {worker.get('done')} done, lost {worker.get('lost')} times")
    return lines
