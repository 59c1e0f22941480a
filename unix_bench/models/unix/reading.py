"""Reading: images and texts put into a context, a batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unix_bench.models.unix.blocks import Blocks
from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.context import Context
from unix_bench.models.unix.language import AS_WRITTEN, Kernels, compiled
from unix_bench.models.unix.parts import BORDER, Parts
from unix_bench.models.unix.room import even_parts, samples_at_once
from unix_bench.models.unix.speed import Speed


class Reader(Parts):
    """The model's parts, and what it takes to read with them.

    Attributes:
        speed: What is done to be fast, by the device.
        kernels: What runs the layers where shapes repeat.
    """

    speed: Speed
    kernels: Kernels

    def __init__(self, config: UniXConfig, rotary_bf16: bool = False) -> None:
        super().__init__(config, rotary_bf16)
        self.be_fast(Speed())

    def be_fast(self, speed: Speed) -> None:
        """Choose what is done to be fast."""
        self.forget()
        self.speed, self.kernels = speed, compiled(self.device) if speed.compiled else AS_WRITTEN

    def forget(self) -> None:
        """Let go of what was recorded, and of the memory for it."""

    def new_context(self, batch: int, capacity: int) -> Context:
        """An empty context with room for `capacity` tokens a sample."""
        context = Context.empty(self.config.language, batch, capacity, like=self.latent_in.weight)
        context.blocks = self.new_blocks()
        return context

    def new_blocks(self) -> Blocks | None:
        """Memory for the products of layers, where it is worth keeping."""
        return Blocks() if self.speed.blocks else None

    @property
    def image_tokens(self) -> int:
        """What a read image takes of a context: its patches between start and end."""
        return self.config.vision.num_patches + BORDER

    def see(self, pixel_values: Tensor) -> Tensor:
        """What the decoder is shown of images [n, 3, H, W] (`prepare_image`): [n, patches, width]."""
        size = self.config.vision.image_size
        if tuple(pixel_values.shape[1:]) != (3, size, size):
            raise ValueError(f"pixel_values must be [n, 3, {size}, {size}], not {list(pixel_values.shape)}")
        at_once = samples_at_once(self.config.language, self.image_tokens, self.dtype, self.device)
        seen = [
            self.connector(self.vision(pixel_values[part].to(self.device, self.dtype)).last_hidden_state)
            for part in even_parts(len(pixel_values), at_once)
        ]
        return torch.cat(seen)

    def read_images(self, pixel_values: Tensor, context: Context) -> Tensor:
        """Put an image before each sample's further text: start, patches, end, all at one position, all seeing all.

        Args:
            pixel_values: [batch, 3, H, W], normalised.
            context: Extended by patches + 2 tokens and one position.

        Returns:
            Final hidden states, [batch, patches + 2, width].
        """
        rows, positions, mask = self._image_rows(self.see(pixel_values), context)
        hidden = self.language.read(rows, positions, context, mask)
        context.advance(rows.shape[1], 1)
        return hidden

    def take_in_images(self, shown: Tensor, context: Context) -> None:
        """As `read_images`, of images that were seen already, when nobody asks for the hidden states."""
        rows, positions, mask = self._image_rows(shown, context)
        self.language.take_in(rows, positions, context, mask)
        context.advance(rows.shape[1], 1)

    def _image_rows(self, shown: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor | None]:
        start, end = self.border().expand(shown.shape[0], -1, -1).split(1, dim=1)
        rows = torch.cat([start, shown, end], dim=1)
        mask = None
        if context.valid is not None:
            mask = context.mask(torch.ones(rows.shape[1], rows.shape[1], dtype=torch.bool, device=self.device))
        return rows, context.positions[:, None].expand(-1, rows.shape[1]), mask

    def read_text(self, ids: Sequence[Sequence[int]], context: Context) -> Tensor:
        """Read one text a sample, causally on top of the context; texts may differ in length.

        Returns:
            Final hidden states, [batch, longest, width]; rows past a text's own length mean nothing.
        """
        padded, lengths, valid = self._padded(ids, 0)
        hidden = self.language.read(*self._text_rows(padded, context))
        context.advance(padded.shape[1], lengths, valid)
        return hidden

    def take_in_text(self, ids: Sequence[Sequence[int]], context: Context, room: int = 0) -> None:
        """As `read_text`, when nobody asks for the hidden states; all take `room` slots where they need less."""
        padded, lengths, valid = self._padded(ids, room)
        self.language.take_in(*self._text_rows(padded, context))
        context.advance(padded.shape[1], lengths, valid)

    def _padded(self, ids: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens [batch, longest], their numbers [batch], and which are no padding; None: all."""
        if not all(ids):
            raise ValueError("each text needs at least one token")
        if max(map(len, ids)) > self.config.language.max_position_embeddings:
            raise ValueError(f"a text is longer than {self.config.language.max_position_embeddings} tokens")
        longest = max(room, *map(len, ids))
        lengths = torch.tensor([len(one) for one in ids], device=self.device)
        padded = torch.tensor([[*one, *[0] * (longest - len(one))] for one in ids], device=self.device)
        ragged = any(len(one) != longest for one in ids)
        steps = torch.arange(longest, device=self.device)
        return padded, lengths, steps < lengths[:, None] if ragged else None

    def _text_rows(self, padded: Tensor, context: Context) -> tuple[Tensor, Tensor, Context, Tensor]:
        steps = torch.arange(padded.shape[1], device=self.device)
        mask = context.mask(steps[:, None] >= steps[None, :])
        return self.language.embed_tokens(padded), context.positions[:, None] + steps, context, mask
