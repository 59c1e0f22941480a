"""What an image encoder looks like to the scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PIL import Image
from torch import Tensor


class Encoder(Protocol):
    """Images to feature vectors.

    Attributes:
        name: As it stands in metric names (`fd_NAME`).
        dim: Length of a vector.
        geometry: How an image is fitted to the encoder's input, as every signature states it.
        stand_in: True for an encoder that only shows that the bench works.
    """

    name: str
    dim: int
    geometry: str
    stand_in: bool

    @property
    def digest(self) -> str:
        """sha256 of its weights."""

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """float32 [n, dim] of images of mode L or RGB."""
