"""A comparison on a console."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unix_bench.scoring.metrics import headlines
from unix_bench.tables.comparison.contents import ChangedSample, Comparison, MetricDifference
from unix_bench.tables.comparison.numbers import difference_text, interval_text, label, p_text, value_text
from unix_bench.tables.console import wide_console
from unix_bench.tables.harmless import harmless

SHOWN = 3  # samples; the page and --json have all


def print_comparison(comparison: Comparison) -> None:
    """Print the overall differences, those of findings that are more than chance, and the samples that changed most."""
    console = wide_console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        say(f"{letter}: {harmless(side.model)}, seed {side.seed}, weights {side.weights}, run {side.run}")
    overall = [row for row in comparison.metrics if row.pathology is None]
    heading = f"{comparison.task} | {harmless(comparison.data)} | protocol {comparison.protocol}"
    _print_rows(console, f"{heading} | n = {comparison.n} | A - B", [row for row in overall if _is_shown(row)])
    untested = [row for row in overall if row.p is None and row.difference]
    if untested:
        _print_rows(console, "Without a test", untested)
    findings = [row for row in comparison.metrics if row.pathology is not None]
    if any(map(_is_shown, findings)):
        shown = [row for row in findings if _is_shown(row)]
        _print_rows(console, "Studies with each finding (p by Holm over the findings)", shown)
    say("The page and --json have every metric and every row.")
    if comparison.criterion and comparison.changed:
        say(f"Changed most by {comparison.criterion}:")
        for sample in comparison.changed[:SHOWN]:
            _print_sample(console, sample)
    for note in comparison.notes:
        say(note)
    if comparison.demo:
        say("DEMO: a stand-in's numbers")
    if comparison.restricted:
        say(
            "RESTRICTED data"
            + (": texts, images and ids are left out here, the samples numbered" * comparison.redacted)
        )


def _is_shown(row: MetricDifference) -> bool:
    """A headline, or more than chance."""
    return row.verdict is not None and (row.name in headlines() or row.verdict != "no evidence")


def _print_rows(console: Console, heading: str, rows: list[MetricDifference]) -> None:
    table = Table(title=escape(heading), title_justify="left")
    for column in ("", "A", "B", "difference", "95 % interval", "p", "p, Holm", "verdict", "n"):
        table.add_column(column, justify="left" if column in ("", "verdict") else "right")
    for row in rows:
        table.add_row(
            escape(label(row)),
            value_text(row.name, row.a),
            value_text(row.name, row.b),
            difference_text(row),
            interval_text(row),
            p_text(row.p),
            p_text(row.p_holm),
            f"A is {row.verdict}" if row.verdict in ("better", "worse") else row.verdict or "",
            str(row.n),
        )
    console.print(table)


def _print_sample(console: Console, sample: ChangedSample) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"  {harmless(sample.id)}: A {sample.a:.3f}, B {sample.b:.3f}")
    for change in sample.findings:
        say(f"    {change.finding}: A {change.a}, B {change.b}, reference {change.reference}")
    for name, text in zip(("A", "B", "reference"), sample.reports or (), strict=False):
        say(f"    {name}: {harmless(text)}")
