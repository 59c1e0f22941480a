"""What stands in a cell of a table: a number, its interval, marks for flags and reasons that are explained below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console

from unix_bench.records import Metric
from unix_bench.scoring.metrics import metric_card

FLAGS = {
    "bias-dominated": ("*", "bias-dominated: most of it is the bias of few images; it is never ranked (see the floor)"),
    "few-positives": ("†", "few-positives: too few reports show the finding for the interval to be trusted"),
    "few-patients": ("‡", "few-patients: fewer than 15 effective patients, intervals are too narrow"),
    "patients-unknown": ("§", "patients-unknown: each study counts as a patient, intervals are too narrow"),
    "prompts-cut": ("¶", "prompts-cut: some prompts are longer than the text encoder reads, and were cut"),
}
UNKNOWN_FLAG = "°"
Sign = Literal["-", "+"]  # written before numbers below 0, or before every one
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


class Notes:
    """Reasons and flags that cells refer to, in the order in which they are first met."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._flags: list[str] = []

    def place(self, metric: Metric) -> int:
        """The number under which the reason why there is no value stands below."""
        reason = metric.reason or "no reason recorded"
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason) + 1

    def marks(self, flags: Sequence[str]) -> str:
        """The signs of flags."""
        self._flags += [flag for flag in flags if flag not in self._flags]
        return "".join(mark_and_meaning(flag)[0] for flag in flags)

    def value(self, metric: Metric, value: float) -> str:
        """With the marks of its flags and its spread."""
        spread = f" ± {number(metric.name, metric.sd)}" if metric.sd is not None else ""
        return f"{number(metric.name, value)}{self.marks(metric.flags)}{spread}"

    def reasons(self) -> list[str]:
        """What the numbers of reasons mean, from 1."""
        return [f"not computed: {reason}" for reason in self._reasons]

    def flags(self) -> list[str]:
        """What the marks mean."""
        return list(dict.fromkeys(" ".join(mark_and_meaning(flag)) for flag in self._flags))

    def explain(self, console: Console) -> None:
        """Print what the marks and numbers mean."""
        for place, reason in enumerate(self.reasons(), start=1):
            console.print(f"– [{place}] {reason}", markup=False, highlight=False)
        for flag in self.flags():
            console.print(flag, markup=False, highlight=False)


def mark_and_meaning(flag: str) -> tuple[str, str]:
    """The sign of a flag and what it says; flags that are not known here share one."""
    return FLAGS.get(flag, (UNKNOWN_FLAG, f"{flag}: flagged so by its record"))


def heading(name: str, better: str | None, mixed: bool = False) -> str:
    """What a metric is called, and which way is better.

    Args:
        name: Of the metric.
        better: As its record says; None: as its card does.
        mixed: It stands among those of other encoders; as titles leave these out, metrics of images go by their names.
    """
    return called(name, mixed) + arrow(name, better)


def called(name: str, mixed: bool) -> str:
    """What a metric is called, as for `heading`."""
    card = metric_card(name)
    return name if mixed and card.task == "generation" else card.title


def arrow(name: str, better: str | None) -> str:
    """Which way is better, as for `heading`; empty where none is."""
    return ARROWS.get(better or metric_card(name).better, "")


def interval(name: str, ci: tuple[float, float] | None, sign: Sign = "-") -> str:
    """Its limits, with the digits of the metric of this name; empty where it has none."""
    return "" if ci is None else f"{number(name, ci[0], sign)} to {number(name, ci[1], sign)}"


def number(name: str, value: float, sign: Sign = "-") -> str:
    """With as many digits as the card of the metric of this name says."""
    return fixed(value, metric_card(name).digits, sign)


def fixed(value: float, digits: int, sign: Sign = "-") -> str:
    """With so many digits after the point; what rounds to 0 has no minus.

    >>> fixed(-0.04, 1), fixed(0.25, 2, sign="+")
    ('0.0', '+0.25')
    """
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"
