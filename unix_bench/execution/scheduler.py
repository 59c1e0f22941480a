"""Giving batches to workers until every item is settled, whatever becomes of the workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Generic, Literal, Self

from unix_bench.errors import Interrupted, UserError
from unix_bench.execution.ledger import Job, Ledger, Outcome
from unix_bench.execution.stopping import Stop
from unix_bench.execution.workers import Done, Event, Item, Lost, Output, Ready, Refused, Trouble, Workers

TURN_S = 0.5  # the longest wait before deadlines and signs of life are looked after
START_S = 3600.0  # for loading a model
FIRST_S = 3600.0  # for a first batch, which may compile
LEAST_S = 600.0  # for a later one,
TIMES_SLOWEST = 20  # and this many times the slowest so far
STARTS = 3  # a worker that is lost so often before it is ready is not started again
LOST_IN_A_ROW = 10  # workers, with no batch done in between: then it is no sample's fault
PAUSE_S = 1.0  # before a worker of a lost machine is started again


@dataclass(frozen=True)
class WorkerState:
    """One worker, for people who watch.

    Attributes:
        doing: "loading", "waiting", "at work", or "gone".
        items: In the batch at work.
        seconds: That it has been doing so.
        done: Items it has done.
        lost: How often it had to be started again.
    """

    name: str
    doing: Literal["loading", "waiting", "at work", "gone"] = "loading"
    items: int = 0
    seconds: float = 0.0
    done: int = 0
    lost: int = 0


@dataclass
class _Place(Generic[Item]):
    """What the scheduler knows of a worker."""

    state: WorkerState
    since: float = field(default_factory=time.monotonic)
    job: Job[Item] | None = None
    failed_starts: int = 0
    restart_at: float | None = None

    def becomes(self, state: WorkerState) -> None:
        self.state, self.since = state, time.monotonic()


class Scheduler(Generic[Item, Output]):
    """Workers at work; `with Scheduler(workers) as scheduler: scheduler.run(...)`."""

    def __init__(
        self,
        workers: Workers[Item],
        deadline_s: float | None = None,
        watch: Callable[[Sequence[WorkerState]], None] = lambda states: None,
    ) -> None:
        """Start every worker.

        Args:
            workers: Who does it.
            deadline_s: Seconds after which a batch counts as hung; None: twenty times the slowest one so far, and at
                least ten minutes.
            watch: Told how the workers are, twice a second or so where batches are done elsewhere.
        """
        self._workers, self._deadline, self._watch = workers, deadline_s, watch
        self._places: list[_Place[Item]] = [_Place(WorkerState(name)) for name in workers.names]
        self._slowest = 0.0
        self._in_a_row = 0

    def __enter__(self) -> Self:
        try:
            for worker in range(len(self._places)):
                self._workers.start(worker)
        except BaseException:
            self._workers.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    def wait_until_ready(self) -> None:
        """Return when one worker is ready.

        Raises:
            UserError: None can be made.
        """
        nothing: Ledger[Item, Output] = Ledger((), may_shrink=False)
        while not any(place.state.doing == "waiting" for place in self._places):
            self._turn(nothing)

    def run(
        self,
        batches: Sequence[Sequence[Item]],
        record: Callable[[list[Outcome[Item, Output]]], None],
        may_shrink: bool,
        stop: Stop,
    ) -> None:
        """Work through batches, recording what is settled as it is.

        Args:
            batches: What to do, in order.
            record: Takes outcomes; each item's is given once.
            may_shrink: Whether batches may be made smaller where memory is short.
            stop: Once it is requested, batches at work are finished, and no others begun.

        Raises:
            Interrupted: It was stopped.
            UserError: A mistake of the user's, or no worker stays alive; what was recorded stays.
        """
        ledger: Ledger[Item, Output] = Ledger(batches, may_shrink)
        while ledger.unsettled:
            if not stop.requested:
                self._give_out(ledger)
            elif all(place.job is None for place in self._places):
                raise Interrupted
            outcomes = self._turn(ledger)
            if outcomes:
                record(outcomes)

    def _give_out(self, ledger: Ledger[Item, Output]) -> None:
        for worker, place in enumerate(self._places):
            if place.state.doing == "waiting" and place.job is None and (job := ledger.take()) is not None:
                place.job = job
                place.becomes(replace(place.state, doing="at work", items=len(job.items)))
                self._workers.give(worker, job.items)

    def _turn(self, ledger: Ledger[Item, Output]) -> list[Outcome[Item, Output]]:
        """Hear what happened, and look after what did not; returns what is settled by it."""
        now = time.monotonic()
        self._watch([replace(place.state, seconds=round(now - place.since, 1)) for place in self._places])
        outcomes: list[Outcome[Item, Output]] = []
        for event in self._workers.wait(TURN_S):
            outcomes += self._hear(event, ledger)
        for worker in range(len(self._places)):
            outcomes += self._look_after(worker, ledger)
        return outcomes

    def _hear(self, event: Event, ledger: Ledger[Item, Output]) -> list[Outcome[Item, Output]]:
        place = self._places[event.worker]
        if isinstance(event, Refused):
            raise UserError(event.why)
        if isinstance(event, Lost):
            return self._lose(event.worker, event.why, ledger, event.blameless)
        if isinstance(event, Ready):
            place.failed_starts = 0
            place.becomes(replace(place.state, doing="waiting"))
            return []
        return self._done(event, place, ledger)

    def _done(
        self, event: Done[Output], place: _Place[Item], ledger: Ledger[Item, Output]
    ) -> list[Outcome[Item, Output]]:
        job, result = place.job, event.result
        assert job is not None, "a worker answers what it was given"
        if isinstance(result, Trouble) and result.kind == "device":
            self._workers.stop(event.worker)
            return self._lose(event.worker, f"the device failed: {result.why}", ledger)
        took = time.monotonic() - place.since
        self._in_a_row = 0
        place.job = None
        place.becomes(replace(place.state, doing="waiting", items=0, done=place.state.done + len(job.items)))
        if not isinstance(result, Trouble):
            self._slowest = max(self._slowest, took)
            return ledger.succeeded(job, result)
        if result.kind == "user":
            raise UserError(result.why)
        if result.kind == "sample":
            return ledger.raised(job, result.why)
        outcomes = ledger.out_of_memory(job, result.why)
        if not outcomes and len(job.items) > 1:
            _say(f"memory does not suffice for {len(job.items)} samples at once: going on with {ledger.ceiling}")
        return outcomes

    def _lose(
        self, worker: int, why: str, ledger: Ledger[Item, Output], blameless: bool = False
    ) -> list[Outcome[Item, Output]]:
        """A worker is gone, and its job with it; another one takes its place."""
        place = self._places[worker]
        job, place.job = place.job, None
        place.failed_starts += place.state.doing == "loading" and not blameless
        self._in_a_row += not blameless
        place.becomes(replace(place.state, doing="gone", items=0, lost=place.state.lost + 1))
        if self._in_a_row >= LOST_IN_A_ROW:
            raise UserError(
                f"{self._in_a_row} workers in a row were lost ({why}): the machine is at fault rather than the "
                "samples; what is recorded stays, and the same command goes on"
            )
        if place.failed_starts < STARTS:
            place.restart_at = time.monotonic() + PAUSE_S * (blameless or place.failed_starts)
        elif all(other.state.doing == "gone" and other.restart_at is None for other in self._places):
            raise UserError(f"no worker can be started: {why}")
        _say(f"{place.state.name}: {why}; {'the others go on' if place.restart_at is None else 'starting it again'}")
        if job is None:
            return []
        if blameless:
            ledger.give_back(job)
            return []
        return ledger.lost(job, why)

    def _look_after(self, worker: int, ledger: Ledger[Item, Output]) -> list[Outcome[Item, Output]]:
        """Start a worker again when it is time, and give up one that hangs."""
        place, now = self._places[worker], time.monotonic()
        if place.restart_at is not None and now >= place.restart_at:
            place.restart_at = None
            place.becomes(replace(place.state, doing="loading"))
            self._workers.start(worker)
        limit = START_S if place.state.doing == "loading" else self._limit()
        hangs = place.state.doing in ("loading", "at work") and now - place.since > limit
        if not hangs or not self._workers.replaceable:
            return []
        self._workers.stop(worker)
        return self._lose(worker, f"no answer within {limit:.0f} s", ledger)

    def _limit(self) -> float:
        if self._deadline is not None:
            return self._deadline
        return max(LEAST_S, TIMES_SLOWEST * self._slowest) if self._slowest else FIRST_S


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
