"""Tiers of panels that share their rows: all studies first, then the 14 findings; a dot a value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from unix_bench.data import FINDINGS
from unix_bench.records import Metric
from unix_bench.tables.figures.sheet import (
    BAND,
    FAINT,
    GREY,
    HEADING,
    INK,
    SMALL,
    TEXT,
    place,
    shortened,
    stamp,
    text_width,
    write,
)

ROWS: tuple[str | None, ...] = (None, *FINDINGS)
APART = 1.35  # rows between all studies and the first finding
HEIGHTS = (0.0, *(APART + number for number in range(len(FINDINGS))))
WIDTH, MARGIN, GAP, NAMES, NUMBERS = 6.0, 0.12, 0.2, 1.8, 0.42  # inches: NUMBERS for n, beside the names
ROW, TITLE, TICKS, KEY_LINE = 0.19, 0.24, 0.26, 0.15  # inches
APART_LABELS = 0.06  # inches between labels of ticks
BIASED = "bias-dominated"
LOG_FROM = 20.0  # greatest over least value from which a panel of distances has a logarithmic axis

Table = dict[tuple[str, str | None], Metric]


@dataclass(frozen=True)
class Mark:
    """One metric in a panel.

    Attributes:
        words: What the key says of it; None: the panel's title says it.
        shift: Rows by which it lies below the middle of its row.
    """

    metric: str
    words: str | None
    marker: str
    colour: str
    shift: float = 0.0
    size: float = 4.2


@dataclass(frozen=True)
class Panel:
    """A horizontal axis.

    Attributes:
        band: Metric whose size is a band around zero.
        share: Its values lie in 0..1, or a little above.
        logarithmic: Where its values are positive and far apart.
        hollow: What the key says of a value that is flagged `bias-dominated`.
    """

    title: str
    marks: tuple[Mark, ...]
    band: str | None = None
    band_words: str = ""
    share: bool = False
    logarithmic: bool = False
    hollow: str = ""


@dataclass(frozen=True)
class KeyEntry:
    """A line of a panel's key; without a mark it is about the band."""

    mark: Mark | None
    words: str
    hollow: bool = False


@dataclass(frozen=True)
class Heading:
    """What stands above the panels."""

    title: str
    origin: str
    stamps: list[str]


def has_values(panel: Panel, table: Table) -> bool:
    names = {mark.metric for mark in panel.marks}
    return any(metric.name in names and metric.value is not None for metric in table.values())


def draw_tiers(tiers: Sequence[Sequence[Panel]], table: Table, heading: Heading) -> Figure:
    """Panels beside each other in tiers below each other; each axes' label is its panel's title."""
    tall = HEIGHTS[-1] * ROW + ROW * 1.2
    keys = [KEY_LINE * max(len(list(_key(panel, table))) for panel in tier) for tier in tiers]
    top = MARGIN + 0.3 * bool(heading.stamps) + 0.56
    total = top + sum(TITLE + tall + TICKS + key + GAP for key in keys) - GAP + MARGIN
    figure = Figure(figsize=(WIDTH, round(total, 2)), dpi=300)
    _write_heading(figure, heading)
    for tier, key in zip(tiers, keys, strict=True):
        _draw_tier(figure, tier, table, top, tall)
        top += TITLE + tall + TICKS + key + GAP
    return figure


def _write_heading(figure: Figure, heading: Heading) -> None:
    top, width = MARGIN, WIDTH - 2 * MARGIN
    stamp(figure, MARGIN, top, heading.stamps)
    top += 0.3 * bool(heading.stamps)
    title = shortened(heading.title, width, HEADING, "bold")
    write(figure, MARGIN, top, title, size=HEADING, weight="bold")
    write(figure, MARGIN, top + 0.22, shortened(heading.origin, width, TEXT), size=TEXT, color=GREY)


def _draw_tier(figure: Figure, tier: Sequence[Panel], table: Table, top: float, tall: float) -> None:
    left = MARGIN + NAMES + NUMBERS
    width = (WIDTH - MARGIN - left - GAP * (len(tier) - 1)) / len(tier)
    keys = [list(_key(panel, table)) for panel in tier]
    panels = []
    for number, (panel, key) in enumerate(zip(tier, keys, strict=True)):
        axes = place(figure, left, top + TITLE, width, tall)
        _draw_panel(axes, panel, table)
        title = panel.title + (" (logarithmic)" if axes.get_xscale() == "log" else "")
        write(figure, left, top, title, size=TEXT, weight="bold")
        room = width if any(keys[number + 1 :]) else WIDTH - MARGIN - left
        for line, entry in enumerate(key):
            _draw_key(figure, entry, left, top + TITLE + tall + TICKS + line * KEY_LINE, room)
        panels.append(axes)
        left += width + GAP
    names = place(figure, MARGIN, top + TITLE, NAMES + NUMBERS, tall)
    names.set_axis_off()
    _set_rows(names)
    names.set(xlim=(0, NAMES + NUMBERS), label="names")
    names.text(NAMES + NUMBERS - 0.16, -0.95, "n", size=SMALL, color=GREY, ha="right", va="center_baseline")
    for pathology, height in zip(ROWS, HEIGHTS, strict=True):
        _draw_row_words(names, panels, tier, table, pathology, height)


