"""Several seeds of one model as a table for people."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.spread import SeedSummary
from unix_bench.tables.cells import Notes, interval, number
from unix_bench.tables.console import wide_console


def print_spread(summary: SeedSummary) -> None:
    """Print mean, spread and interval of each metric over all studies, and of the headlines for each pathology."""
    seeds = f"{len(summary.seeds)} seeds from {summary.seeds[0]}"
    table = Table(title=escape(f"{summary.model} | {summary.task} | {summary.data} | {seeds}"), title_justify="left")
    for heading in ("", "", "mean", "sd between seeds", "least to most", "95 % interval, first seed"):
        table.add_column(heading, justify="right" if heading else "left")
    notes = Notes()
    for metric in summary.metrics:
        card, spread = metric_card(metric.name), metric.spread
        if spread is None or (metric.pathology and metric.name not in headlines()):
            continue
        table.add_row(
            metric.pathology or "Overall",
            escape(card.title if card.task == "report" else metric.name),
            number(metric.name, spread.mean) + notes.marks(metric.flags),
            "" if spread.sd is None else number(metric.name, spread.sd),
            interval(metric.name, (spread.low, spread.high)),
            interval(metric.name, metric.ci),
        )
    console = wide_console()
    console.print(table)
    notes.explain(console)
