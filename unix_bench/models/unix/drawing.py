"""Drawing: the velocity of a batch of images, with and without their prompts.

Attention sees differences of positions alone, and all rows of a drawn image share one: so a prompt is read at positions
that end before 0, the image stands at 0, and nothing is turned while it is drawn. Prompts are read once; behind their
keys and values lie slots for those of the image, which every pass fills anew. The border tokens of an image are rows of
the understanding branch, the latents rows of the generation branch; neither are ever gathered or scattered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unix_bench.models.unix.blocks import Blocks
from unix_bench.models.unix.flow import latent_places
from unix_bench.models.unix.language import Branch, attend, merged
from unix_bench.models.unix.parts import BORDER
from unix_bench.models.unix.reading import Reader
from unix_bench.models.unix.replay import Replay, new_pool

Slots = tuple[Tensor, Tensor, Tensor | None]  # keys, values, mask of what a row may see


class Canvas:
    """Images of one batch in the making."""

    def __init__(self, model: Reader, batch: int, room: int, grid: tuple[int, int]) -> None:
        """Allocate all slots.

        Args:
            model: Whose weights, and whose ways to be fast, are used.
            batch: Images.
            room: Slots of a prompt.
            grid: Rows and columns of latents.
        """
        self.model, self.batch, self.room, self.grid = model, batch, room, grid
        self.tokens = grid[0] * grid[1]
        own = BORDER + self.tokens
        config, like = model.config.language, model.latent_in.weight
        self.context = model.new_context(batch, room + own)
        self._blocks = model.new_blocks(), model.new_blocks()  # of latents and of borders
        shape = (batch, config.num_key_value_heads, own, config.head_dim)
        self._alone = like.new_empty(shape), like.new_empty(shape)  # slots of a pass without prompts, of every layer
        self._mask: Tensor | None = None
        self._border = model.border()
        self._places = latent_places(*grid, model.config.max_latent_size, model.device)
        self._replays: dict[bool, Replay[tuple[Tensor, Tensor | None]]] = {}
        self._pool = new_pool(model.device)

    def read(self, prompts: Sequence[Sequence[int]]) -> None:
        """Read one prompt an image; each is a whole text segment with its bos and eos."""
        context = self.context
        context.clear()
        context.positions = -torch.tensor([len(one) for one in prompts], device=self.model.device)
        self.model.take_in_text(prompts, context, self.room)
        if context.valid is None:
            mask = None
        else:
            seen = context.valid[:, None, None, : context.length + BORDER + self.tokens]
            mask = seen.new_zeros(seen.shape, dtype=self.model.dtype).masked_fill_(~seen, float("-inf"))
        if self._mask is not None and mask is not None:
            self._mask.copy_(mask)  # where a recording of the passes looks for it
        elif self._mask is not mask:
            self._mask = mask
            self._replays.clear()

    def velocity(self, x: Tensor, time: Tensor, guided: bool) -> tuple[Tensor, Tensor | None]:
        """The velocity given the prompts, and where guidance asks for it the one without them.

        Args:
            x: States, [batch, tokens, z] float32.
            time: Embedded time, [width].
            guided: Whether both are wanted.

        Returns:
            Each [batch, tokens, z] float32.
        """
        if not self.model.speed.graphs:
            return self._evaluate(x, time, guided)
        if guided not in self._replays:
            self._replays[guided] = Replay(lambda x, time: self._evaluate(x, time, guided), (x, time), pool=self._pool)
        return self._replays[guided](x, time)

    def _evaluate(self, x: Tensor, time: Tensor, guided: bool) -> tuple[Tensor, Tensor | None]:
        rows = self.model.latent_in(x.to(self.model.dtype)) + time + self.model.latent_positions[self._places]
        if not guided:
            return self._pass(rows, prompted=True, alone=False)[0], None
        if self.model.speed.together:
            conditional, unconditional = self._pass(rows, prompted=True, alone=True)
            return conditional, unconditional
        return self._pass(rows, prompted=True, alone=False)[0], self._pass(rows, prompted=False, alone=True)[0]

    def _pass(self, rows: Tensor, prompted: bool, alone: bool) -> tuple[Tensor, ...]:
        """One walk through the layers, of images that see their prompts, of images that see none, or of both."""
        language = self.model.language
        copies = prompted + alone
        gen = rows.repeat(copies, 1, 1)
        und = self._border.repeat(len(gen), 1, 1)
        gen_blocks, und_blocks = self._blocks
        layers = self.model.config.language.num_hidden_layers
        for index in range(layers):
            slots = ([self._beside_prompts(index)] if prompted else []) + ([(*self._alone, None)] if alone else [])
            und_branch, gen_branch = language.branches(index)
            gen_q, *latents = self.model.kernels.qkv(gen_branch, gen, None, True, gen_blocks)
            if index == layers - 1:  # the borders' own outcome is nobody's business
                self._fill(slots, und_branch.kv(und, None, wide_norm=True), latents)
            else:
                und_q, *borders = self.model.kernels.qkv(und_branch, und, None, True, und_blocks)
                self._fill(slots, borders, latents)
                und = self._attended(und_branch, und, und_q, slots, und_blocks)
            gen = self._attended(gen_branch, gen, gen_q, slots, gen_blocks)
        velocity: Tensor = self.model.latent_out(language.generation_norm(gen)).float()
        return velocity.chunk(copies)

    def _beside_prompts(self, index: int) -> Slots:
        context = self.context
        end = context.length + BORDER + self.tokens
        return context.keys[index][:, :, :end], context.values[index][:, :, :end], self._mask

    def _fill(self, slots: Sequence[Slots], borders: Sequence[Tensor], latents: Sequence[Tensor]) -> None:
        """Put keys and values of borders and latents, of all copies, at the end of their slots."""
        for copy, (keys, values, _) in enumerate(slots):
            rows = slice(copy * self.batch, (copy + 1) * self.batch)
            for place, border, latent in zip((keys, values), borders, latents, strict=True):
                end = place.shape[2] - self.tokens
                place[:, :, end - BORDER : end] = border[rows]
                place[:, :, end:] = latent[rows]

    def _attended(self, branch: Branch, x: Tensor, q: Tensor, slots: Sequence[Slots], blocks: Blocks | None) -> Tensor:
        found = []
        for part, (k, v, mask) in zip(q.split(self.batch), slots, strict=True):
            seen = None if mask is None else mask.expand(-1, -1, q.shape[2], -1)
            found.append(merged(attend(part, k, v, seen)))
        return self.model.kernels.finish(branch, x, found[0] if len(found) == 1 else torch.cat(found), blocks)
