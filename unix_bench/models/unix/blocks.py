"""Memory that large products are put into, over and over."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Blocks:
    """Memory for the large products of a layer, got once: on a CPU getting it costs more than what is done in it."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], Tensor] = {}

    def product(self, kind: str, linear: nn.Linear, rows: Tensor) -> Tensor:
        """What a layer makes of rows [n, in]: [n, out], overwritten by the next product of its kind and size."""
        block = self._blocks.get((kind, len(rows)))
        if block is None:
            block = self._blocks[kind, len(rows)] = rows.new_empty(len(rows), linear.out_features)
        bias: Tensor | None = linear.bias
        weight = linear.weight.t()
        return torch.mm(rows, weight, out=block) if bias is None else torch.addmm(bias, rows, weight, out=block)
