"""What is left of a list of batches, and what follows when one goes wrong: bookkeeping alone, no worker in sight."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from unix_bench.errors import UserError

Item = TypeVar("Item")
Output = TypeVar("Output")

TRIES = 2  # of a batch before it is taken apart, and of a lone item before it has failed


def batch_plan(items: Sequence[Item], batch_size: int) -> list[list[Item]]:
    """Consecutive batches; the plan depends on the items and the size alone, so that a resumed run repeats it.

    >>> batch_plan("abcde", 2)
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    return [list(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]


@dataclass(frozen=True)
class Outcome(Generic[Item, Output]):
    """What became of one item: an output, or the reason why there is none."""

    item: Item
    output: Output | None = None
    error: str | None = None


@dataclass(frozen=True)
class Job(Generic[Item]):
    """Items to be done in one call, and what came of earlier calls.

    Attributes:
        failures: Calls that raised.
        losses: Calls that no worker survived.
    """

    items: tuple[Item, ...]
    failures: int = 0
    losses: int = 0


class Ledger(Generic[Item, Output]):
    """Every item is settled exactly once, whatever goes wrong.

    - A batch that raises is done again as it was, since the cause may be something else and its digits are to be
      those of an undisturbed run; then item by item, so that one bad item does not take its neighbours with it. An
      item that raises again, now alone, has failed.
    - So is a batch that no worker survives. An item that kills worker after worker, alone, is given up: quarantined,
      as a failure.
    - A batch for which memory does not suffice is halved, and so is every later one; where batches must stay as they
      are planned, that is the end.
    """

    def __init__(self, batches: Iterable[Sequence[Item]], may_shrink: bool) -> None:
        """Begin with everything left.

        Args:
            batches: What to do, in order.
            may_shrink: Whether batches may be made smaller where memory is short.
        """
        self._queue = deque(Job(tuple(batch)) for batch in batches if batch)
        self._may_shrink = may_shrink
        self._ceiling: int | None = None
        self.unsettled = sum(len(job.items) for job in self._queue)

    def take(self) -> Job[Item] | None:
        """The next job; None: all are settled or at work."""
        if not self._queue:
            return None
        job = self._queue.popleft()
        if self._ceiling is not None and len(job.items) > self._ceiling:
            job = self._first_part(job, self._ceiling)
        return job

    def succeeded(self, job: Job[Item], outputs: Sequence[Output]) -> list[Outcome[Item, Output]]:
        """Settle a job by its outputs, one an item, in order."""
        if len(outputs) != len(job.items):
            return self.raised(job, f"{len(outputs)} outputs came of {len(job.items)} samples")
        return self._settle([Outcome(item, output) for item, output in zip(job.items, outputs, strict=True)])

    def raised(self, job: Job[Item], reason: str) -> list[Outcome[Item, Output]]:
        """A call raised; returns what is settled by that."""
        job = replace(job, failures=job.failures + 1)
        if job.failures < TRIES:
            self._queue.appendleft(job)
        elif len(job.items) > 1:
            self._take_apart(replace(job, failures=TRIES - 1))
        else:
            return self._settle([Outcome(job.items[0], error=reason)])
        return []

    def out_of_memory(self, job: Job[Item], reason: str) -> list[Outcome[Item, Output]]:
        """Memory did not suffice for a call; returns what is settled by that.

        Raises:
            UserError: The batches must stay as they are planned.
        """
        size = len(job.items)
        if size == 1:
            return self.raised(job, reason)
        if not self._may_shrink:
            raise UserError(
                f"memory does not suffice for {size} samples at once, and --deterministic keeps batches as they are: "
                f"say --batch-size {size // 2} ({reason})"
            )
        self._ceiling = min(self._ceiling or size, max(1, size // 2))
        self._queue.appendleft(job)
        return []

    def lost(self, job: Job[Item], why: str) -> list[Outcome[Item, Output]]:
        """The worker did not survive a call; returns what is settled by that."""
        job = replace(job, losses=job.losses + 1)
        if job.losses < TRIES:
            self._queue.appendleft(job)
        elif len(job.items) > 1:
            self._take_apart(replace(job, losses=0))
        else:
            reason = f"given up: {job.losses} workers were lost with this sample alone ({why})"
            return self._settle([Outcome(job.items[0], error=reason)])
        return []

    def give_back(self, job: Job[Item]) -> None:
        """A call came to nothing through no fault of its items."""
        self._queue.appendleft(job)

    @property
    def ceiling(self) -> int | None:
        """Largest batch that memory is trusted with; None: as planned."""
        return self._ceiling

    def _first_part(self, job: Job[Item], size: int) -> Job[Item]:
        self._queue.appendleft(replace(job, items=job.items[size:]))
        return replace(job, items=job.items[:size])

    def _take_apart(self, job: Job[Item]) -> None:
        self._queue.extendleft(replace(job, items=(item,)) for item in reversed(job.items))

    def _settle(self, outcomes: list[Outcome[Item, Output]]) -> list[Outcome[Item, Output]]:
        self.unsettled -= len(outcomes)
        return outcomes
