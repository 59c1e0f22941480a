"""What a batch has read so far: keys and values of every layer, in slots allocated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unix_bench.models.unix.blocks import Blocks
from unix_bench.models.unix.config import LanguageConfig


@dataclass
class Context:
    """What has been read so far, for a batch: keys and values of every layer, in slots allocated once.

    Keys lie after qk-norm and rotary. `valid` marks the slots that hold a token of their sample; it is None while
    every sample has the same length, which lets attention run without a mask.
    """

    keys: Sequence[Tensor]  # a layer each: [batch, kv_heads, capacity, head_dim]
    values: Sequence[Tensor]
    positions: Tensor  # [batch]: the position the next token of each sample takes
    length: int = 0  # slots in use
    valid: Tensor | None = None  # [batch, capacity]
    blocks: Blocks | None = None  # where the products of the layers that fill it are put; None: into new memory

    @classmethod
    def empty(cls, config: LanguageConfig, batch: int, capacity: int, like: Tensor) -> Context:
        """A context with room for `capacity` tokens, in the dtype and on the device of `like`."""
        shape = (batch, config.num_key_value_heads, capacity, config.head_dim)
        keys, values = ([like.new_zeros(shape) for _ in range(config.num_hidden_layers)] for _ in range(2))
        return cls(keys, values, torch.zeros(batch, dtype=torch.int64, device=like.device))

    def clear(self) -> None:
        """Forget all that was read."""
        self.length, self.valid = 0, None

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values behind those in use; returns all of the layer's, the new ones included."""
        end = self.length + k.shape[2]
        self.keys[layer][:, :, self.length : end] = k
        self.values[layer][:, :, self.length : end] = v
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def advance(self, tokens: int, positions: int | Tensor, valid: Tensor | None = None) -> None:
        """Count written slots as used.

        Args:
            tokens: How many.
            positions: How many positions they took, of each sample where they differ.
            valid: [batch, tokens], given where some of them are padding.
        """
        self.positions = self.positions + positions
        end = self.length + tokens
        if valid is not None and self.valid is None:
            self.valid = torch.ones(self.keys[0].shape[0], self.keys[0].shape[2], dtype=torch.bool, device=valid.device)
        if self.valid is not None and valid is not None:
            self.valid[:, self.length : end] = valid
        self.length = end

    def mask(self, block: Tensor) -> Tensor:
        """May query i see key j? [batch, 1, queries, used + new], from `block` [queries, new] for the new keys."""
        batch, queries = self.positions.shape[0], block.shape[0]
        past = block.new_ones(batch, self.length) if self.valid is None else self.valid[:, : self.length]
        past = past[:, None].expand(batch, queries, self.length)
        return torch.cat([past, block.expand(batch, *block.shape)], dim=-1)[:, None]
