"""UniX as its published code goes about it, on the same weights: what `unix_speed.py` is measured against.

One sample a call. Tokens of both branches travel packed in one sequence; around each norm, projection and MLP the rows
of a branch are gathered, and scattered back. Queries, keys, values, gate and up are projected for themselves. Every
layer of every pass builds its keys and values anew out of those of the context and its own. Guidance evaluates its
passes one after the other. Written for this benchmark from a description of that procedure; attention is torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from unix_bench.models.unix import UniX
from unix_bench.models.unix.flow import SamplerSettings, guide, latent_places, time_grid
from unix_bench.models.unix.language import Branch, rotate

UND, GEN = 0, 1


@dataclass
class Weights:
    """Of one branch in one layer, each projection for itself."""

    branch: Branch
    q: tuple[Tensor, Tensor] = field(init=False)
    k: tuple[Tensor, Tensor] = field(init=False)
    v: tuple[Tensor, Tensor] = field(init=False)
    gate: Tensor = field(init=False)
    up: Tensor = field(init=False)

    def __post_init__(self) -> None:
        rows = [heads * self.branch.head_dim for heads in self.branch.heads]
        projection = self.branch.qkv_proj
        split = zip(projection.weight.split(rows), projection.bias.split(rows), strict=True)
        self.q, self.k, self.v = ((weight.clone(), bias.clone()) for weight, bias in split)
        self.gate, self.up = (half.clone() for half in self.branch.gate_up_proj.weight.chunk(2))


@dataclass
class Cache:
    """Keys and values of what was read, a layer each, [tokens, kv_heads, head_dim]; the next position."""

    keys: list[Tensor | None]
    values: list[Tensor | None]
    position: int = 0


def scattered(x: Tensor, indexes: tuple[Tensor, Tensor], apply: Callable[[int, Tensor], Tensor], width: int) -> Tensor:
    """Gather the rows of each branch, and scatter what becomes of them into new rows of this width."""
    out = x.new_zeros(*x.shape[:-1], width)
    for kind, rows in enumerate(indexes):
        if len(rows):
            out[rows] = apply(kind, x[rows])
    return out


class NaiveUniX:
    """Draws one image, or writes one report, a call."""

    def __init__(self, model: UniX) -> None:
        self.model, language = model, model.language
        self.layers = [
            tuple(Weights(branch) for branch in language.branches(index))
            for index in range(model.config.language.num_hidden_layers)
        ]

    def new_cache(self) -> Cache:
        empty: list[Tensor | None] = [None] * len(self.layers)
        return Cache(list(empty), list(empty))

    def forward(
        self, x: Tensor, positions: Tensor, indexes: tuple[Tensor, Tensor], cache: Cache, causal: bool, update: bool
    ) -> Tensor:
        """Final hidden states of packed rows x [tokens, width]; `indexes` say which are of which branch."""
        model = self.model
        drawing = len(indexes[GEN]) > 0
        cos, sin = model.language.rotary(positions[None], x.dtype)
        rotary = cos[0].transpose(0, 1), sin[0].transpose(0, 1)  # [tokens, 1, head_dim]
        for number, layer in enumerate(self.layers):
            normed = scattered(x, indexes, lambda kind, rows, of=layer: of[kind].branch.input_norm(rows), x.shape[-1])
            q, k, v = (self._project(name, normed, indexes, layer) for name in "qkv")
            q = self._turned(q, "q_norm", indexes, layer, rotary, drawing)
            k = self._turned(k, "k_norm", indexes, layer, rotary, drawing)
            keys, values = self._merged(cache, number, k, v)
            if update:
                cache.keys[number], cache.values[number] = keys, values
            attended = self._attend(q, keys, values, causal)
            x = x + scattered(attended, indexes, lambda kind, rows, of=layer: of[kind].branch.o_proj(rows), x.shape[-1])
            x = x + scattered(x, indexes, lambda kind, rows, of=layer: self._mlp(of[kind], rows), x.shape[-1])
        norms = model.language.understanding_norm, model.language.generation_norm
        return scattered(x, indexes, lambda kind, rows: norms[kind](rows), x.shape[-1])

    def _project(self, name: str, x: Tensor, indexes: tuple[Tensor, Tensor], layer: tuple[Weights, ...]) -> Tensor:
        width = len(getattr(layer[UND], name)[0])
        out = scattered(x, indexes, lambda kind, rows: F.linear(rows, *getattr(layer[kind], name)), width)
        return out.unflatten(-1, (-1, layer[UND].branch.head_dim))

    def _turned(
        self,
        x: Tensor,
        norm: str,
        indexes: tuple[Tensor, Tensor],
        layer: tuple[Weights, ...],
        rotary: tuple[Tensor, Tensor],
        drawing: bool,
    ) -> Tensor:
        wide = x.float() if drawing else x
        normed = scattered(wide, indexes, lambda kind, rows: getattr(layer[kind].branch, norm)(rows), x.shape[-1])
        return rotate(normed, rotary).to(x.dtype)

    def _merged(self, cache: Cache, number: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        past_k, past_v = cache.keys[number], cache.values[number]
        past = 0 if past_k is None else len(past_k)
        old = torch.arange(past, device=k.device)
        new = torch.arange(past, past + len(k), device=k.device)
        keys, values = k.new_zeros(past + len(k), *k.shape[1:]), v.new_zeros(past + len(v), *v.shape[1:])
        keys[new], values[new] = k, v
        if past_k is not None and past_v is not None:
            keys[old], values[old] = past_k, past_v
        return keys, values

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        mask = None
        if causal and len(q) > 1:
            mask = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device).tril(len(k) - len(q))
        heads = (one.transpose(0, 1)[None] for one in (q, k, v))
        out = F.scaled_dot_product_attention(*heads, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
        return out[0].transpose(0, 1).flatten(1)

    def _mlp(self, weights: Weights, x: Tensor) -> Tensor:
        x = weights.branch.post_norm(x)
        out: Tensor = weights.branch.down_proj(F.silu(F.linear(x, weights.gate)) * F.linear(x, weights.up))
        return out

    def read_text(self, ids: list[int], cache: Cache) -> Tensor:
        """Final hidden states of a text, which joins the cache."""
        device = self.model.device
        x = self.model.language.embed_tokens(torch.tensor(ids, device=device))
        positions = torch.arange(cache.position, cache.position + len(ids), device=device)
        everywhere = torch.arange(len(ids), device=device), torch.arange(0, device=device)
        hidden = self.forward(x, positions, everywhere, cache, causal=True, update=True)
        cache.position += len(ids)
        return hidden

    @torch.inference_mode()
    def draw(self, prompt: list[int], noise: Tensor, grid: tuple[int, int], settings: SamplerSettings) -> Tensor:
        """Decoded [1, 3, H, W] of noise [tokens, z] float32."""
        model, device, tokens = self.model, self.model.device, grid[0] * grid[1]
        cache, nothing = self.new_cache(), self.new_cache()
        self.read_text(prompt, cache)
        border = model.border()[0]
        places = model.latent_positions[latent_places(*grid, model.config.max_latent_size, device)]
        indexes = torch.tensor([0, tokens + 1], device=device), torch.arange(1, tokens + 1, device=device)

        def velocity(x: Tensor, t: float, context: Cache) -> Tensor:
            packed = border.new_zeros(tokens + 2, border.shape[-1])
            packed[indexes[UND]] = border
            time = model.time_embedder(torch.tensor([t], device=device))
            packed[indexes[GEN]] = model.latent_in(x.to(model.dtype)) + time + places
            positions = torch.full((tokens + 2,), context.position, device=device)
            hidden = self.forward(packed, positions, indexes, context, causal=False, update=False)
            out: Tensor = model.latent_out(hidden)[indexes[GEN]].float()
            return out

        x = noise
        times, steps = time_grid(settings.num_timesteps, settings.timestep_shift)
        for t, dt in zip(times.tolist(), steps.tolist(), strict=True):
            v = velocity(x, t, cache)
            if settings.guided(t):
                v = guide(v[None], velocity(x, t, nothing)[None], settings)[0]
            x = x - v * dt
        decoded: Tensor = model.vae.decode(x.T.unflatten(1, grid)[None].to(model.dtype))
        return decoded.float()

    @torch.inference_mode()
    def write(self, pixels: Tensor, question: list[int], longest: int) -> list[int]:
        """New tokens of an answer about pixels [3, H, W]; it ends by its length alone."""
        model, device, cache = self.model, self.model.device, self.new_cache()
        patches = model.see(pixels[None])[0]
        start, end = model.border()[0].split(1)
        x = torch.cat([start, patches, end])
        everywhere = torch.arange(len(x), device=device), torch.arange(0, device=device)
        self.forward(x, torch.zeros(len(x), device=device), everywhere, cache, causal=False, update=True)
        cache.position = 1
        self.read_text(question, cache)
        token, words = model.config.special_tokens.bos_token_id, []
        for _ in range(longest):
            token = int(model.logits(self.read_text([token], cache))[-1].argmax())
            words.append(token)
        return words
