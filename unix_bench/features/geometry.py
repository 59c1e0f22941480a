"""How an image of any shape is brought to what an encoder's own image processor takes.

The names are those that signatures state; an encoder says which of them it has and what each does to an image.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

PAD_SQUARE = "pad-square"  # the whole image, in its own proportions: every encoder's default
SQUASH_299 = "squash-299"  # that of protocol `chexgenbench`
CENTRE_CROP = "centre-crop"  # BioViL-T's own, which cuts margins
COLUMN_SUFFIXES = {PAD_SQUARE: "", SQUASH_299: "_squash"}

PUBLISHED_SIDE = 299  # the side that CheXGenBench squashes every image to, which it chose for Inception

Fit = Callable[[Image.Image], Image.Image]


def column_of(name: str, geometry: str) -> str:
    """What stands in metric names for an encoder that sees images in a geometry.

    >>> column_of("raddino", PAD_SQUARE), column_of("raddino", SQUASH_299)
    ('raddino', 'raddino_squash')
    """
    return name + COLUMN_SUFFIXES[geometry]


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
    """The image itself, where the encoder's own preparation does what the geometry says."""
    return image
