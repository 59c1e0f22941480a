"""The results of one scoring as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.tables.console import wide_console

FLAGS = {
    "bias-dominated": ("*", "bias-dominated: fewer than 2 d images, most of it is sampling bias; do not rank by it"),
    "few-positives": ("†", "few-positives: too few reports show the finding for the interval to be trusted"),
}
ACROSS = 8  # more metrics than these are listed below each other
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


class _Notes:
    """Reasons and flags that cells refer to, in the order in which they are first met."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.flags: list[str] = []

    def reason(self, metric: Metric) -> str:
        reason = metric.reason or "no reason recorded"
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"– \\[{self.reasons.index(reason) + 1}]"

    def cell(self, metric: Metric | None) -> str:
        if metric is None:
            return ""
        if metric.value is None:
            return self.reason(metric)
        self.flags += [flag for flag in metric.flags if flag not in self.flags]
        return f"{_number(metric, metric.value)}{''.join(FLAGS[flag][0] for flag in metric.flags)}"


def print_results(results: Results) -> None:
    """Print the overall values and one row a pathology; what was not computed is numbered and explained below."""
    console = wide_console()
    notes = _Notes()
    spec, counts = results.predict_spec, results.counts
    overall = [metric for metric in results.metrics if metric.pathology is None]
    title = f"{spec['model']} | {spec['task']} | {spec['data']} | protocol {results.score_spec['protocol']}"
    if len(overall) <= ACROSS:
        instruments = "".join(f" | {name}" for name in results.score_spec["instruments"])
        _print_across(console, results.metrics, [metric.name for metric in overall], title + instruments, notes)
    else:
        _print_below_each_other(console, [m for m in overall if not metric_card(m.name).finding], title, notes)
        _print_findings(console, [m for m in overall if metric_card(m.name).finding], notes)
        if len(overall) < len(results.metrics):
            shown = [metric.name for metric in overall if metric.name in headlines() or _title(metric) == metric.name]
            _print_across(console, results.metrics, shown, "Studies with each finding (--json has all metrics)", notes)
    for number, reason in enumerate(notes.reasons, start=1):
        console.print(f"– [{number}] not computed: {reason}", markup=False, highlight=False)
    for flag in notes.flags:
        console.print(" ".join(FLAGS[flag]), markup=False, highlight=False)
    counted = f"{counts.ok} predicted, {counts.failed} failed, {counts.skipped} skipped of {counts.total} studies"
    console.print(counted + (" | DEMO: a stand-in's numbers" if results.demo else ""), highlight=False)
    run = f"run {results.run}" + (" | RESTRICTED data" if results.restricted else "")
    console.print(run, markup=False, highlight=False)


def _print_across(console: Console, metrics: Sequence[Metric], names: Sequence[str], title: str, notes: _Notes) -> None:
    """A column a metric, a row a pathology."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("")
    table.add_column("n", justify="right")
    for name in names:
        table.add_column(_title(next(metric for metric in metrics if metric.name == name)), justify="right")
    for pathology in dict.fromkeys(metric.pathology for metric in metrics):
        row = {metric.name: metric for metric in metrics if metric.pathology == pathology}
        cells = [notes.cell(row.get(name)) for name in names]
        n = str(next(iter(row.values())).n)
        table.add_row(pathology or "Overall", n, *cells, end_section=pathology is None)
    console.print(table)


def _print_below_each_other(console: Console, metrics: Sequence[Metric], title: str, notes: _Notes) -> None:
    """A row a metric with its interval; neighbours that lack a value for the same reason share one."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("")
    for heading in ("value", "95 % interval", "n"):
        table.add_column(heading, justify="right")
    for reason, group in groupby(metrics, lambda metric: metric.reason if metric.value is None else None):
        members = list(group)
        if reason is not None and len(members) > 1:
            table.add_row(f"{members[0].name} ... {members[-1].name}", notes.reason(members[0]), "", str(members[0].n))
            continue
        for metric in members:
            table.add_row(_title(metric), notes.cell(metric), _interval(metric), str(metric.n))
    console.print(table)


def _print_findings(console: Console, metrics: Sequence[Metric], notes: _Notes) -> None:
    """F1 of each finding: a row a finding, and how many references show it."""
    kinds: dict[tuple[str, str], dict[str, Metric]] = {}
    for metric in metrics:
        if metric.value is not None:
            labeller, finding, uncertain = metric_card(metric.name).title.split(", ")
            kinds.setdefault((labeller, uncertain), {})[finding] = metric
    if not kinds:
        return
    table = Table(title="F1 of each finding: value, 95 % interval, references that show it", title_justify="left")
    table.add_column("")
    for labeller, uncertain in kinds:
        table.add_column(f"{labeller}, {uncertain}", justify="right")
    for finding in next(iter(kinds.values())):
        cells = [row[finding] for row in kinds.values()]
        table.add_row(finding, *(f"{notes.cell(cell)}  {_interval(cell)}  {cell.support:>4}" for cell in cells))
    console.print(table)


def _title(metric: Metric) -> str:
    card = metric_card(metric.name)
    return escape(card.title) + ARROWS[metric.better or card.better]


def _interval(metric: Metric) -> str:
    if metric.ci is None:
        return ""
    return f"{_number(metric, metric.ci[0])} to {_number(metric, metric.ci[1])}"


def _number(metric: Metric, value: float) -> str:
    return f"{value:.{metric_card(metric.name).digits}f}"
