"""Batches, and what a bad item does to its neighbours: nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unix_bench.errors import UserError
from unix_bench.execution import Outcome, batch_plan, choose_device, choose_dtype, run_inline


@given(st.lists(st.integers()), st.integers(1, 9))
def test_the_plan_keeps_order_and_loses_nothing(items: list[int], size: int) -> None:
    plan = batch_plan(items, size)
    assert [item for batch in plan for item in batch] == items
    assert all(len(batch) == size for batch in plan[:-1])


def test_a_bad_item_fails_alone() -> None:
    def work(batch: list[int]) -> list[int]:
        if 3 in batch:
            raise ValueError("three")
        return [10 * item for item in batch]

    recorded: list[list[Outcome[int, int]]] = []
    run_inline([[1, 2], [3, 4], []], work, recorded.append)
    assert recorded == [
        [Outcome(1, 10), Outcome(2, 20)],
        [Outcome(3, error="ValueError: three"), Outcome(4, 40)],
    ]


def test_too_few_outputs_fail_the_batch() -> None:
    recorded: list[list[Outcome[int, int]]] = []
    run_inline([[1, 2]], lambda batch: [1] if len(batch) > 1 else [], recorded.append)
    assert [outcome.output for outcome in recorded[0]] == [None, None]
    assert all(outcome.error for outcome in recorded[0])


@pytest.mark.parametrize("error", [UserError("yours"), KeyboardInterrupt()])
def test_what_passes_through(error: BaseException) -> None:
    def work(batch: list[int]) -> list[int]:
        raise error

    with pytest.raises(type(error)):
        run_inline([[1, 2]], work, lambda outcomes: None)


def test_devices_and_precision() -> None:
    assert choose_device("cpu") == "cpu"
    for wrong in ("gpu", "mps", "cuda:99"):
        with pytest.raises(UserError, match=f"--device {wrong}"):
            choose_device(wrong)
    assert choose_dtype("auto", "cpu", False) == "float32"
    assert choose_dtype("auto", "cuda", False) == "bfloat16"
    assert choose_dtype("auto", "cuda", True) == "float32"
    with pytest.raises(UserError, match="--dtype float16"):
        choose_dtype("float16", "cuda", False)
    assert choose_dtype("auto", "cpu:0", False) == "float32"
    with pytest.raises(UserError, match="there is one cpu"):
        choose_device("cpu:3")
    with pytest.raises(UserError, match="drop one"):
        choose_dtype("bfloat16", "cuda", True)
