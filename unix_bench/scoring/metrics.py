"""The metrics' names as data: what each is called, which way is better, and what it is a property of."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict


class MetricCard(BaseModel):
    """One metric.

    Attributes:
        kind: "per-sample": the mean of a number each study has; "set": a number only a set has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    title: str
    task: Literal["report", "generation"]
    kind: Literal["per-sample", "set"]
    better: Literal["higher", "lower"]
    unit: str
    digits: int


@cache
def metric_cards() -> tuple[MetricCard, ...]:
    """All metrics in the order in which tables show them."""
    text = files("unix_bench.scoring").joinpath("metrics.toml").read_text(encoding="utf-8")
    return tuple(MetricCard.model_validate(entry) for entry in tomllib.loads(text)["metric"])


def metric_card(name: str) -> MetricCard:
    """The card of a metric as results name it.

    >>> metric_card("fd_demodino").title
    'FD'
    """
    for card in metric_cards():
        stem, braces, _ = card.name.partition("{")
        if name == card.name or (braces and name.startswith(stem)):
            return card
    raise KeyError(name)
