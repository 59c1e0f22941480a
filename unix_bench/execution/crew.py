"""Who does the work: which kind of workers, how many, on which devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from unix_bench.errors import UserError
from unix_bench.execution.inline import InlineWorkers
from unix_bench.execution.process import ProcessWorkers
from unix_bench.execution.workers import Item, Make, Output, Workers

Executor = Literal["inline", "process", "ray"]
EXECUTORS: tuple[Executor, ...] = ("inline", "process", "ray")


@dataclass(frozen=True)
class Crew:
    """Workers that are to be.

    Attributes:
        devices: One a worker.
        address: Of the Ray cluster; "local": one of this machine, for this run alone.
    """

    executor: Executor
    devices: tuple[str, ...]
    address: str = "local"


def choose_crew(executor: Executor | None, workers: int | None, device: str, address: str) -> Crew:
    """Decide what was left open: several CUDA devices have a process each, all else is done inline.

    Args:
        executor: None: as fits.
        workers: None: one a device.
        device: "cpu", "cuda" for whichever are there, or "cuda:I".
        address: Of the Ray cluster.

    Raises:
        UserError: One process cannot be several workers.
    """
    several = device == "cuda" and torch.cuda.device_count() > 1
    if executor is None:
        executor = "process" if several or (workers or 1) > 1 else "inline"
    if executor == "inline" and (workers or 1) > 1:
        raise UserError(f"--workers {workers} needs --executor process or ray: inline is this one process")
    if executor == "ray":  # which devices there are, the cluster knows; each worker sees its own as the first
        return Crew(executor, (device.partition(":")[0],) * (workers or 1), address)
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if several else [device]
    if executor == "inline":
        return Crew(executor, (device,))
    count = workers or len(devices)
    return Crew(executor, tuple(devices[index % len(devices)] for index in range(count)))


def gather(crew: Crew, make: Callable[[str], Make[Item, Output]], most: int) -> Workers[Item]:
    """The crew, not yet started.

    Args:
        crew: Who is wanted.
        make: What makes a worker on a device.
        most: More than these would have nothing to do.

    Raises:
        UserError: Ray is not installed, or its cluster cannot be reached.
    """
    devices = crew.devices[: max(1, most)]
    if crew.executor == "inline":
        return InlineWorkers(make(devices[0]))
    makes = [make(device) for device in devices]
    names = [f"worker {index} ({device})" for index, device in enumerate(devices)]
    if crew.executor == "process":
        return ProcessWorkers(makes, names)
    from unix_bench.execution.ray_actors import RayWorkers

    return RayWorkers(makes, names, crew.address)
