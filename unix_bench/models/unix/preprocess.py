"""Pixels of a study as the vision tower and the VAE want them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN = 0.555895  # both for all three channels
STD = 0.336385


def prepare_image(image: Image.Image, size: int = 384) -> Tensor:
    """Fit into a white square, keeping the aspect, and normalise, as the released evaluation does.

    Args:
        image: Any mode Pillow can turn into RGBA. It is shrunk to fit, never enlarged, and centred.
        size: Side of the square in pixels.

    Returns:
        float32 [3, size, size], (x / 255 - 0.555895) / 0.336385.
    """
    fitted = image.convert("RGBA")
    fitted.thumbnail((size, size), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    canvas.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2), fitted)
    pixels = torch.from_numpy(np.array(canvas.convert("RGB"))).permute(2, 0, 1).float() / 255.0
    return (pixels - MEAN) / STD


def prepare_target(image: Image.Image, size: int, stride: int) -> Tensor:
    """Scale to a longer side of `size`, keeping the aspect, as images are learnt to be drawn.

    Args:
        image: Any mode Pillow can turn into RGB; bicubic. Both sides become multiples of `stride`, the nearest.
        size: Longer side in pixels, a multiple of `stride`.
        stride: Pixels along each side of one latent.

    Returns:
        float32 [3, height, width] in [-1, 1].
    """
    longest = max(image.size)
    width, height = (max(stride, round(side * size / longest / stride) * stride) for side in image.size)
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(scaled)).permute(2, 0, 1).float() / 127.5 - 1.0
