"""What all figures share: their style, places in inches from the top left corner, and how they become bytes."""

from __future__ import annotations

import io
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

INK, GREY, FAINT, BAND = "#1a1a1a", "#8a8a8a", "#ececec", "#d9dee3"
BLUE, GREEN, VERMILION = "#0072b2", "#009e73", "#d55e00"  # of Okabe and Ito, told apart with any colour vision
TEXT, SMALL, HEADING = 8.5, 7.5, 10.5  # points
FONT = "DejaVu Sans"  # matplotlib brings it along
FINE = 1200  # pixels an inch at which text is measured, so that their rounding does not count
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
STYLE: dict[Any, Any] = {
    "font.family": [FONT],
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "unix-bench",
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Matplotlib's own defaults and our style, whatever the user configured; afterwards all is as it was."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def as_png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    quick = {"compress_level": 3}  # files as small as by Pillow's own choice, in half the time
    figure.savefig(stream, format="png", dpi=figure.dpi, metadata={"Software": None}, pil_kwargs=quick)
    return stream.getvalue()


def as_svg(figure: Figure, title: str) -> bytes:
    stream = io.BytesIO()
    metadata = {"Title": printable(title), "Date": None, "Creator": None}
    figure.savefig(stream, format="svg", dpi=figure.dpi, metadata=metadata)
    return stream.getvalue()


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """New axes, in inches from the figure's top left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Text whose upper edge is `top` inches below the figure's."""
    across, down = figure.get_size_inches()
    figure.text(left / across, 1 - top / down, printable(text), va="top", **style)


def stamp(figure: Figure, left: float, top: float, stamps: list[str]) -> None:
    """Words nobody overlooks, beside each other."""
    box = {"boxstyle": "square,pad=0.35", "facecolor": VERMILION, "edgecolor": "none"}
    for text in stamps:
        style = {"color": "white", "weight": "bold", "size": TEXT}
        write(figure, left + 0.05, top + 0.05, text, bbox=box, **style)
        left += text_width(text, TEXT, "bold") + 0.25


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())


def printable(text: str) -> str:
    r"""One line of characters that the font has and XML admits; others are replaced or, where invisible, left out.

    >>> printable("Lungs\n\x00 <&> \ud800")
    'Lungs <&> �'
    """
    kept = []
    for letter in text:
        kind = unicodedata.category(letter)
        if letter.isspace():
            kept.append(" ")
        elif kind not in ("Cc", "Cf"):
            kept.append(letter if kind != "Cs" and ord(letter) in _glyphs() else UNKNOWN)
    return " ".join("".join(kept).split())


@cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Inches a line of text takes."""
    font = get_font(findfont(FontProperties(family=FONT, weight=weight)))
    font.set_size(size, FINE)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / FINE  # it counts in 64ths of a pixel


def shortened(text: str, width: float, size: float, weight: str = "normal") -> str:
    """The text, cut with an ellipsis where it is wider than so many inches."""
    text = printable(text)
    if text_width(text, size, weight) <= width:
        return text
    kept = bisect_right(range(len(text)), width, key=lambda end: text_width(f"{text[:end]}…", size, weight))
    return f"{text[: max(0, kept - 1)].rstrip()}…"
