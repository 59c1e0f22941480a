"""Reports beside their references, with the findings in which they agree and differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unix_bench.tables.page.html import Html, element

Agreement = Literal["both", "missed", "added"]
WORDS: dict[Agreement, str] = {
    "both": "✓ {}",
    "missed": "− {}: only in the reference",
    "added": "+ {}: only in the prediction",
}


@dataclass(frozen=True)
class ShownReport:
    """A prediction and its reference.

    Attributes:
        score: What it was ranked by; None: not known.
        labels: Findings that a labeller found in either, and in which; an uncertain one has a question mark.
    """

    id: str
    score: float | None
    prediction: str
    reference: str
    labels: tuple[tuple[str, Agreement], ...]


@dataclass(frozen=True)
class Group:
    """Some of the reports, such as the worst."""

    title: str
    reports: tuple[ShownReport, ...]


def report_pairs(groups: Sequence[Group]) -> Html:
    """Every group with its pairs."""
    parts = []
    for group in groups:
        if group.reports:
            parts += [element("h3", group.title), *map(_pair, group.reports)]
    return Html("".join(parts))


def _pair(shown: ShownReport) -> Html:
    score = "" if shown.score is None else f" · {shown.score:.3f}"
    sides = [
        element("div", element("h4", heading), element("div", text or "(empty)", class_="words"))
        for heading, text in (("Reference", shown.reference), ("Prediction", shown.prediction))
    ]
    labels = [element("span", WORDS[kind].format(name), class_=f"label {kind}") for name, kind in shown.labels]
    return element(
        "article",
        element("header", element("code", shown.id), score),
        element("div", *sides, class_="sides"),
        element("div", *(labels or [element("span", "no finding in either")]), class_="labels"),
        class_="pair",
    )
