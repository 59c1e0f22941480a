"""`demodino`: a small DINOv2 with seeded random weights, so that image metrics run where RAD-DINO is not at hand.

Its features are random projections of patches: they tell images apart, but a distance in them says nothing about
chest X-rays. It never fills a column named RadDino.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from unix_bench.weights import fill_seeded

SEED = 14
SIZE = 112
MEAN, STD = 0.5307, 0.2583  # RAD-DINO's normalisation


class DemoDino:
    """The demo encoder, on the CPU in float32."""

    name = "demodino"
    dim = 32
    geometry = f"pad-square-{SIZE}"
    stand_in = True

    def __init__(self) -> None:
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

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """The class token after the final norm, float32 [n, 32]; images are padded to squares with black."""
        pixels = np.stack([np.asarray(_fit(image), dtype=np.float32) for image in images])
        batch = (torch.from_numpy(pixels) / 255.0 - MEAN) / STD
        features: Tensor = self._network(batch[:, None].expand(-1, 3, -1, -1)).pooler_output
        return features


def _fit(image: Image.Image) -> Image.Image:
    return ImageOps.pad(image.convert("L"), (SIZE, SIZE), Image.Resampling.BICUBIC, color=0)
