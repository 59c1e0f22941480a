"""The results of one scoring as a table for people."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import metric_card
from unix_bench.tables.console import wide_console

FLAGS = {"bias-dominated": "* bias-dominated: fewer than 2 d images, most of it is sampling bias; do not rank by it"}


def print_results(results: Results) -> None:
    """Print the overall row and one a pathology; what was not computed is numbered and explained below."""
    console = wide_console()
    names = list(dict.fromkeys(metric.name for metric in results.metrics))
    spec, counts = results.predict_spec, results.counts
    encoder = results.score_spec["encoder"]
    title = f"{spec['model']} | {spec['task']} | {spec['data']} | protocol {results.score_spec['protocol']}"
    table = Table(title=escape(title + (f" | {encoder}" if encoder else "")), title_justify="left")
    table.add_column("")
    table.add_column("n", justify="right")
    for name in names:
        card = metric_card(name)
        table.add_column(f"{card.title} {'↑' if card.better == 'higher' else '↓'}", justify="right")
    notes: list[str] = []
    for pathology in dict.fromkeys(metric.pathology for metric in results.metrics):
        row = [metric for metric in results.metrics if metric.pathology == pathology]
        cells = [_cell(metric, notes) for metric in row]
        table.add_row(pathology or "Overall", str(row[0].n), *cells, end_section=pathology is None)
    console.print(table)
    for number, reason in enumerate(notes, start=1):
        console.print(f"– [{number}] not computed: {reason}", markup=False, highlight=False)
    for flag in sorted({flag for metric in results.metrics for flag in metric.flags}):
        console.print(FLAGS[flag], markup=False, highlight=False)
    counted = f"{counts.ok} predicted, {counts.failed} failed, {counts.skipped} skipped of {counts.total} studies"
    console.print(counted + (" | DEMO: a stand-in's numbers" if results.demo else ""), highlight=False)
    run = f"run {results.run}" + (" | RESTRICTED data" if results.restricted else "")
    console.print(run, markup=False, highlight=False)


def _cell(metric: Metric, notes: list[str]) -> str:
    if metric.value is None:
        reason = metric.reason or "no reason recorded"
        if reason not in notes:
            notes.append(reason)
        return f"– \\[{notes.index(reason) + 1}]"
    return f"{metric.value:.{metric_card(metric.name).digits}f}{'*' if metric.flags else ''}"
