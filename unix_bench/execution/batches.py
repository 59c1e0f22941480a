"""Doing what is left of a list of items, in batches fixed beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from unix_bench.errors import UserError

Item = TypeVar("Item")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Outcome(Generic[Item, Output]):
    """What became of one item: an output, or the reason why there is none."""

    item: Item
    output: Output | None = None
    error: str | None = None


def batch_plan(items: Sequence[Item], batch_size: int) -> list[list[Item]]:
    """Consecutive batches; the plan depends on the items and the size alone, so that a resumed run repeats it.

    >>> batch_plan("abcde", 2)
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    return [list(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]


def run_inline(
    batches: Sequence[Sequence[Item]],
    work: Callable[[Sequence[Item]], Sequence[Output]],
    record: Callable[[list[Outcome[Item, Output]]], None],
) -> None:
    """Work through batches in this process, recording each as it is done.

    A batch that raises is tried again item by item, so that one bad item does not take its neighbours with it.

    Args:
        batches: What to do, in order.
        work: Outputs of a batch, one an item, in order.
        record: Takes the outcomes of a batch.

    Raises:
        UserError: A mistake of the user's, or the device is lost; what was recorded stays.
    """
    for batch in filter(None, batches):
        outcomes = _attempt(batch, work)
        if len(batch) > 1 and outcomes[0].error is not None:
            outcomes = [_attempt([item], work)[0] for item in batch]
        record(outcomes)


def _attempt(batch: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Output]]) -> list[Outcome[Item, Output]]:
    """Outcomes of one batch; all of them failed where it raised. Nothing of the failure stays in memory."""
    try:
        outputs = work(batch)
        return [Outcome(item, output) for item, output in zip(batch, outputs, strict=True)]
    except UserError:
        raise
    except torch.AcceleratorError as error:  # the device is of no more use, whatever the sample
        raise UserError(f"the device failed ({error}): run the same command again to go on") from error
    except Exception as error:  # whatever a model raises becomes a record of the sample, never the end of the run
        reason = f"{type(error).__name__}: {error}"
    return [Outcome(item, error=reason) for item in batch]
