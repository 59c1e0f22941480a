"""Generated and real images beside each other: the best, the most ordinary, the worst."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from unix_bench.data import open_image
from unix_bench.tables.figures.sheet import (
    GREY,
    HEADING,
    SMALL,
    TEXT,
    as_png,
    as_svg,
    figure_style,
    place,
    shortened,
    stamp,
    write,
)

THUMB = 224  # pixels of a thumbnail's long side
DPI = 280
GAP, COLUMN_GAP, MARGIN = 6, 44, 30  # pixels: within a pair, between columns, around all
SCORE = 50  # pixels below a pair for its score
PAIR = 2 * THUMB + GAP
WIDTH = 2 * MARGIN + 3 * PAIR + 2 * COLUMN_GAP
STAMPS, HEADER, HEADS = 0.3, 0.62, 0.42  # inches

Thumbnail = NDArray[np.uint8]
Thumbnails = dict[Path, Thumbnail | None]


@dataclass(frozen=True)
class Shown:
    """A pair of images.

    Attributes:
        real: Image of the same study; None: it has none.
        score: What it was ranked by; None: not computed.
    """

    real: Path | None
    generated: Path
    score: float | None


@dataclass(frozen=True)
class Grid:
    """The pairs of one row of the results.

    Attributes:
        pathology: None: all studies.
        n: Studies in the row.
        criterion: What the images were ranked by, in words.
        best, median, worst: Up to three pairs each.
    """

    pathology: str | None
    n: int
    criterion: str
    best: tuple[Shown, ...]
    median: tuple[Shown, ...]
    worst: tuple[Shown, ...]


def picture_grids(grids: Sequence[Grid], restricted: bool, demo: bool, title: str) -> Iterator[tuple[str, bytes]]:
    """Draw each grid as a PNG and an SVG.

    Args:
        grids: One figure each.
        restricted: Stamp them RESTRICTED.
        demo: Stamp them as a stand-in's.
        title: The model's, as tables show it.

    Yields:
        Name of a file, such as `grid_pleural_effusion.png`, and its content.
    """
    stamps = ["RESTRICTED"] * restricted + ["DEMO: a stand-in's images"] * demo
    known: Thumbnails = {}
    for grid in grids:
        stem = "grid_" + re.sub(r"[^a-z0-9]+", "_", (grid.pathology or "overall").lower()).strip("_")
        with figure_style():
            figure = draw_grid(grid, stamps, title, known)
            png, svg = as_png(figure), as_svg(figure, f"{title}: {grid.pathology or 'Overall'} {' '.join(stamps)}")
        yield f"{stem}.png", png
        yield f"{stem}.svg", svg


def draw_grid(grid: Grid, stamps: list[str], title: str, known: Thumbnails) -> Figure:
    """The figure of a grid; thumbnails made for an earlier one are taken from `known`."""
    columns = (grid.best, grid.median, grid.worst)
    rows = max(map(len, columns))
    top = MARGIN / DPI + STAMPS * bool(stamps) + HEADER + HEADS * bool(rows)
    height = rows * (THUMB + SCORE) or SCORE
    figure = Figure(figsize=(WIDTH / DPI, math.ceil(top * DPI + height + MARGIN / 2) / DPI), dpi=DPI)
    _head(figure, grid, stamps, title)
    axes = place(figure, 0, top, WIDTH / DPI, height / DPI)
    axes.set_axis_off()
    canvas = np.full((height, WIDTH), 255, dtype=np.uint8)
    if not rows:
        axes.text(MARGIN / WIDTH, 0.5, "no image to show", transform=axes.transAxes, color=GREY, va="center")
    for number, (name, column) in enumerate(zip(("Best", "Median", "Worst"), columns, strict=True)):
        left = MARGIN + number * (PAIR + COLUMN_GAP)
        if rows:
            _column_head(figure, left / DPI, top, name)
        for row, shown in enumerate(column):
            _add_pair(axes, canvas, shown, left, row * (THUMB + SCORE), known)
    pixels, whole = np.repeat(canvas[..., None], 3, axis=2), (0, WIDTH, height, 0)
    axes.imshow(pixels, extent=whole, aspect="auto", interpolation="none", zorder=0)  # an SVG keeps these very pixels
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _head(figure: Figure, grid: Grid, stamps: list[str], title: str) -> None:
    left, top, width = MARGIN / DPI, MARGIN / DPI, (WIDTH - 2 * MARGIN) / DPI
    stamp(figure, left, top, stamps)
    top += STAMPS * bool(stamps)
    row = shortened(f"{grid.pathology or 'Overall'}, n = {grid.n}", width, HEADING, "bold")
    write(figure, left, top, row, size=HEADING, weight="bold")
    write(figure, left, top + 0.22, shortened(title, width, TEXT), size=TEXT, color=GREY)
    ranked = shortened(f"Ranked by {grid.criterion}", width, TEXT)
    write(figure, left, top + 0.38, ranked, size=TEXT, color=GREY)


def _column_head(figure: Figure, left: float, bottom: float, name: str) -> None:
    write(figure, left, bottom - 0.33, name, size=TEXT, weight="bold")
    for side, words in enumerate(("generated", "real")):
        centre = left + (side * (THUMB + GAP) + THUMB / 2) / DPI
        write(figure, centre, bottom - 0.16, words, size=SMALL, color=GREY, ha="center")


def _add_pair(axes: Axes, canvas: Thumbnail, shown: Shown, left: int, top: int, known: Thumbnails) -> None:
    for side, path in enumerate((shown.generated, shown.real)):
        corner = left + side * (THUMB + GAP)
        thumbnail = _known_thumbnail(path, known) if path is not None else None
        if thumbnail is None:
            _empty_frame(axes, corner, top, "cannot be read" if path is not None else "no real image")
            continue
        height, width = thumbnail.shape
        y, x = top + (THUMB - height) // 2, corner + (THUMB - width) // 2
        canvas[y : y + height, x : x + width] = thumbnail
    scored = shown.score is not None and math.isfinite(shown.score)
    score = f"{shown.score:.3f}".replace("-", "\N{MINUS SIGN}") if scored else "no score"
    style: dict[str, Any] = {"size": TEXT, "ha": "center", "va": "top"}
    axes.text(left + PAIR / 2, top + THUMB + 6, score, **style)


def _empty_frame(axes: Axes, left: int, top: int, words: str) -> None:
    x, y = (left + 1, left + THUMB - 1), (top + 1, top + THUMB - 1)
    axes.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color=GREY, linewidth=0.6)
    axes.text(left + THUMB / 2, top + THUMB / 2, words, size=SMALL, color=GREY, ha="center", va="center")


def _known_thumbnail(path: Path, known: Thumbnails) -> Thumbnail | None:
    if path not in known:
        known[path] = _thumbnail(path)
    return known[path]


def _thumbnail(path: Path) -> Thumbnail | None:
    """Grey, its long side THUMB pixels; None where the file cannot be read."""
    try:
        image = open_image(path).convert("L")
    except (OSError, ValueError):
        return None
    scale = THUMB / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0))
