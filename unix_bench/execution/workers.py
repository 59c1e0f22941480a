"""What the scheduler and its workers say to each other; `inline`, `process` and `ray_actors` are the kinds of workers.

A worker is made by a function that may be sent to another process, and does one batch at a time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch

from unix_bench.errors import UserError

Item = TypeVar("Item")
Output = TypeVar("Output")
Given = TypeVar("Given", contravariant=True)
Work = Callable[[Sequence[Item]], Sequence[Output]]
Make = Callable[[], Work[Item, Output]]
Kind = Literal["sample", "memory", "device", "user"]


@dataclass(frozen=True)
class Trouble:
    """Why a batch has no outputs.

    Attributes:
        kind: "sample": the model raised; "memory": there was too little; "device": it is of no more use; "user": what
            the user said is wrong, whatever the sample.
    """

    kind: Kind
    why: str


@dataclass(frozen=True)
class Ready:
    """A worker has loaded what it needs."""

    worker: int


@dataclass(frozen=True)
class Refused:
    """A worker cannot be made, and another one could not either."""

    worker: int
    why: str


@dataclass(frozen=True)
class Done(Generic[Output]):
    """A batch came to its end."""

    worker: int
    result: list[Output] | Trouble


@dataclass(frozen=True)
class Lost:
    """A worker is gone.

    Attributes:
        blameless: It went with its machine, so no sample is to blame.
    """

    worker: int
    why: str
    blameless: bool = False


Event = Ready | Refused | Done[Any] | Lost


class Workers(Protocol[Given]):
    """Some workers of one kind.

    Attributes:
        names: One a worker, for people.
        replaceable: Whether a lost or hung worker can be stopped and started again.
    """

    names: Sequence[str]
    replaceable: bool

    def start(self, worker: int) -> None:
        """Begin to make a worker; `Ready`, `Refused` or `Lost` follows."""

    def give(self, worker: int, items: Sequence[Given]) -> None:
        """Give a ready worker a batch; `Done` or `Lost` follows."""

    def wait(self, seconds: float) -> list[Event]:
        """What happened, waiting at most so long for something to."""

    def stop(self, worker: int) -> None:
        """End a worker at once; no event follows."""

    def close(self) -> None:
        """End all workers at once."""


def make_worker(make: Make[Item, Output]) -> Work[Item, Output] | str:
    """Make a worker; a string says why that is impossible."""
    try:
        return make()
    except UserError as error:
        return str(error)
    except Exception as error:  # whatever a model raises while it loads, the user is told in one line
        return f"the model cannot be loaded: {type(error).__name__}: {error}"


def attempt(work: Work[Item, Output], items: Sequence[Item]) -> list[Output] | Trouble:
    """Do a batch; whatever a model raises becomes trouble, and nothing of it stays in memory."""
    try:
        return list(work(items))
    except UserError as error:
        return Trouble("user", str(error))
    except (torch.OutOfMemoryError, MemoryError) as error:
        trouble = Trouble("memory", _named(error))
    except torch.AcceleratorError as error:
        return Trouble("device", str(error))
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch has no class of its own for the CPU's memory
            return Trouble("sample", _named(error))
        trouble = Trouble("memory", _named(error))
    except Exception as error:
        return Trouble("sample", _named(error))
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return trouble


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
