"""Images as reference points give them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unix_bench.data import load_images
from unix_bench.features.geometry import pad_to_square


def as_png(image: Image.Image, longest_side: int = 0) -> bytes:
    """A PNG file of an image of mode L or RGB, made no larger than so many pixels a side; 0: as it is."""
    longer = max(image.size)
    if 0 < longest_side < longer:
        width, height = (max(1, round(side * longest_side / longer)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def mean_image(paths: Sequence[Path], size: int, advance: Callable[[int], None] = lambda count: None) -> Image.Image:
    """The mean of images, each padded with black to a square and brought to `size` pixels a side; grey.

    Args:
        paths: At least one.
        size: Pixels a side.
        advance: Told of each image that is done.

    Raises:
        UnreadableImage: One cannot be opened.
    """
    total = np.zeros((size, size), dtype=np.int64)  # whole numbers: the sum has no order
    for image in load_images(paths):
        square = pad_to_square(image.convert("L")).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(square, dtype=np.int64)
        advance(1)
    return Image.fromarray(np.round(total / len(paths)).astype(np.uint8))
