"""`demodino`: a small DINOv2 with seeded random weights, so that image metrics run where RAD-DINO is not at hand.

Its features are random projections of patches: they tell images apart, but a distance in them says nothing about
chest X-rays. It never fills a column named RadDino.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from unix_bench.errors import unknown_name
from unix_bench.features.encoder import encode_in_batches, identity_of
from unix_bench.features.geometry import PAD_SQUARE, SQUASH_299, Fit, as_it_is, column_of, squash
from unix_bench.weights import fill_seeded

SEED = 14
SIZE = 112
MEAN, STD = 0.5307, 0.2583  # RAD-DINO's normalisation


class DemoDino:
    """The demo encoder, on the CPU in float32."""

    name = "demodino"
    dim = 32
    stand_in = True
    dtype = "float32"
    batch_size = 32
    geometries: ClassVar[Mapping[str, Fit]] = {PAD_SQUARE: as_it_is, SQUASH_299: squash}  # squares are padded below

    def __init__(self, geometry: str = PAD_SQUARE) -> None:
        """Build the network.

        Args:
            geometry: How images are fitted before they are brought to 112 by 112; see `geometries`.

        Raises:
            ValueError: No such geometry.
        """
        if geometry not in self.geometries:
            raise ValueError(str(unknown_name("geometry", geometry, self.geometries)))
        self._first = self.geometries[geometry]
        self.geometry = f"{geometry}-{SIZE}"
        self.column = column_of(self.name, geometry)
        config = Dinov2Config(
            image_size=SIZE,
            patch_size=14,
            hidden_size=self.dim,
            num_hidden_layers=2,
            num_attention_heads=2,
            mlp_ratio=2,
        )
        self._network = Dinov2Model(config).eval()
        fill_seeded(self._network, SEED)

    @cached_property
    def digest(self) -> str:
        """sha256 over the weights in the order of their names."""
        total = hashlib.sha256()
        for name, parameter in sorted(self._network.named_parameters()):
            total.update(name.encode() + parameter.detach().numpy().tobytes())
        return total.hexdigest()

    @property
    def identity(self) -> str:
        """All that decides a feature, in a line."""
        return identity_of(self)

    def prepare(self, image: Image.Image) -> Tensor:
        """[1, 112, 112], normalised; what is no square yet is padded to one with black."""
        pixels = torch.from_numpy(np.array(_fit(self._first(image)), dtype=np.float32))
        return (pixels[None] / 255.0 - MEAN) / STD

    @torch.inference_mode()
    def embed(self, pixels: Tensor) -> Tensor:
        """The class token after the final norm, [n, 1, 112, 112] to float32 [n, 32]."""
        features: Tensor = self._network(pixels.expand(-1, 3, -1, -1)).pooler_output
        return features

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Float32 [n, 32] of images of mode L or RGB."""
        return encode_in_batches(self, images)


def _fit(image: Image.Image) -> Image.Image:
    return ImageOps.pad(image.convert("L"), (SIZE, SIZE), Image.Resampling.BICUBIC, color=0)
