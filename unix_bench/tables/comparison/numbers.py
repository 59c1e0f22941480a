"""Numbers of a comparison as readers see them."""

from __future__ import annotations

from unix_bench.scoring.metrics import metric_card
from unix_bench.tables.cells import ARROWS
from unix_bench.tables.comparison.contents import MetricDifference
from unix_bench.tables.comparison.plain import plain

MINUS = "\N{MINUS SIGN}"


def label(row: MetricDifference) -> str:
    """What the row is called; encoders tell metrics of images apart, which titles leave out."""
    card = metric_card(row.name)
    where = f"{row.pathology}: " if row.pathology else ""
    return where + plain(row.name if card.task == "generation" else card.title, lines=False) + ARROWS[row.better]


def value_text(name: str, value: float | None) -> str:
    """With as many digits as the metric's card says; a dash where there is none."""
    return "–" if value is None else _signed(f"{_rounded(name, value):.{metric_card(name).digits}f}")


def difference_text(row: MetricDifference) -> str:
    """The difference with its sign."""
    if row.difference is None:
        return "–"
    return _signed(f"{_rounded(row.name, row.difference):+.{metric_card(row.name).digits}f}")


def interval_text(row: MetricDifference) -> str:
    """Its limits; empty where it has none."""
    if row.ci is None:
        return ""
    low, high = (_signed(f"{_rounded(row.name, end):+.{metric_card(row.name).digits}f}") for end in row.ci)
    return f"{low} to {high}"


def p_text(p: float | None) -> str:
    """Three digits.

    >>> p_text(0.0002), p_text(0.25)
    ('< 0.001', '0.250')
    """
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rounded(name: str, value: float) -> float:
    return round(value, metric_card(name).digits) + 0.0


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
