"""The mixture-of-transformers decoder: two sets of weights a layer, one joint self-attention.

Rows of the understanding branch (text, image patches, the two border tokens of a drawn image) and rows of the
generation branch (latents) travel as two tensors, so no row is ever gathered or scattered; they meet only in
attention, whose outcome does not depend on the order of its keys. Source: arXiv 2601.11522, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unix_bench.models.unix.config import RMS_NORM_EPS, ROPE_THETA, LanguageConfig


class RMSNorm(nn.Module):
    """x / rms(x) * weight; the mean square in float32, rounded to x's dtype before the weight is applied."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + RMS_NORM_EPS)
        return self.weight * normed.to(x.dtype)


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

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines, each [batch, 1, tokens, head_dim], of positions [batch, tokens]."""
        angles = positions[:, None, :, None].float() * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
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

    def qkv(self, x: Tensor, rotary: tuple[Tensor, Tensor], wide_norm: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [batch, heads, tokens, head_dim] of rows x [batch, tokens, width].

        `wide_norm` runs qk-norm and rotary in float32, as the reference does while it draws.
        """
        rows = self.qkv_proj(self.input_norm(x)).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        q, k, v = rows.split(self.heads, dim=1)
        if wide_norm:
            q, k = q.float(), k.float()
        q, k = rotate(self.q_norm(q), rotary), rotate(self.k_norm(k), rotary)
        return q.to(v.dtype), k.to(v.dtype), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attended values [batch, heads, tokens, head_dim] and the MLP to the residual stream x."""
        x = x + self.o_proj(attended.transpose(1, 2).flatten(2))
        gate, up = self.gate_up_proj(self.post_norm(x)).chunk(2, dim=-1)
        out: Tensor = x + self.down_proj(F.silu(gate) * up)
        return out


@dataclass
class Context:
    """What has been read so far, for a batch: keys and values of every layer, in slots allocated once.

    Keys lie after qk-norm and rotary. `valid` marks the slots that hold a token of their sample; it is None while
    every sample has the same length, which lets attention run without a mask.
    """

    keys: list[Tensor]  # a layer each: [batch, kv_heads, capacity, head_dim]
    values: list[Tensor]
    positions: Tensor  # [batch]: the position the next token of each sample takes
    length: int = 0  # slots in use
    valid: Tensor | None = None  # [batch, capacity]

    @classmethod
    def empty(cls, config: LanguageConfig, batch: int, capacity: int, like: Tensor) -> Context:
        """A context with room for `capacity` tokens, in the dtype and on the device of `like`."""
        shape = (batch, config.num_key_value_heads, capacity, config.head_dim)
        keys, values = ([like.new_zeros(shape) for _ in range(config.num_hidden_layers)] for _ in range(2))
        return cls(keys, values, torch.zeros(batch, dtype=torch.int64, device=like.device))

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values behind those in use; returns all of the layer's, the new ones included."""
        end = self.length + k.shape[2]
        self.keys[layer][:, :, self.length : end] = k
        self.values[layer][:, :, self.length : end] = v
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def beside(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with further ones behind them, leaving the context as it is."""
        used_k, used_v = self.keys[layer][:, :, : self.length], self.values[layer][:, :, : self.length]
        return torch.cat([used_k, k], dim=2), torch.cat([used_v, v], dim=2)

    def advance(self, tokens: int, valid: Tensor | None = None) -> None:
        """Count `tokens` written slots as used. `valid` [batch, tokens] is given where some of them are padding."""
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

    def read(self, x: Tensor, positions: Tensor, context: Context, mask: Tensor | None = None) -> Tensor:
        """Run understanding rows and write their keys and values into the context (the caller advances it).

        Args:
            x: Embeddings, [batch, tokens, width].
            positions: [batch, tokens].
            context: What was read before; the rows see all of it that `mask` admits.
            mask: True where a query sees a key, [batch, 1, tokens, used + tokens]; None: sees everything.

        Returns:
            Final hidden states, [batch, tokens, width].
        """
        rotary = self.rotary(positions, x.dtype)
        for index in range(self.config.num_hidden_layers):
            branch = cast("Branch", self.understanding[index])
            q, k, v = branch.qkv(x, rotary, wide_norm=False)
            x = branch.finish(x, attend(q, *context.write(index, k, v), mask))
        hidden: Tensor = self.understanding_norm(x)
        return hidden

    def draw(
        self, border: Tensor, latents: Tensor, positions: Tensor, context: Context | None, mask: Tensor | None = None
    ) -> Tensor:
        """One pass over an image being drawn: border tokens and latents see the context and each other.

        Args:
            border: Embeddings of the start and end of the image, understanding rows, [batch, 2, width].
            latents: Embedded latents, generation rows, [batch, tokens, width].
            positions: [batch]: the one position all these rows share.
            context: What the image is drawn from; None for the unconditional pass. It stays as it is.
            mask: As in `read`, over the border's keys and then the latents'.

        Returns:
            Final hidden states of the latents, [batch, tokens, width].
        """
        rotary = self.rotary(positions[:, None], latents.dtype)
        for index in range(self.config.num_hidden_layers):
            border, latents = self.joint_layer(index, border, latents, rotary, rotary, mask, context)
        hidden: Tensor = self.generation_norm(latents)
        return hidden

    def joint_layer(
        self,
        index: int,
        und: Tensor,
        gen: Tensor,
        und_rotary: tuple[Tensor, Tensor],
        gen_rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One layer over rows of both branches; keys stand in the order context, understanding, generation."""
        und_branch, gen_branch = cast("Branch", self.understanding[index]), cast("Branch", self.generation[index])
        parts = zip(
            und_branch.qkv(und, und_rotary, wide_norm=True),
            gen_branch.qkv(gen, gen_rotary, wide_norm=True),
            strict=True,
        )
        q, k, v = (torch.cat(pair, dim=2) for pair in parts)
        if context is not None:
            k, v = context.beside(index, k, v)
        und_out, gen_out = attend(q, k, v, mask).split([und.shape[1], gen.shape[1]], dim=2)
        return und_branch.finish(und, und_out), gen_branch.finish(gen, gen_out)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention, [batch, heads, tokens, head_dim]; head h reads kv head h // group."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
