"""Workers that are processes of this machine, one a device.

Each is spawned, so that it has a CUDA context of its own, and dies with its parent. It leaves signals to the parent: a
Ctrl-C reaches every process of a terminal, and the batch at work is to be finished.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic

from unix_bench.execution.workers import (
    Done,
    Event,
    Item,
    Lost,
    Make,
    Output,
    Ready,
    Refused,
    attempt,
    make_worker,
)

JOIN_S = 10.0  # a killed process that is still there after so long is left to the system


class ProcessWorkers(Generic[Item, Output]):
    """Spawned processes, each at the other end of a pipe."""

    replaceable = True

    def __init__(self, makes: Sequence[Make[Item, Output]], names: Sequence[str]) -> None:
        """Nothing is started yet.

        Args:
            makes: Makes the worker, one each.
            names: One a worker.
        """
        self.names = names
        self._makes = makes
        self._events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        self._lives = [0] * len(makes)  # of each worker, so that nothing is heard of one that was stopped
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}

    def start(self, worker: int) -> None:
        self.stop(worker)
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(there, self._makes[worker]), daemon=True)
        process.start()
        there.close()  # so that the pipe ends with the process
        self._processes[worker] = process, here
        listener = threading.Thread(target=self._listen, args=(worker, self._lives[worker], process, here), daemon=True)
        listener.start()

    def give(self, worker: int, items: Sequence[Item]) -> None:
        with suppress(OSError):  # it is dead already, which the listener says
            self._processes[worker][1].send(list(items))

    def wait(self, seconds: float) -> list[Event]:
        heard: list[tuple[int, Event]] = []
        with suppress(queue.Empty):
            heard.append(self._events.get(timeout=seconds))
            while True:
                heard.append(self._events.get_nowait())
        return [event for life, event in heard if life == self._lives[event.worker]]

    def stop(self, worker: int) -> None:
        self._lives[worker] += 1
        process, _ = self._processes.pop(worker, (None, None))
        if process is not None:
            process.kill()
            process.join(JOIN_S)

    def close(self) -> None:
        for process, _ in self._processes.values():
            process.kill()
        for worker in list(self._processes):
            self.stop(worker)

    def _listen(self, worker: int, life: int, process: SpawnProcess, connection: Connection) -> None:
        """Pass on what a worker says until it is gone; in a thread, so that half a message holds up nobody."""
        while True:
            try:
                wait([connection, process.sentinel])
                event: Event = _event(worker, connection.recv()) if connection.poll() else _lost(worker, process)
            except Exception:  # the pipe ended, within a message perhaps: what was sent cannot be read
                event = _lost(worker, process)
            self._events.put((life, event))
            if isinstance(event, Lost | Refused):
                connection.close()  # here, where nobody reads it any more
                return


def _event(worker: int, said: Any) -> Event:
    """A worker says None when it is ready, a string when it cannot be made, else what came of a batch."""
    if said is None:
        return Ready(worker)
    return Refused(worker, said) if isinstance(said, str) else Done(worker, said)


def _lost(worker: int, process: SpawnProcess) -> Lost:
    process.join(JOIN_S)
    code = process.exitcode
    if code is None:
        return Lost(worker, "the worker process closed its pipe")
    if code >= 0:
        return Lost(worker, f"the worker process exited with code {code}")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = ", as the kernel does where memory is short" if name == "SIGKILL" else ""
    return Lost(worker, f"the worker process was ended by {name}{hint}")


def _serve(connection: Connection, make: Make[Any, Any]) -> None:
    """The life of a worker."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work = make_worker(make)
    if isinstance(work, str):
        connection.send(work)
        return
    with suppress(EOFError, OSError):  # the parent is gone
        connection.send(None)
        while True:
            connection.send(attempt(work, connection.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
