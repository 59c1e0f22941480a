"""What a run is doing, on whatever machine: from the sign of life in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from unix_bench.errors import UserError
from unix_bench.records.lease import read_heartbeat
from unix_bench.records.run_folder import RunFolder

State = Literal["at work", "silent", "died", "done", "not at work"]


@dataclass(frozen=True)
class RunStatus:
    """How a run, or a shard of one, is.

    Attributes:
        run: Its id; with a shard's name behind it.
        state: "silent": at work on another machine, which has given no sign of life for a while; "died": its process
            is gone; "done": a shard that can be merged.
        host, pid, began: Of the process at work; None where there is none.
        age_s: Seconds since its last sign of life.
        predictions: Recorded ones.
        failed: Those of them that failed.
        progress: What the process tells of itself: phase, done, total, rate, remaining_s, workers.
        shards: Its shards that were begun.
    """

    run: str
    state: State
    host: str | None
    pid: int | None
    began: str | None
    age_s: float | None
    predictions: int
    failed: int
    progress: dict[str, Any]
    shards: tuple[RunStatus, ...] = ()


def status_of(run: RunFolder, name: str | None = None) -> RunStatus:
    """Look at a run's folder.

    Args:
        run: Which.
        name: What to call it; None: its id.
    """
    beat = read_heartbeat(run.path)
    try:
        samples = list(run.samples().values())
        done = run.shard() is not None
    except UserError:  # damaged: whoever goes on with it says so
        samples, done = [], False
    states: dict[str, State] = {"alive": "at work", "silent": "silent", "dead": "died"}
    return RunStatus(
        run=name or run.id,
        state=states[beat.state] if beat else "done" if done else "not at work",
        host=beat.host if beat else None,
        pid=beat.pid if beat else None,
        began=beat.began if beat else None,
        age_s=beat.age_s if beat else None,
        predictions=len(samples),
        failed=sum(sample.error is not None for sample in samples),
        progress=beat.status if beat else {},
        shards=tuple(status_of(shard, f"{run.id}, shard {shard.id}") for shard in run.shards()),
    )
