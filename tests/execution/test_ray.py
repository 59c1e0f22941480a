"""Ray on a real cluster whose nodes come and go: a lost node blames no sample, a dead worker process does."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from faults import Doubler

from unix_bench.errors import UserError
from unix_bench.execution import Crew, Outcome, Scheduler, WorkerState, batch_plan, gather
from unix_bench.execution.stopping import Stop

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

# A lost node is known to be dead after some 5 s (else 13), well after the 2 s in which its actor cannot be reached
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 2000, "health_check_failure_threshold": 3}


class Site:
    """A head node that does no work, and nodes that come and go."""

    def __init__(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = []

    def add(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1))

    def lose(self) -> None:
        """The node that has been there longest goes without a word."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Site]:
    before = signal.getsignal(signal.SIGTERM)
    folder = Path(tempfile.mkdtemp(prefix="ub-", dir="/tmp"))  # short, for the paths of sockets
    (folder / "ray").mkdir()
    site: Site | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers must find `faults`
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # it keeps one in the home folder, and each test has its own
        patch.setenv("RAY_TMPDIR", str(folder))
        try:
            site = Site()
            yield site
        finally:
            if site is not None:
                site.cluster.shutdown()
            signal.signal(signal.SIGTERM, before)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(cluster: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("unix_bench.execution.scheduler.PAUSE_S", 0.0)
    yield cluster
    while cluster.nodes:
        cluster.lose()


def run(
    site: Site, workers: int, doubler: Doubler, watch: Callable[[Sequence[WorkerState]], None] = lambda states: None
) -> dict[int, Outcome[int, int]]:
    """The outcomes of six items in batches of three, each recorded once."""
    outcomes: list[Outcome[int, int]] = []
    crew = Crew("ray", ("cpu",) * workers, site.cluster.address)
    with Scheduler(gather(crew, lambda device: doubler, 9), deadline_s=60.0, watch=watch) as scheduler:
        scheduler.run(batch_plan(range(6), 3), outcomes.extend, True, Stop())
    assert sorted(outcome.item for outcome in outcomes) == list(range(6))
    return {outcome.item: outcome for outcome in outcomes}


DOUBLED = {item: Outcome(item, 2 * item) for item in range(6)}


@pytest.mark.slow
def test_nodes_that_go_blame_no_sample_however_often(site: Site, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, dict.fromkeys((0, 1, 2), "hang"), once=frozenset({0, 1, 2}))
    site.add()
    lost = 0

    def watch(states: Sequence[WorkerState]) -> None:
        nonlocal lost
        if lost < 3 and (tmp_path / f"once-{lost}").exists():  # the first batch hangs at its next item
            lost += 1
            site.add()  # first: it takes a while, and what is lost is to be heard of at once
            site.lose()

    assert run(site, 1, doubler, watch) == DOUBLED
    assert doubler.calls() == [[0, 1, 2]] * 4 + [[3, 4, 5]], "as it was planned, each time"


@pytest.mark.slow
def test_while_one_node_is_lost_the_other_goes_on(site: Site, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {0: "hang", 3: "hang"}, once=frozenset({0, 3}))
    site.add()
    site.add()
    lost = False

    def watch(states: Sequence[WorkerState]) -> None:
        nonlocal lost
        if not lost and (tmp_path / "once-0").exists() and (tmp_path / "once-3").exists():
            lost = True
            for _ in range(2):
                site.add()
                site.lose()

    assert run(site, 2, doubler, watch) == DOUBLED
    assert sorted(doubler.calls()) == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2


@pytest.mark.slow
def test_a_worker_process_that_is_killed_on_a_live_node_counts(site: Site, tmp_path: Path) -> None:
    doubler = Doubler(tmp_path, {1: "kill"})
    site.add()
    found = run(site, 1, doubler)
    failed = found.pop(1)
    assert failed.output is None
    assert "given up: 2 workers were lost with this sample alone" in str(failed.error)
    assert "worker process has died" in str(failed.error)
    assert found == {item: outcome for item, outcome in DOUBLED.items() if item != 1}
    assert doubler.calls() == [[0, 1, 2]] * 2 + [[0], [1], [1], [2], [3, 4, 5]]


@pytest.mark.slow
def test_a_crew_waits_for_room_and_makes_do_with_what_there_is(site: Site, tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def watch(states: Sequence[WorkerState]) -> None:
        seen.append({state.doing for state in states})
        if len(seen) == 4:
            site.add()

    assert run(site, 3, Doubler(tmp_path), watch) == DOUBLED
    assert seen[:4] == [{"loading"}] * 4
    assert len(seen) > 4


@pytest.mark.slow
def test_signals_are_left_as_they_were(site: Site, tmp_path: Path) -> None:
    import ray

    def note(*_: Any) -> None: ...

    before = signal.signal(signal.SIGTERM, note)
    try:
        for address in (site.cluster.address, "local"):
            workers = gather(Crew("ray", ("cpu",), address), lambda device: Doubler(tmp_path), 1)
            assert ray.is_initialized()
            assert signal.getsignal(signal.SIGTERM) is note
            workers.close()
            assert not ray.is_initialized()
            assert signal.getsignal(signal.SIGTERM) is note
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_address_where_nothing_answers_is_said_soon(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(UserError, match=f"the Ray cluster at '{nowhere}' cannot be reached") as caught:
            gather(Crew("ray", ("cpu",), nowhere), lambda device: Doubler(tmp_path), 1)
    assert time.monotonic() - start < 60.0
    assert "\n" not in str(caught.value)
