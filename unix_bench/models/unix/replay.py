"""CUDA graphs: what a function launches, recorded once and replayed without any work of the host between kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose their kernels and allocate


Outputs = TypeVar("Outputs")


class Replay(Generic[Outputs]):
    """A recorded function of tensors whose shapes never change.

    What else it reads or writes must stay where it was when it was recorded. Outputs are overwritten by the next call.
    """

    def __init__(
        self,
        function: Callable[..., Outputs],
        inputs: tuple[Tensor, ...],
        changes: tuple[Tensor, ...] = (),
        pool: Any = None,
    ) -> None:
        """Warm up, then record.

        Args:
            function: Launches kernels on the inputs' device and waits for none of them.
            inputs: Of the shapes to come.
            changes: What the function changes, and finds as it was when it is first replayed.
            pool: Working memory that recordings share which are never replayed at once (`new_pool`).
        """
        before = [one.clone() for one in changes]
        self._inputs = tuple(one.clone() for one in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        for one, kept in zip(changes, before, strict=True):
            one.copy_(kept)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Outputs:
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return self._outputs


def new_pool(device: torch.device) -> Any:
    """Working memory for recordings; nothing where there are none."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None
