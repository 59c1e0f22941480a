"""Reports beside their references, with the findings in which they agree and differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unix_bench.tables.html import Html, element

Agreement = Literal["both", "missed", "added"]
WORDS: dict[Agreement, str] = {
    "both": "✓ {}",
    "missed": "− {}: only in the reference",
    "added": "+ {}: only in the prediction",
}
STYLE = """
.pair { border: 1px solid var(--line); margin: .8rem 0; break-inside: avoid; }
.pair header { background: var(--faint); padding: .3rem .8rem; font-size: .87rem; }
.sides { display: grid; grid-template-columns: 1fr 1fr; }
.sides > div { padding: .5rem .8rem .7rem; min-width: 0; } .sides > div + div { border-left: 1px solid var(--line); }
.sides h4 { margin: 0 0 .2rem; font-size: .8rem; color: var(--grey); }
.words { white-space: pre-wrap; max-height: 30rem; overflow-y: auto; }
.labels { padding: .4rem .8rem .5rem; border-top: 1px solid var(--line); font-size: .84rem; }
.label { display: inline-block; margin: .1rem .35rem .1rem 0; padding: 0 .45rem; border: 1px solid;
  border-radius: .2rem; }
.both { color: var(--green); } .missed { color: var(--red); border-style: dashed; }
.added { color: var(--red); background: #fdeee4; }
@media (max-width: 42rem) { .sides { grid-template-columns: 1fr; }
  .sides > div + div { border-left: 0; border-top: 1px solid var(--line); } }
"""


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
