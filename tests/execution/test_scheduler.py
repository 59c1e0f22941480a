"""Real workers, to which real things happen: every item is recorded once, and only a bad one as a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from faults import Doubler

from unix_bench.errors import Interrupted, UserError
from unix_bench.execution import Crew, Outcome, Scheduler, batch_plan, gather
from unix_bench.execution.stopping import Stop, graceful_stop

PROCESSES = Crew("process", ("cpu", "cpu"))
ONE = Crew("process", ("cpu",))
INLINE = Crew("inline", ("cpu",))
RAY = Crew("ray", ("cpu", "cpu"))


@pytest.fixture(autouse=True)
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unix_bench.execution.scheduler.PAUSE_S", 0.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # Ray's workers must find `faults`
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # it keeps one in the home folder, and each test has its own


def run(
    crew: Crew, doubler: Doubler, count: int = 6, size: int = 2, may_shrink: bool = True, deadline: float | None = None
) -> dict[int, Outcome[int, int]]:
    """The outcomes by item, each recorded once."""
    outcomes: list[Outcome[int, int]] = []
    with Scheduler(gather(crew, lambda device: doubler, 9), deadline) as scheduler:
        scheduler.run(batch_plan(range(count), size), outcomes.extend, may_shrink, Stop())
    assert sorted(outcome.item for outcome in outcomes) == list(range(count))
    return {outcome.item: outcome for outcome in outcomes}


def check(found: dict[int, Outcome[int, int]], bad: Sequence[int] = (), *parts: str) -> None:
    """All are doubled but the bad ones, whose error holds the parts."""
    for item, outcome in found.items():
        if item in bad:
            assert outcome.output is None
            assert all(part in str(outcome.error) for part in parts), outcome.error
        else:
            assert outcome == Outcome(item, 2 * item)


@pytest.mark.parametrize("crew", [INLINE, PROCESSES, RAY])
def test_a_bad_item_fails_alone(crew: Crew, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {3: "raise"})
    check(run(crew, doubler), [3], "ValueError: bad item")
    assert sorted(doubler.calls()) == [[0, 1], [2], [2, 3], [2, 3], [3], [4, 5]]


@pytest.mark.parametrize("crew", [INLINE, PROCESSES])
def test_a_batch_that_raises_once_is_done_as_it_was_planned(crew: Crew, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {3: "raise"}, once=frozenset({3}))
    check(run(crew, doubler))
    assert sorted(doubler.calls()) == [[0, 1], [2, 3], [2, 3], [4, 5]]


@pytest.mark.parametrize("crew", [INLINE, PROCESSES])
def test_memory_that_does_not_suffice_halves_the_batches(
    crew: Crew, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    doubler = Doubler(tmp_path, memory=2)
    check(run(crew, doubler, count=8, size=4))
    assert "memory does not suffice for 4 samples at once: going on with 2" in capfd.readouterr().err
    with pytest.raises(UserError, match="--deterministic keeps batches as they are: say --batch-size 2"):
        run(crew, doubler, count=8, size=4, may_shrink=False)


@pytest.mark.parametrize("crew", [INLINE, PROCESSES])
def test_a_users_mistake_ends_it(crew: Crew, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="yours"):
        run(crew, Doubler(tmp_path, {3: "user"}))
    with pytest.raises(UserError, match="yours"):
        run(crew, Doubler(tmp_path, start="user"))
    with pytest.raises(UserError, match="the model cannot be loaded: ValueError: bad item"):
        run(crew, Doubler(tmp_path, start="raise"))


@pytest.mark.parametrize("crew", [PROCESSES, RAY])
def test_a_worker_that_is_killed_once_costs_nothing(crew: Crew, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {2: "kill"}, once=frozenset({2}))
    check(run(crew, doubler))
    assert sorted(doubler.calls()) == [[0, 1], [2, 3], [2, 3], [4, 5]], "the same batch again, as it was planned"


@pytest.mark.parametrize(("fault", "says"), [("exit", "exited with code 7"), ("kill", "ended by SIGKILL")])
def test_an_item_that_kills_its_worker_is_given_up(fault: str, says: str, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {3: fault})
    check(run(PROCESSES, doubler), [3], "given up: 2 workers were lost with this sample alone", says)


def test_an_item_that_kills_its_actor_is_given_up(tmp_path: Path) -> None:
    check(run(RAY, Doubler(tmp_path, {3: "exit"})), [3], "given up: 2 workers were lost with this sample alone")


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {2: "hang", 5: "hang"}, once=frozenset({2}))
    check(run(PROCESSES, doubler, deadline=2.0), [5], "given up", "no answer within 2 s")


def test_a_device_that_fails_is_replaced_with_its_process(tmp_path: Path) -> None:
    check(run(ONE, Doubler(tmp_path, {2: "device"}, once=frozenset({2}))))
    with pytest.raises(UserError, match=r"the device failed.*run the same command again"):
        run(INLINE, Doubler(tmp_path, {2: "device"}))


def test_workers_that_never_start_end_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no worker can be started: the worker process exited with code 7"):
        run(PROCESSES, Doubler(tmp_path, start="exit"))


def test_where_every_worker_dies_no_sample_is_blamed(tmp_path: Path) -> None:
    recorded: list[Any] = []
    doubler = Doubler(tmp_path, dict.fromkeys(range(40), "exit"))
    with (
        pytest.raises(UserError, match=r"10 workers in a row were lost .* the machine is at fault"),
        Scheduler(gather(ONE, lambda device: doubler, 9)) as scheduler,
    ):
        scheduler.run(batch_plan(range(40), 8), recorded.extend, True, Stop())
    assert len(recorded) <= 4


def test_a_signal_lets_the_batch_at_work_finish(tmp_path: Path) -> None:
    recorded: list[Any] = []

    def record(outcomes: list[Any]) -> None:
        recorded.extend(outcomes)
        os.kill(os.getpid(), signal.SIGTERM)

    with (
        pytest.raises(Interrupted),
        graceful_stop() as stop,
        Scheduler(gather(INLINE, lambda device: Doubler(tmp_path), 9)) as scheduler,
    ):
        scheduler.run(batch_plan(range(6), 2), record, True, stop)
    assert [outcome.item for outcome in recorded] == [0, 1]


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """A batch that takes an hour, in a worker; two signals."""

    def signals() -> None:
        while not (tmp_path / "calls").exists():
            time.sleep(0.05)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    before = time.monotonic()
    threading.Thread(target=signals, daemon=True).start()
    with (
        pytest.raises(KeyboardInterrupt),
        graceful_stop() as stop,
        Scheduler(gather(ONE, lambda device: Doubler(tmp_path, {0: "hang"}), 9)) as scheduler,
    ):
        scheduler.run([[0]], lambda outcomes: None, True, stop)
    assert time.monotonic() - before < 600, "it does not wait for the batch"


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from faults import Doubler\n"
        "from unix_bench.execution import Crew, Scheduler, gather\n"
        "from unix_bench.execution.stopping import Stop\n"
        "if __name__ == '__main__':\n"
        "    crew = gather(Crew('process', ('cpu',)), lambda device: Doubler(Path(sys.argv[2]), {0: 'hang'}), 1)\n"
        "    with Scheduler(crew) as scheduler:\n"
        "        scheduler.wait_until_ready()\n"
        "        print(crew._processes[0][0].pid, flush=True)\n"
        "        scheduler.run([[0]], print, True, Stop())\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    words = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(600):
        if not Path(f"/proc/{worker}").exists() or "State:\tZ" in Path(f"/proc/{worker}/status").read_text():
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent by a minute")
