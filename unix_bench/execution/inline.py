"""One worker in this very process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from unix_bench.errors import UserError
from unix_bench.execution.workers import (
    Done,
    Event,
    Item,
    Make,
    Output,
    Ready,
    Refused,
    Trouble,
    Work,
    attempt,
    make_worker,
)


class InlineWorkers(Generic[Item, Output]):
    """Batches are done while they are given; a hung one cannot be ended from here."""

    names: Sequence[str] = ("this process",)
    replaceable = False

    def __init__(self, make: Make[Item, Output]) -> None:
        self._make = make
        self._work: Work[Item, Output] | None = None
        self._events: list[Event] = []

    def start(self, worker: int) -> None:
        made = make_worker(self._make)
        self._work = None if isinstance(made, str) else made
        self._events.append(Refused(worker, made) if isinstance(made, str) else Ready(worker))

    def give(self, worker: int, items: Sequence[Item]) -> None:
        assert self._work is not None, "only a ready worker is given something"
        result = attempt(self._work, items)
        if isinstance(result, Trouble) and result.kind == "device":
            raise UserError(f"the device failed ({result.why}): run the same command again to go on")
        self._events.append(Done(worker, result))

    def wait(self, seconds: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stop(self, worker: int) -> None:
        self._work = None

    def close(self) -> None:
        self._work = None
