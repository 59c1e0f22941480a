"""Numbers of a comparison as readers see them."""

from __future__ import annotations

from unix_bench.tables.cells import heading, interval, number
from unix_bench.tables.comparison.contents import MetricDifference
from unix_bench.tables.harmless import harmless


def label(row: MetricDifference) -> str:
    """What the row is called."""
    where = f"{row.pathology}: " if row.pathology else ""
    return where + harmless(heading(row.name, row.better, mixed=True))


def value_text(name: str, value: float | None) -> str:
    """With as many digits as the metric's card says; a dash where there is none."""
    return "–" if value is None else _typeset(number(name, value))


def difference_text(row: MetricDifference) -> str:
    """The difference with its sign."""
    return "–" if row.difference is None else _typeset(number(row.name, row.difference, "+"))


def interval_text(row: MetricDifference) -> str:
    """Its limits; empty where it has none."""
    return _typeset(interval(row.name, row.ci, "+"))


def p_text(p: float | None) -> str:
    """Three digits.

    >>> p_text(0.0002), p_text(0.25)
    ('< 0.001', '0.250')
    """
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _typeset(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
