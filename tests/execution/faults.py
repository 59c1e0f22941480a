"""Workers that double their items, and to which things happen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from unix_bench.errors import UserError


@dataclass(frozen=True)
class Doubler:
    """Makes a worker.

    Attributes:
        folder: Where its calls are noted, and what has happened once.
        faults: Item -> what happens when it is given: "raise", "user", "memory", "device", "exit", "kill" or "hang".
        once: Items to which it happens the first time only.
        memory: Most items a call.
        start: What happens while it is made, as above.
    """

    folder: Path
    faults: Mapping[int, str] = field(default_factory=dict)
    once: frozenset[int] = frozenset()
    memory: int = 1000
    start: str | None = None

    def __call__(self) -> Callable[[Sequence[int]], list[int]]:
        if self.start is not None:
            happen(self.start)
        return self.work

    def work(self, items: Sequence[int]) -> list[int]:
        with (self.folder / "calls").open("a") as stream:
            stream.write(" ".join(map(str, items)) + "\n")
        if len(items) > self.memory:
            happen("memory")
        for item in items:
            if item in self.faults and not (item in self.once and self.has_happened(item)):
                happen(self.faults[item])
        return [2 * item for item in items]

    def has_happened(self, item: int) -> bool:
        try:
            (self.folder / f"once-{item}").touch(exist_ok=False)
        except FileExistsError:
            return True
        return False

    def calls(self) -> list[list[int]]:
        return [list(map(int, line.split())) for line in (self.folder / "calls").read_text().splitlines()]


def happen(what: str) -> None:
    if what == "raise":
        raise ValueError("bad item")
    if what == "user":
        raise UserError("yours")
    if what == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory")
    if what == "device":
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    if what == "exit":
        os._exit(7)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3600)
