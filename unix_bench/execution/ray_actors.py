"""Workers that are Ray Core actors, on this machine or anywhere in a cluster whose nodes see the same files.

Ray restarts and retries nothing by itself: the bookkeeping is the scheduler's. A worker that goes with its node is no
sample's fault. When a node goes, Ray says at first only that the actor cannot be reached, and takes some ten seconds
more to find the node dead; so an actor that cannot be reached is asked again until it answers or Ray knows its fate.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic

from unix_bench.errors import UserError
from unix_bench.execution.workers import (
    Done,
    Event,
    Item,
    Lost,
    Make,
    Output,
    Ready,
    Refused,
    Trouble,
    attempt,
    make_worker,
)

try:
    import ray
    from ray.exceptions import ActorUnavailableError, RayActorError, RayError
except ImportError as error:
    raise UserError("--executor ray needs Ray: pip install 'unix-bench[ray]'") from error


NODE_DIED = re.compile(r"because its node has died|actor's node was (terminated|preempted)")
DETAILS = re.compile(r"^\t(class_name|actor_id|pid|name|namespace|ip): .*$", re.MULTILINE)  # of a dead actor
ANSWER_S = 10.0  # for a connection to the cluster's port
ATTEMPTS = "RAY_gcs_server_port_wait_time_s"  # how often Ray tries to speak with a cluster, which takes 40 s each time
ASK_AGAIN_S = 0.2


class RayWorkers(Generic[Item, Output]):
    """Actors, each with a call at work at most."""

    replaceable = True

    def __init__(self, makes: Sequence[Make[Item, Output]], names: Sequence[str], address: str) -> None:
        """Connect to the cluster, or start one of this machine.

        Args:
            makes: Makes the worker, one each.
            names: One a worker.
            address: "local", or that of a cluster as `ray.init` takes it.

        Raises:
            UserError: The cluster cannot be reached.
        """
        self.names = names
        self._makes = makes
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}  # what is waited for -> worker
        self._nodes: dict[int, str] = {}  # where a worker was last seen
        self._asked: set[Any] = set()  # calls that only ask whether a worker can be reached again
        self._connected = False
        self._folder: str | None = None
        if address == "local":  # short: the path of a socket has at most 107 letters; own: others run Ray here as well
            self._folder = tempfile.mkdtemp(prefix="ub-", dir="/tmp")
        try:
            self._connect(address)
        except BaseException:
            self.close()
            raise

    def _connect(self, address: str) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        before = signal.getsignal(signal.SIGTERM)
        try:
            if self._folder is not None:
                ray.init(
                    address="local",
                    num_cpus=len(self._makes),
                    include_dashboard=False,
                    _temp_dir=self._folder,
                    **quiet,
                )
                self._connected = True
            elif not ray.is_initialized():
                _check_that_something_answers(address)
                with _one_attempt():
                    ray.init(address=address, **quiet)
                self._connected = True
        except (RuntimeError, ValueError, OSError, OverflowError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:200]
            raise UserError(
                f"the Ray cluster at '{address}' cannot be reached ({reason}): start it, or set ray_address right"
            ) from error
        finally:
            with suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGTERM, before)  # which Ray takes for itself
        self._actor: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)

    def start(self, worker: int) -> None:
        self.stop(worker)
        make = self._makes[worker]
        uses_gpu = self.names[worker].endswith("(cuda)")
        self._actors[worker] = actor = self._actor.options(num_cpus=1, num_gpus=int(uses_gpu)).remote()
        self._calls[actor.make.remote(make)] = worker

    def give(self, worker: int, items: Sequence[Item]) -> None:
        self._calls[self._actors[worker].do.remote(list(items))] = worker

    def wait(self, seconds: float) -> list[Event]:
        if not self._calls:
            time.sleep(seconds)
            return []
        finished, _ = ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        return [event for call in finished if (event := self._event(call)) is not None]

    def stop(self, worker: int) -> None:
        self._calls = {call: other for call, other in self._calls.items() if other != worker}
        actor = self._actors.pop(worker, None)
        if actor is not None:
            ray.kill(actor)

    def close(self) -> None:
        with suppress(RayError):  # the cluster is gone, and they with it
            for worker in list(self._actors):
                self.stop(worker)
        if self._connected:
            ray.shutdown()
            self._connected = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _event(self, call: Any) -> Event | None:
        worker = self._calls.pop(call)
        asked = call in self._asked
        self._asked.discard(call)
        try:
            said = ray.get(call)
        except ActorUnavailableError:
            if asked:
                time.sleep(ASK_AGAIN_S)
            again = self._actors[worker].is_there.remote()
            self._asked.add(again)
            self._calls[again] = worker
            return None
        except RayError as error:  # the actor died, or what it said is lost
            said = str(error)
            if not isinstance(error, RayActorError):
                self.stop(worker)
            why = " ".join(DETAILS.sub("", said).split())[:300]
            return Lost(worker, why, blameless=self._node_is_gone(worker, said))
        if asked:
            self.stop(worker)
            return Lost(worker, "its node could not be reached for a while", blameless=True)
        if isinstance(said, _Made):
            self._nodes[worker] = said.node
            return Ready(worker) if said.problem is None else Refused(worker, said.problem)
        return Done(worker, said)

    def _node_is_gone(self, worker: int, said: str) -> bool:
        if NODE_DIED.search(said):
            return True
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        alive = {node["NodeID"] for node in nodes if node["Alive"]}
        return worker in self._nodes and self._nodes[worker] not in alive


def _check_that_something_answers(address: str) -> None:
    """Raise `OSError` where nothing listens: `ray.init` would try for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # else "auto": whatever Ray finds
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()


@contextmanager
def _one_attempt() -> Iterator[None]:
    """Let Ray try but once to connect, unless the user says how often."""
    stated = os.environ.get(ATTEMPTS)
    os.environ[ATTEMPTS] = stated or "1"
    try:
        yield
    finally:
        if stated is None:
            del os.environ[ATTEMPTS]


@dataclass(frozen=True)
class _Made:
    """Where an actor lives, and why it is of no use if it is not."""

    node: str
    problem: str | None


class _Actor:
    """The life of a worker."""

    def make(self, make: Make[Any, Any]) -> _Made:
        work = make_worker(make)
        if not isinstance(work, str):
            self._work = work
        return _Made(ray.get_runtime_context().get_node_id(), work if isinstance(work, str) else None)

    def is_there(self) -> None:
        """Answers whoever asks."""

    def do(self, items: Sequence[Any]) -> list[Any] | Trouble:
        return attempt(self._work, items)
