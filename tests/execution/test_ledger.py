"""Bookkeeping: whatever happens to calls, every item is settled once, and only a bad one as a failure."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unix_bench.errors import UserError
from unix_bench.execution import batch_plan
from unix_bench.execution.ledger import Job, Ledger, Outcome


@given(st.lists(st.integers()), st.integers(1, 9))
def test_the_plan_keeps_order_and_loses_nothing(items: list[int], size: int) -> None:
    plan = batch_plan(items, size)
    assert [item for batch in plan for item in batch] == items
    assert all(len(batch) == size for batch in plan[:-1])


@dataclass(frozen=True)
class World:
    """What is wrong with items, and how many fit into memory."""

    raising: frozenset[int]
    killing: frozenset[int]
    memory: int


def work(ledger: Ledger[int, int], job: Job[int], world: World) -> list[Outcome[int, int]]:
    if len(job.items) > world.memory:
        return ledger.out_of_memory(job, "no memory")
    if world.killing & set(job.items):
        return ledger.lost(job, "killed")
    if world.raising & set(job.items):
        return ledger.raised(job, "raised")
    return ledger.succeeded(job, [10 * item for item in job.items])


@given(
    st.integers(0, 40), st.integers(1, 9), st.data(),
    st.builds(World, st.frozensets(st.integers(0, 39)), st.frozensets(st.integers(0, 39)), st.integers(1, 9)),
)  # fmt: skip
def test_every_item_is_settled_once(count: int, size: int, data: st.DataObject, world: World) -> None:
    ledger: Ledger[int, int] = Ledger(batch_plan(range(count), size), may_shrink=True)
    at_work: list[Job[int]] = []
    outcomes: list[Outcome[int, int]] = []
    accidents = 3  # machines that go, with whatever was at work there
    while ledger.unsettled:
        assert ledger.unsettled == count - len(outcomes)
        job = ledger.take() if len(at_work) < 3 and data.draw(st.booleans()) else None
        if job is not None:
            at_work.append(job)
        elif at_work:
            done = at_work.pop(data.draw(st.integers(0, len(at_work) - 1)))
            if accidents and data.draw(st.booleans()):
                accidents -= 1
                ledger.give_back(done)
            else:
                outcomes += work(ledger, done, world)
        else:
            job = ledger.take()
            assert job is not None, "something is left, and neither at work nor to be had"
            at_work.append(job)
    assert ledger.take() is None
    assert sorted(outcome.item for outcome in outcomes) == list(range(count))
    bad = world.raising | world.killing
    for outcome in outcomes:
        assert (outcome.error is not None) == (outcome.item in bad)
        assert outcome.output == (None if outcome.item in bad else 10 * outcome.item)


def calls(world: World, batches: list[list[int]]) -> list[tuple[int, ...]]:
    ledger: Ledger[int, int] = Ledger(batches, may_shrink=True)
    seen = []
    while (job := ledger.take()) is not None:
        seen.append(job.items)
        work(ledger, job, world)
    return seen


def test_a_batch_that_raises_is_tried_again_as_it_was_before_it_is_taken_apart() -> None:
    world = World(frozenset({2}), frozenset(), 9)
    assert calls(world, [[1, 2, 3], [4]]) == [(1, 2, 3), (1, 2, 3), (1,), (2,), (3,), (4,)]
    assert calls(world, [[2]]) == [(2,), (2,)], "alone from the start, it has a second try too"


def test_a_batch_that_kills_is_tried_again_as_it_was_before_it_is_taken_apart() -> None:
    """It may have died of something else, and then its digits must be those of an undisturbed run."""
    world = World(frozenset(), frozenset({2}), 9)
    assert calls(world, [[1, 2], [4]]) == [(1, 2), (1, 2), (1,), (2,), (2,), (4,)]


def test_where_memory_is_short_later_batches_are_smaller_at_once() -> None:
    world = World(frozenset(), frozenset(), 2)
    assert calls(world, [[1, 2, 3, 4, 5], [6, 7, 8]]) == [(1, 2, 3, 4, 5), (1, 2), (3, 4), (5,), (6, 7), (8,)]
    strict: Ledger[int, int] = Ledger([[1, 2, 3, 4]], may_shrink=False)
    job = strict.take()
    assert job is not None
    with pytest.raises(UserError, match="--deterministic keeps batches as they are: say --batch-size 2"):
        strict.out_of_memory(job, "CUDA out of memory")


def test_too_few_outputs_fail_the_batch() -> None:
    ledger: Ledger[int, int] = Ledger([[1]], may_shrink=True)
    for _ in range(2):
        job = ledger.take()
        assert job is not None
        outcomes = ledger.succeeded(job, [])
    assert outcomes == [Outcome(1, error="0 outputs came of 1 samples")]
