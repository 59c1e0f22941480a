"""Drawn chest X-rays, byte for byte the same on every machine: integers alone make them.

They are as plain as a child's drawing: two dark lungs with ribs, a heart, a spine. As in a radiograph seen from the
front, the patient's right lung is on the left of the image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 512
SEED = 14
TILE = 32
# Grey values before smoothing.
AIR, SOFT, LUNG, DENSE, SPINE, WHITE = 8, 150, 52, 188, 205, 214
RIB, CLAVICLE, GRAIN = 30, 45, 4
HEART = (288, 338, 74, 74)  # centre and half axes, in pixels
LARGE_HEART = (288, 330, 136, 104)

Grey = NDArray[np.int64]
Mask = NDArray[np.bool_]

Y, X = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)


def draw(variant: str) -> Image.Image:
    """The phantom of that name, mode L, 512 by 512.

    >>> draw("clear").size
    (512, 512)
    """
    return VARIANTS[variant]()


def chest(heart: tuple[int, int, int, int] = HEART, white: str | None = None) -> Image.Image:
    """A chest of two dark lungs.

    Args:
        heart: Centre and half axes of its shadow.
        white: The patient's side, "left" or "right", whose lung is white.
    """
    grey = np.full((SIDE, SIDE), AIR, dtype=np.int64)
    grey[_body()] = SOFT
    lungs = {"right": _lung(-1), "left": _lung(1)}
    both = lungs["right"] | lungs["left"]
    grey[both] = LUNG
    grey[both & _ribs()] += RIB
    middle = _middle()
    grey[middle] = DENSE
    grey[_ellipse(*heart) & (both | middle)] = DENSE
    grey[(np.abs(X - 256) < 15) & (Y > 30) & (Y % 32 < 26)] = SPINE
    if white is not None:
        grey[lungs[white]] = WHITE
    grey[_clavicles()] += CLAVICLE
    grain = np.random.RandomState(SEED).randint(-GRAIN, GRAIN + 1, size=grey.shape, dtype=np.int8)
    return _image(_smooth(_smooth(grey, 4), 3) + _smooth(4 * grain.astype(np.int64), 1))


def noise() -> Image.Image:
    """Every pixel on its own."""
    return Image.fromarray(np.random.RandomState(SEED).randint(0, 256, size=(SIDE, SIDE), dtype=np.uint8))


def texture() -> Image.Image:
    """Blotches of all sizes, the coarser the stronger, as in photographs of nature."""
    random = np.random.RandomState(SEED)
    total = np.zeros((SIDE, SIDE), dtype=np.int64)
    for step in (128, 64, 32, 16, 8, 4, 2):
        cells = random.randint(-step, step + 1, size=(SIDE // step, SIDE // step), dtype=np.int16).astype(np.int64)
        total += _smooth(np.kron(cells, np.ones((step, step), dtype=np.int64)), step // 2)
    return _image(128 + total)


def brightened(percent: int) -> Image.Image:
    """The clear chest with each grey value at that many percent."""
    return _image(np.asarray(chest(), dtype=np.int64) * percent // 100)


def shifted(pixels: int) -> Image.Image:
    """The clear chest moved to the right and down; what is uncovered is air."""
    moved = Image.new("L", (SIDE, SIDE), AIR)
    moved.paste(chest(), (pixels, pixels))
    return moved


def shuffled() -> Image.Image:
    """The tiles of the clear chest in another order: its grey values, and no anatomy."""
    count = SIDE // TILE
    tiles = np.asarray(chest()).reshape(count, TILE, count, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)
    order = np.argsort(np.random.RandomState(SEED).randint(0, 1 << 30, size=len(tiles), dtype=np.int32))
    mixed = tiles[order].reshape(count, count, TILE, TILE).swapaxes(1, 2)
    return Image.fromarray(np.ascontiguousarray(mixed.reshape(SIDE, SIDE)))


VARIANTS: dict[str, Callable[[], Image.Image]] = {
    "clear": chest,
    "brighter": lambda: brightened(115),
    "darker": lambda: brightened(80),
    "shifted": lambda: shifted(10),
    "large heart": lambda: chest(heart=LARGE_HEART),
    "white left lung": lambda: chest(white="left"),
    "white right lung": lambda: chest(white="right"),
    "mirrored": lambda: ImageOps.mirror(chest()),
    "upside down": lambda: ImageOps.flip(chest()),
    "shuffled": shuffled,
    "noise": noise,
    "texture": texture,
}


def _ellipse(x: int, y: int, across: int, down: int) -> Mask:
    inside: Mask = (X - x) ** 2 * down**2 + (Y - y) ** 2 * across**2 <= (across * down) ** 2
    return inside


def _body() -> Mask:
    trunk: Mask = (np.abs(X - 256) < 222 - np.maximum(0, Y - 250) // 12) & (Y > 130)
    shoulders = _ellipse(256, 170, 226, 110)
    neck: Mask = (np.abs(X - 256) < 62) & (Y < 130)
    return trunk | shoulders | neck


def _lung(side: int) -> Mask:
    """-1: the one on the left of the image, the patient's right."""
    top = _ellipse(256 + side * 112, 250, 82, 182)
    base = 396 + (side > 0) * 14 + (X - (256 + side * 112)) ** 2 // 110  # the diaphragm's dome
    outer = np.abs(X - 256) > 30
    inside: Mask = top & (base > Y) & outer
    return inside


def _ribs() -> Mask:
    away = np.abs(X - 256)
    behind = (Y + away * away // 420 - away // 3) % 40 < 9
    before = (Y - away // 2) % 52 < 7
    either: Mask = behind | before
    return either


def _middle() -> Mask:
    inside: Mask = (np.abs(X - 256) < 34 + np.maximum(0, Y - 330) // 8) & (Y > 60)
    return inside


def _clavicles() -> Mask:
    away = np.abs(X - 256)
    inside: Mask = (np.abs(Y - 112 + away // 5) < 8) & (away > 24) & (away < 190)
    return inside


def _smooth(grey: Grey, reach: int) -> Grey:
    """Mean over a square of 2 * reach + 1 pixels, rounded down; the border is repeated."""
    width = 2 * reach + 1
    for axis in (0, 1):
        margin = [(0, 0), (0, 0)]
        margin[axis] = (reach + 1, reach)
        sums = np.pad(grey, margin, mode="edge").cumsum(axis=axis)
        ends, starts = np.split(sums, [width], axis=axis)[1], np.split(sums, [sums.shape[axis] - width], axis=axis)[0]
        grey = (ends - starts) // width
    return grey


def _image(grey: Grey) -> Image.Image:
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))
