"""What an image encoder looks like to the scoring, and what all encoders do alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor


class Encoder(Protocol):
    """Images to feature vectors.

    Attributes:
        name: Of the encoder alone, whatever its geometry.
        geometry: How an image is fitted to the encoder's input, as every signature states it.
        stand_in: True for an encoder that only shows that the bench works.
        dtype: What the network computes in, "float32" or "bfloat16"; features are float32 either way.
        batch_size: Images the network sees at once.
    """

    name: str
    geometry: str
    stand_in: bool
    dtype: str
    batch_size: int

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def column(self) -> str:
        """As it stands in metric names (`fd_COLUMN`): the name, and what another geometry than the default adds."""

    @property
    def digest(self) -> str:
        """sha256 of its weights."""

    @property
    def identity(self) -> str:
        """A readable line of all that decides a feature, see `identity_of`."""

    def prepare(self, image: Image.Image) -> Tensor:
        """An image of mode L or RGB to what the network takes, without a batch's dimension; may run in threads."""

    def embed(self, pixels: Tensor) -> Tensor:
        """A stack of prepared images [n, ...] to float32 [n, dim] on the CPU."""

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """float32 [n, dim] on the CPU of images of mode L or RGB."""


def encode_in_batches(encoder: Encoder, images: Sequence[Image.Image]) -> Tensor:
    """float32 [n, dim]: `embed` of the prepared images, `batch_size` at once."""
    rows = [torch.empty(0, encoder.dim)]
    for start in range(0, len(images), encoder.batch_size):
        batch = images[start : start + encoder.batch_size]
        rows.append(encoder.embed(torch.stack([encoder.prepare(image) for image in batch])))
    return torch.cat(rows)


def identity_of(encoder: Encoder) -> str:
    """Name, digest, geometry and dtype; how many images are encoded at once moves a feature by rounding alone."""
    return f"{encoder.name} {encoder.digest} {encoder.geometry} {encoder.dtype}"
