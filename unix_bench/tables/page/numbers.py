"""The numbers of a scoring as tables of a page."""

from __future__ import annotations

from collections.abc import Iterable

from unix_bench.records import Results
from unix_bench.tables.html import Html, element, joined, table
from unix_bench.tables.outline import Block, Cell, Line, Outline, outline

HEADS = {"metrics": ["", "value [95 % interval]", "n"], "studies": ["", "n"], "findings": [""]}
ADDED = {"findings": ": value [95 % interval], references that show it"}


def number_tables(results: Results) -> Html:
    """Every table of the outline, then what the marks mean."""
    shown = outline(results)
    return joined(*(part for block in shown.blocks for part in _block(block)), _explained(shown))


def _block(block: Block) -> tuple[Html, Html]:
    rank = [f"rank by {block.ranked_by}"] if block.ranked_by else []
    heads = [*HEADS[block.kind], *(column.heading for column in block.columns), *rank]
    rows = [_row(line, block) for line in block.lines]
    return element("h3", block.title + ADDED.get(block.kind, "")), table(heads, rows)


def _row(line: Line, block: Block) -> Html:
    cells = [_cell(cell, block) for cell in line.cells]
    n = [] if line.n is None else [element("td", str(line.n), class_="number")]
    rank = [element("td", str(line.rank or ""), class_="number")] if block.ranked_by else []
    numbers = [*cells, *n] if block.kind == "metrics" else [*n, *cells, *rank]
    name = element("td", line.name + line.arrow, class_="name")
    return element("tr", name, *numbers, class_="overall" if line.overall else None)


def _cell(cell: Cell | None, block: Block) -> Html:
    """A value with its marks and interval; a dash with the number of its reason where there is none."""
    if cell is None:
        return element("td")
    if cell.reason is not None:
        return element("td", f"{cell.text} ", element("sup", str(cell.reason), class_="grey"), class_="number")
    beside = [f"[{cell.interval}]"] * bool(cell.interval) + [cell.support] * (block.kind == "findings")
    spans = [element("span", words, class_="interval") for words in beside]
    return element("td", cell.text, *spans, class_="number")


def _explained(shown: Outline) -> Html:
    """What the numbers and marks mean, and which judges the model was trained on."""
    return joined(
        _list("ol", shown.notes.reasons()),
        _list("ul", [*shown.notes.flags(), *shown.overlaps]),
    )


def _list(kind: str, texts: Iterable[str]) -> Html:
    items = [element("li", text) for text in texts]
    return element(kind, *items, class_="notes") if items else Html()
