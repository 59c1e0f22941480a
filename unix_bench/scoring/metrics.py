"""The metrics' names as data: what each is called, which way is better, and what it is a property of."""

from __future__ import annotations

import itertools
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

BRACES = re.compile(r"\{(\w+)\}")


class MetricCard(BaseModel):
    """One metric; as it is written, several whose names differ in the words that the braces stand for.

    Attributes:
        kind: "per-sample": the mean of a number each study has; "set": a number only a set has.
        better: None for a number that only puts others in their place, and for a metric that no card describes.
        finding: Which of the 14 findings it is about; None: all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    title: str
    task: Literal["report", "generation", "probe"]
    kind: Literal["per-sample", "set"]
    better: Literal["higher", "lower"] | None = None
    unit: str
    digits: int
    finding: str | None = None


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(files("unix_bench.scoring").joinpath("metrics.toml").read_text(encoding="utf-8"))


@cache
def headlines() -> list[str]:
    """The metrics that tables show where there is no room for all, in the order of their columns."""
    return [name for pattern in _document()["headlines"] for name, _ in _names(pattern)]


@cache
def metric_cards() -> dict[str, MetricCard]:
    """Every metric by name, in the order in which tables show them."""
    patterns = (MetricCard.model_validate(entry) for entry in _document()["metric"])
    return {card.name: card for pattern in patterns for card in _expanded(pattern)}


def _expanded(pattern: MetricCard) -> list[MetricCard]:
    """One card for each choice of words for the braces."""
    cards = []
    for name, keys in _names(pattern.name):
        titles = {slot: _document()["words"][slot][key] for slot, key in keys.items()}
        changes = {"name": name, "title": pattern.title.format(**titles)}
        cards.append(pattern.model_copy(update={**changes, "finding": keys.get("finding")}))
    return cards


def _names(pattern: str) -> list[tuple[str, dict[str, str]]]:
    """Each name that a pattern stands for, and the words that were put into its braces."""
    slots, words = BRACES.findall(pattern), _document()["words"]
    chosen = (dict(zip(slots, keys, strict=True)) for keys in itertools.product(*(words[slot] for slot in slots)))
    return [(pattern.format(**keys), keys) for keys in chosen]


def metric_card(name: str) -> MetricCard:
    """The card of a metric as results name it; of a plug-in's, one that knows no more than the name.

    >>> metric_card("fd_demodino").title
    'FD'
    >>> metric_card("chexbert_f1_micro_14_neg").title
    'CheXbert F1, micro, 14 findings, uncertain as neg'
    """
    unknown = MetricCard(name=name, title=name, task="report", kind="per-sample", unit="", digits=4)
    return metric_cards().get(name, unknown)
