"""How an image of any shape is brought to what an encoder's own image processor takes."""

from __future__ import annotations

from PIL import Image

PUBLISHED_SIDE = 299  # the side that CheXGenBench squashes every image to, which it chose for Inception


def pad_to_square(image: Image.Image) -> Image.Image:
    """The whole image in the middle of a black square as wide as its longer side.

    >>> pad_to_square(Image.new("L", (2, 5), 255)).size
    (5, 5)
    """
    side = max(image.size)
    if image.size == (side, side):
        return image
    square = Image.new(image.mode, (side, side))  # Pillow fills with black
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def squash(image: Image.Image) -> Image.Image:
    """299 by 299 whatever the aspect ratio, bilinear: what CheXGenBench shows every encoder.

    It uses torchvision's Resize, which on PIL images is Pillow's own antialiased resize (facts of `chexgenbench`).
    """
    return image.convert("RGB").resize((PUBLISHED_SIDE, PUBLISHED_SIDE), Image.Resampling.BILINEAR)


def as_it_is(image: Image.Image) -> Image.Image:
    """The image itself, so that the processor alone decides, as its publishers meant it."""
    return image
