"""The results of one scoring as tables on a console."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unix_bench.records import Results
from unix_bench.tables.console import wide_console
from unix_bench.tables.outline import Block, Cell, Line, Outline, outline


def print_results(results: Results) -> None:
    """Print the overall values and one row a pathology; what was not computed is numbered and explained below."""
    console, shown, counts = wide_console(), outline(results), results.counts
    for block in shown.blocks:
        _print_block(console, block, _title(block, shown))
    shown.notes.explain(console)
    for sentence in shown.overlaps:
        console.print(sentence, markup=False, highlight=False)
    counted = f"{counts.ok} predicted, {counts.failed} failed, {counts.skipped} skipped of {counts.total} studies"
    console.print(counted + (" | DEMO: a stand-in's numbers" if results.demo else ""), highlight=False)
    run = f"run {results.run}" + (" | RESTRICTED data" if results.restricted else "")
    console.print(run, markup=False, highlight=False)


def _title(block: Block, shown: Outline) -> str:
    """What was scored, above the first table and those of judges; below these, what the table holds."""
    if block.judge:
        return f"{shown.heading} | {block.judge}"
    if block is shown.blocks[0]:
        return shown.heading
    added = {"findings": ": value, 95 % interval, references that show it", "studies": " (--json has all metrics)"}
    return block.title + added.get(block.kind, "")


def _print_block(console: Console, block: Block, title: str) -> None:
    table = Table(title=escape(title), title_justify="left")
    whole = block.kind == "studies"  # many columns, whose numbers are not to be broken
    table.add_column("", no_wrap=whole)
    for heading in _headings(block):
        table.add_column(escape(heading), justify="right", no_wrap=whole)
    for line in block.lines:
        table.add_row(*map(escape, _words(line, block)), end_section=line.overall)
    console.print(table)


def _headings(block: Block) -> list[str]:
    """Those of all columns but the first."""
    if block.kind == "metrics":
        return ["value", "95 % interval", "n"]
    if block.kind == "findings":
        return [column.heading for column in block.columns]
    rank = [f"rank\nby {block.ranked_by}"] if block.ranked_by else []
    return ["n", *(column.heading.replace(", ", "\n") for column in block.columns), *rank]


def _words(line: Line, block: Block) -> list[str]:
    if block.kind == "metrics":
        (cell,) = line.cells
        name = line.name if block.mixed else line.name + line.arrow
        return [name, _text(cell), cell.interval if cell else "", str(line.n)]
    if block.kind == "findings":
        return [
            line.name,
            *(f"{_text(cell)}  {cell.interval}  {cell.support:>4}" if cell else "" for cell in line.cells),
        ]
    cells = (_text(cell, column.roomy) for cell, column in zip(line.cells, block.columns, strict=True))
    rank = [str(line.rank or "")] if block.ranked_by else []
    return [line.name, str(line.n), *cells, *rank]


def _text(cell: Cell | None, with_interval: bool = False) -> str:
    """A value, or a dash with the number of its reason; nothing where the row has no such metric."""
    if cell is None:
        return ""
    if cell.reason is not None:
        return f"{cell.text} [{cell.reason}]"
    return f"{cell.text}  {cell.interval}" if with_interval and cell.interval else cell.text
