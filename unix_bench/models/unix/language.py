"""The mixture-of-transformers decoder: two sets of weights a layer, one joint self-attention.

Rows of the understanding branch (text, image patches, the two border tokens of a drawn image) and rows of the
generation branch (latents) travel as two tensors, so no row is ever gathered or scattered; they meet only in
attention, whose outcome does not depend on the order of its keys. Source: arXiv 2601.11522, section 3.2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unix_bench.models.unix.blocks import Blocks
from unix_bench.models.unix.config import RMS_NORM_EPS, ROPE_THETA, LanguageConfig

Rotation = tuple[Tensor, Tensor]  # cosines and sines


class RMSNorm(nn.Module):
    """x / rms(x) * weight; the mean square in float32, rounded to x's dtype before the weight is applied."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)  # without all squares in memory
        normed = (x.float() * torch.rsqrt(length.square() / x.shape[-1] + RMS_NORM_EPS)).to(x.dtype)
        return self.weight * normed if torch.is_grad_enabled() else normed.mul_(self.weight)


class Rotary(nn.Module):
    """Rotary position embedding (arXiv 2104.09864), first half against second half of each head.

    Args:
        head_dim: Channels of a head.
        bf16: Round the frequencies to bfloat16, as `model.to(bfloat16)` did to the published model's buffer.
    """

    frequencies: Tensor

    def __init__(self, head_dim: int, bf16: bool = False) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.bf16 = bf16
        self.register_buffer("frequencies", self._frequencies(), persistent=False)

    def _frequencies(self) -> Tensor:
        with torch.device("cpu"):
            exponents = torch.arange(0, self.head_dim, 2, dtype=torch.int64).float() / self.head_dim
            frequencies = 1.0 / (ROPE_THETA**exponents)
        return frequencies.bfloat16().float() if self.bf16 else frequencies

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow the module to its device, but stay float32 whatever dtype the module is cast to."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.frequencies = self._frequencies().to(self.frequencies.device)
        return self

    def forward(self, positions: Tensor, dtype: torch.dtype) -> Rotation:
        """Cosines and sines, each [batch, 1, tokens, head_dim], of positions [batch, tokens]."""
        angles = positions[:, None, :, None].float() * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotary: Rotation) -> Tensor:
    """Turn each (x_i, x_{i + half}) pair of x [batch, heads, tokens, head_dim] by its position's angle."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Branch(nn.Module):
    """One branch's weights of one layer. Rows pass `qkv`, meet the other branch in attention, then pass `finish`."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
        self.head_dim = config.head_dim
        width = config.hidden_size
        self.input_norm = RMSNorm(width)
        self.qkv_proj = nn.Linear(width, sum(self.heads) * self.head_dim)
        self.q_norm = RMSNorm(self.head_dim)
        self.k_norm = RMSNorm(self.head_dim)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, width, bias=False)
        self.post_norm = RMSNorm(width)
        self.gate_up_proj = nn.Linear(width, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, width, bias=False)

    def qkv(
        self, x: Tensor, rotary: Rotation | None, wide_norm: bool, blocks: Blocks | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [batch, heads, tokens, head_dim] of rows x [batch, tokens, width].

        `wide_norm` runs qk-norm and rotary in float32, as the reference does while it draws. Without `rotary` nothing
        is turned: the rows stand at position 0. With `blocks` the values are overwritten by the next rows.
        """
        normed = self.input_norm(x)
        if blocks is None:
            rows = self.qkv_proj(normed)
        else:
            rows = blocks.product("qkv", self.qkv_proj, normed.flatten(0, 1)).unflatten(0, x.shape[:2])
        q, k, v = rows.unflatten(-1, (-1, self.head_dim)).transpose(1, 2).split(self.heads, dim=1)
        return _turned(q, self.q_norm, rotary, wide_norm), _turned(k, self.k_norm, rotary, wide_norm), v

    def kv(self, x: Tensor, rotary: Rotation | None, wide_norm: bool) -> tuple[Tensor, Tensor]:
        """Keys and values alone, of rows that ask for nothing."""
        queries = self.heads[0] * self.head_dim
        weight, bias = self.qkv_proj.weight[queries:], self.qkv_proj.bias[queries:]
        rows = F.linear(self.input_norm(x), weight, bias).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        k, v = rows.split(self.heads[1:], dim=1)
        return _turned(k, self.k_norm, rotary, wide_norm), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to [batch, tokens, heads * head_dim] and the MLP to the residual stream x."""
        x = x + self.o_proj(attended)
        gate, up = self.gate_up_proj(self.post_norm(x)).chunk(2, dim=-1)
        out: Tensor = x + self.down_proj(F.silu(gate) * up)
        return out

    def finish_in_place(self, x: Tensor, attended: Tensor, blocks: Blocks | None = None) -> Tensor:
        """The same without gradients, in the memory of x, which is returned."""
        rows = x.flatten(0, 1)
        torch.addmm(rows, attended.flatten(0, 1), self.o_proj.weight.t(), out=rows)
        normed = self.post_norm(rows)
        both = self.gate_up_proj(normed) if blocks is None else blocks.product("mlp", self.gate_up_proj, normed)
        gate, up = both.chunk(2, dim=-1)
        torch.addmm(rows, F.silu(gate, inplace=True).mul_(up), self.down_proj.weight.t(), out=rows)
        return x


def _turned(rows: Tensor, norm: nn.Module, rotary: Rotation | None, wide_norm: bool) -> Tensor:
    normed: Tensor = norm(rows.float() if wide_norm else rows)
    return (normed if rotary is None else rotate(normed, rotary)).to(rows.dtype)


@dataclass(frozen=True)
class Kernels:
    """The two halves of a layer where no gradients are asked for, as written or compiled."""

    qkv: Callable[[Branch, Tensor, Rotation | None, bool, Blocks | None], tuple[Tensor, Tensor, Tensor]] = Branch.qkv
    finish: Callable[[Branch, Tensor, Tensor, Blocks | None], Tensor] = Branch.finish_in_place


AS_WRITTEN = Kernels()


def compiled(device: torch.device) -> Kernels:
    """The same through `torch.compile`; where that does not work it is said, and they run as they are written."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    except Exception as error:  # whatever a compiler, or its absence, brings up
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(f"UniX runs slower than it could, since torch.compile does not work here: {first}", file=sys.stderr)
        return AS_WRITTEN
    return Kernels(torch.compile(Branch.qkv), torch.compile(Branch.finish_in_place))


class Store(Protocol):
    """Where keys and values are kept.

    Attributes:
        blocks: Where the products of the layers that fill it are put; None: into new memory.
    """

    @property
    def blocks(self) -> Blocks | None: ...

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of new tokens [batch, kv_heads, tokens, head_dim]; returns all that the tokens may see."""


class MixtureOfTransformers(nn.Module):
    """The decoder: token embedding, layers of two branches, a final norm for each, and the language head."""

    def __init__(self, config: LanguageConfig, rotary_bf16: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.understanding = nn.ModuleList(Branch(config) for _ in range(config.num_hidden_layers))
        self.generation = nn.ModuleList(Branch(config) for _ in range(config.num_hidden_layers))
        self.understanding_norm = RMSNorm(config.hidden_size)
        self.generation_norm = RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.rotary = Rotary(config.head_dim, rotary_bf16)

    def branches(self, index: int) -> tuple[Branch, Branch]:
        """Understanding and generation of a layer."""
        return cast("Branch", self.understanding[index]), cast("Branch", self.generation[index])

    def read(
        self, x: Tensor, positions: Tensor, store: Store, mask: Tensor | None = None, kernels: Kernels = AS_WRITTEN
    ) -> Tensor:
        """Run understanding rows, whose keys and values the store keeps.

        Args:
            x: Embeddings, [batch, tokens, width], contiguous; overwritten.
            positions: [batch, tokens].
            store: What was read before; the rows see all of it that `mask` admits.
            mask: True, or 0 where it is added, where a query sees a key, [batch, 1, tokens, keys]; None: sees all.
            kernels: What runs the layers.

        Returns:
            Final hidden states, [batch, tokens, width].
        """
        rotary = self.rotary(positions, x.dtype)
        for index in range(self.config.num_hidden_layers):
            x = self._read_layer(index, x, rotary, store, mask, kernels)
        hidden: Tensor = self.understanding_norm(x)
        return hidden

    def take_in(self, x: Tensor, positions: Tensor, store: Store, mask: Tensor | None = None) -> None:
        """Read rows of which nobody asks for the hidden states: the last layer's work ends with their keys and values.

        Arguments are those of `read`.
        """
        rotary, last = self.rotary(positions, x.dtype), self.config.num_hidden_layers - 1
        for index in range(last):
            x = self._read_layer(index, x, rotary, store, mask, AS_WRITTEN)
        store.write(last, *self.branches(last)[0].kv(x, rotary, wide_norm=False))

    def _read_layer(
        self, index: int, x: Tensor, rotary: Rotation, store: Store, mask: Tensor | None, kernels: Kernels
    ) -> Tensor:
        branch = self.branches(index)[0]
        q, k, v = kernels.qkv(branch, x, rotary, False, store.blocks)
        keys, values = store.write(index, k, v)
        return kernels.finish(branch, x, merged(attend(q, keys, values, mask)), store.blocks)

    def joint_layer(
        self, index: int, und: Tensor, gen: Tensor, und_rotary: Rotation, gen_rotary: Rotation, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One layer over rows of both branches at once; keys stand in the order understanding, generation."""
        und_branch, gen_branch = self.branches(index)
        parts = zip(
            und_branch.qkv(und, und_rotary, wide_norm=True),
            gen_branch.qkv(gen, gen_rotary, wide_norm=True),
            strict=True,
        )
        q, k, v = (torch.cat(pair, dim=2) for pair in parts)
        attended = merged(attend(q, k, v, mask))
        und_out, gen_out = attended.split([und.shape[1], gen.shape[1]], dim=1)
        return und_branch.finish(und, und_out), gen_branch.finish(gen, gen_out)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention, [batch, heads, tokens, head_dim]; head h reads kv head h // group."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])


def merged(attended: Tensor) -> Tensor:
    """[batch, heads, tokens, head_dim] -> [batch, tokens, heads * head_dim]."""
    return attended.transpose(1, 2).flatten(2)