def _set_rows(axes: Axes) -> None:
    axes.set_ylim(HEIGHTS[-1] + 0.6, -0.6)
    axes.set_yticks([])


def _draw_row_words(
    names: Axes, panels: Sequence[Axes], tier: Sequence[Panel], table: Table, pathology: str | None, height: float
) -> None:
    """A row's name and n, and in the panels why they are empty there: once where all of them are."""
    known = [[table.get((mark.metric, pathology)) for mark in panel.marks] for panel in tier]
    empty = [all(metric is None or metric.value is None for metric in metrics) for metrics in known]
    style: dict[str, Any] = {"va": "center_baseline", "color": GREY if all(empty) else INK, "size": TEXT}
    names.text(0, height, pathology or "Overall", weight="bold" if pathology is None else "normal", **style)
    n = next((metric.n for metrics in known for metric in metrics if metric is not None), None)
    if n is not None:
        names.text(NAMES + NUMBERS - 0.16, height, str(n), ha="right", **style)
    width = (WIDTH - 2 * MARGIN - NAMES - NUMBERS + GAP) / len(tier) - GAP
    for number in [0] if all(empty) else [number for number, lacks in enumerate(empty) if lacks]:
        metric = next((metric for metric in known[number] if metric is not None), None)
        room = WIDTH - 2 * MARGIN - NAMES - NUMBERS if all(empty) else width
        words = shortened(short_reason(metric), room, SMALL)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        style = {"size": SMALL, "color": GREY, "va": "center_baseline", "bbox": box, "zorder": 5}
        panels[number].text(0, height, words, transform=panels[number].get_yaxis_transform(), **style)


def short_reason(metric: Metric | None) -> str:
    """Why a row has no value, in few words.

    >>> def missing(n, reason):
    ...     return Metric(name="kd_x", value=None, n=n, reason=reason, protocol="sound", signature="")
    >>> short_reason(missing(1, "needs 2 images, there is 1")), short_reason(missing(0, "no study shows it"))
    ('n = 1, needs 2', 'n = 0')
    >>> short_reason(missing(40, "the encoder is not here: see `unix-bench doctor`"))
    'the encoder is not here'
    """
    if metric is None:
        return "not scored"
    reason = metric.reason or "no value"
    if metric.n == 0:
        return "n = 0"
    if few := re.match(r"needs (\d+) images\b", reason):
        return f"n = {metric.n}, needs {few[1]}"
    return re.split(r"[:;,(]", reason)[0].strip()


def _draw_panel(axes: Axes, panel: Panel, table: Table) -> None:
    axes.set_label(panel.title)
    _set_rows(axes)
    axes.hlines(HEIGHTS, 0, 1, transform=axes.get_yaxis_transform(), color=FAINT, linewidth=0.6, zorder=0)
    low, high, logarithmic = _limits(panel, table)
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlim(low, high)
    _set_ticks(axes, panel, low, high)
    if panel.band and not logarithmic:
        floors = [(height, abs(size)) for height, size in _values(table, panel.band)]
        heights, sizes = [height for height, _ in floors], [size for _, size in floors]
        doubled, starts = [2 * size for size in sizes], [-size for size in sizes]
        axes.barh(heights, doubled, left=starts, height=0.84, color=BAND, zorder=1, label=panel.band)
        axes.axvline(0, color=GREY, linewidth=0.7, zorder=2)
    for mark in panel.marks:
        _draw_mark(axes, mark, table, low, high)


def _draw_mark(axes: Axes, mark: Mark, table: Table, low: float, high: float) -> None:
    """Whiskers, then dots; a whisker that leaves the panel ends in an arrow."""
    rows = [(height + mark.shift, metric) for height, metric in _metrics(table, mark.metric)]
    for height, metric in rows:
        ends = whisker(metric)
        if ends is None:
            continue
        start, end = max(ends[0], low), min(ends[1], high)
        axes.plot([start, end], [height] * 2, color=mark.colour, linewidth=1.1, zorder=3, solid_capstyle="butt")
        for place_of, cut, arrow in ((low, ends[0] < low, "<"), (high, ends[1] > high, ">")):
            if cut:
                axes.plot([place_of], [height], arrow, color=mark.colour, markersize=3, clip_on=False, zorder=3)
    for hollow in (False, True):
        kept = [(height, metric.value) for height, metric in rows if (BIASED in metric.flags) == hollow]
        if kept:
            heights, values = zip(*kept, strict=True)
            _plot_dots(axes, mark, values, heights, hollow)


def whisker(metric: Metric) -> tuple[float, float] | None:
    """The interval of a value, or one standard deviation to both sides of it."""
    sd: float | None = getattr(metric, "sd", None)
    if metric.ci is not None or metric.value is None or sd is None:
        return metric.ci
    return metric.value - sd, metric.value + sd


