"""What stands in a cell of a table: a number, its interval, marks for flags and reasons that are explained below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from unix_bench.records import Metric
from unix_bench.scoring.metrics import metric_card

FLAGS = {
    "bias-dominated": ("*", "bias-dominated: most of it is the bias of few images; it is never ranked (see the floor)"),
    "few-positives": ("†", "few-positives: too few reports show the finding for the interval to be trusted"),
    "few-patients": ("‡", "few-patients: fewer than 15 effective patients, intervals are too narrow"),
    "patients-unknown": ("§", "patients-unknown: each study counts as a patient, intervals are too narrow"),
    "prompts-cut": ("¶", "prompts-cut: some prompts are longer than the text encoder reads, and were cut"),
}
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


class Notes:
    """Reasons and flags that cells refer to, in the order in which they are first met."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._flags: list[str] = []

    def reason(self, metric: Metric) -> str:
        """A dash and the number under which the reason stands below."""
        reason = metric.reason or "no reason recorded"
        if reason not in self._reasons:
            self._reasons.append(reason)
        return f"– \\[{self._reasons.index(reason) + 1}]"

    def cell(self, metric: Metric | None, with_interval: bool = False) -> str:
        """A value with the marks of its flags; a dash where there is none, nothing where the row has no such metric."""
        if metric is None:
            return ""
        if metric.value is None:
            return self.reason(metric)
        marks = self.marks(metric.flags)
        spread = f" ± {number(metric, metric.sd)}" if metric.sd is not None else ""
        between = f"  {interval(metric)}" if with_interval and metric.ci is not None else ""
        return f"{number(metric, metric.value)}{marks}{spread}{between}"

    def marks(self, flags: Sequence[str]) -> str:
        """The signs of flags."""
        self._flags += [flag for flag in flags if flag not in self._flags]
        return "".join(FLAGS[flag][0] for flag in flags)

    def explain(self, console: Console) -> None:
        """Print what the marks and numbers mean."""
        for place, reason in enumerate(self._reasons, start=1):
            console.print(f"– [{place}] not computed: {reason}", markup=False, highlight=False)
        for flag in self._flags:
            console.print(" ".join(FLAGS[flag]), markup=False, highlight=False)


def title(metric: Metric) -> str:
    """What a metric is called, and which way is better."""
    card = metric_card(metric.name)
    return escape(card.title) + ARROWS[metric.better or card.better]


def interval(metric: Metric) -> str:
    """Its limits; empty where it has none."""
    if metric.ci is None:
        return ""
    return f"{number(metric, metric.ci[0])} to {number(metric, metric.ci[1])}"


def number(metric: Metric, value: float) -> str:
    """With as many digits as its card says; what rounds to 0 has no sign."""
    digits = metric_card(metric.name).digits
    return f"{round(value, digits) + 0.0:.{digits}f}"