def _metrics(table: Table, name: str) -> Iterator[tuple[float, Metric]]:
    """Height and metric of each row that has a value."""
    for pathology, height in zip(ROWS, HEIGHTS, strict=True):
        metric = table.get((name, pathology))
        if metric is not None and metric.value is not None and math.isfinite(metric.value):
            yield height, metric


def _values(table: Table, name: str) -> Iterator[tuple[float, float]]:
    for height, metric in _metrics(table, name):
        if metric.value is not None:
            yield height, metric.value


def _limits(panel: Panel, table: Table) -> tuple[float, float, bool]:
    """Ends of the axis, and whether it is logarithmic.

    All values lie inside; whiskers and bands reach at most as far beyond them as they span, so that one row of few
    images does not flatten the others.
    """
    metrics = [metric for mark in panel.marks for _, metric in _metrics(table, mark.metric)]
    values = [metric.value for metric in metrics if metric.value is not None]
    reach = [end for metric in metrics for end in whisker(metric) or () if math.isfinite(end)]
    low, high = min(values), max(values)
    if panel.logarithmic and low > 0 and high > LOG_FROM * low:
        reach = [min(max(end, low / 2), high * 2) for end in reach]
        return min([low, *reach]) / 1.15, max([high, *reach]) * 1.15, True
    if panel.share:
        return 0.0, max(1.0, high, min(max([high, *reach]), 1.5 * high)) * 1.03, False
    if panel.band:
        reach += [end for _, size in _values(table, panel.band) for end in (size, -size)]
    low, high = min(0.0, low), max(0.0, high)
    span = high - low or 1.0
    reach = [min(max(end, low - span), high + span) for end in reach]
    low, high = min([low, *reach]), max([high, *reach])
    pad = 0.04 * (high - low or 1.0)
    return (low - pad if low < 0 else low), high + pad, False


def _set_ticks(axes: Axes, panel: Panel, low: float, high: float) -> None:
    """As many ticks as have room for their labels beside each other and beside the next panel's."""
    candidates: list[list[float]]
    if axes.get_xscale() == "log":
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        candidates = [[step * 10.0**power for power in powers for step in steps] for steps in ((1, 3), (1,))]
        candidates += [[10.0**power for power in powers if power % every == 0] for every in (2, 4, 8)]
    elif panel.share and high < 1.2:
        candidates = [[0.0, 0.5, 1.0]]
    else:
        candidates = [list(MaxNLocator(most).tick_values(low, high)) for most in (4, 3, 2, 1)]
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in candidates]
    with_room = (kept for ticks in inside if (kept := _with_room(axes, ticks)))
    axes.xaxis.set_major_locator(FixedLocator(next(with_room, [])))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick_label(value)))


def _with_room(axes: Axes, ticks: list[float]) -> list[float]:
    """Ticks but those whose label would reach far out of the panel; none if two labels would touch."""
    frame, dpi = axes.get_window_extent(), axes.figure.dpi
    kept, free = [], -GAP / 2
    for tick in ticks:
        centre = (axes.transData.transform((tick, 0))[0] - frame.x0) / dpi
        half = text_width(_tick_label(tick), SMALL) / 2
        if centre - half < -GAP / 2 or centre + half > frame.width / dpi + GAP / 2 - APART_LABELS:
            continue
        if centre - half < free:
            return []
        kept.append(tick)
        free = centre + half + APART_LABELS
    return kept


def _tick_label(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _key(panel: Panel, table: Table) -> Iterator[KeyEntry]:
    """What is drawn and needs words."""
    for mark in panel.marks:
        if mark.words and any(_metrics(table, mark.metric)):
            yield KeyEntry(mark, mark.words)
    if panel.hollow and any(BIASED in m.flags for mark in panel.marks for _, m in _metrics(table, mark.metric)):
        yield KeyEntry(panel.marks[0], panel.hollow, hollow=True)
    if panel.band and any(_metrics(table, panel.band)):
        yield KeyEntry(None, panel.band_words)


def _draw_key(figure: Figure, entry: KeyEntry, left: float, top: float, width: float) -> None:
    sign = place(figure, left, top, 0.16, KEY_LINE)
    sign.set_axis_off()
    sign.set(xlim=(-1, 1), ylim=(-1, 1), label="key")
    if entry.mark is None:
        sign.barh([0], [1.8], left=[-0.9], height=1.1, color=BAND)
    else:
        _plot_dots(sign, entry.mark, [0], [0], entry.hollow)
    sign.text(1.35, 0, shortened(entry.words, width - 0.2, SMALL), size=SMALL, va="center_baseline")


def _plot_dots(axes: Axes, mark: Mark, values: Sequence[float], heights: Sequence[float], hollow: bool) -> None:
    axes.plot(
        values,
        heights,
        linestyle="none",
        marker=mark.marker,
        markersize=mark.size,
        markeredgecolor=mark.colour,
        markerfacecolor="white" if hollow else mark.colour,
        markeredgewidth=1.0,
        label=f"{mark.metric}, {BIASED}" if hollow else mark.metric,
        zorder=4,
        clip_on=False,
    )
