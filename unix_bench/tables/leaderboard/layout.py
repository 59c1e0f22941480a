"""From entries to a table: which columns, which rows, what each cell says, and which is best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from unix_bench.scoring.metrics import metric_cards
from unix_bench.tables.cells import fixed, mark_and_meaning
from unix_bench.tables.leaderboard.entries import Cell, Entry, Kind
from unix_bench.tables.leaderboard.table import BEST, SECOND, TIED, Line, Section, Shown, Table
from unix_bench.tables.leaderboard.views import EVERYTHING, Column, View
from unix_bench.tables.leaderboard.words import caption, differing, heading, left_out, legend


def lay_out(
    kind: Kind | None,
    entries: Sequence[Entry],
    paper: Sequence[Entry],
    view: View,
    pathologies: Sequence[str],
    notes: Sequence[str] = (),
) -> Table:
    """One table.

    Args:
        kind: What `entries` share.
        entries: Own rows, several seeds of a model in one.
        paper: Published rows, which stand and are ranked apart.
        view: Which columns.
        pathologies: Findings that get a section each, beside that of all studies.
        notes: To stand below with the table's own.
    """
    columns = _columns(view, [*entries, *paper], pathologies)
    rows: list[str | None] = [None, *pathologies]
    unlike: dict[str, dict[str, None]] = {}  # what definitions differ in -> headings of the columns
    sections = []
    for block in (entries, paper):
        names = _labels(block, view)
        for pathology in rows:
            lines, differences = _lines(block, names, columns, pathology, view)
            for column, difference in differences:
                unlike.setdefault(difference, {})[column] = None
            title = (pathology or "All studies") if pathologies else ""
            if block is paper and lines:
                title = f"As published{f': {title}' if title else ''} ({lines[0].entry.source.partition(', Table')[0]})"
            if lines:
                sections.append(Section(title, pathology, block is paper, tuple(lines)))
    own = [section for section in sections if not section.paper]
    return Table(
        kind=kind,
        view=view,
        columns=tuple(columns),
        headings=tuple(heading(column, [*entries, *paper]) for column in columns),
        sections=tuple(sections),
        caption=caption(kind, entries, own, columns, pathologies, paper),
        notes=(*_not_ranked(unlike), *legend(sections), *left_out(view, columns, entries), *notes),
    )


def _columns(view: View, entries: Sequence[Entry], pathologies: Sequence[str]) -> list[Column]:
    """Those of the view; unless it is a layout of the paper's, without those that no entry has a value for."""
    columns: Sequence[Column] = view.columns
    if view.name == EVERYTHING:
        found = dict.fromkeys(metric for entry in entries for metric, _ in entry.cells)
        known = [name for name in metric_cards() if name in found]
        columns = [Column(metric=name) for name in (*known, *(name for name in found if name not in metric_cards()))]
    if view.paper:
        return list(columns)
    rows = (None, *pathologies)  # of the results
    valued = {
        metric
        for entry in entries
        for (metric, row), cell in entry.cells.items()
        if cell.value is not None and row in rows
    }
    return [column for column in columns if column.metric in valued]


def _lines(
    entries: Sequence[Entry], names: Sequence[str], columns: Sequence[Column], pathology: str | None, view: View
) -> tuple[list[Line], list[tuple[str, str]]]:
    """The rows of a section; the headings of columns that are not ranked, with what their definitions differ in."""
    kept = [
        (entry, name, [entry.cells.get((column.metric, column.pathology or pathology)) for column in columns])
        for entry, name in zip(entries, names, strict=True)
    ]
    kept = [one for one in kept if any(cell is not None for cell in one[2])]
    if any(entry.origin == "paper" for entry, _, _ in kept):  # a row without a value there has no place in a section
        kept = [one for one in kept if any(cell is not None and cell.value is not None for cell in one[2])]
    shown: list[list[Shown]] = []
    differences = []
    for index, column in enumerate(columns):
        cells = [cells[index] for _, _, cells in kept]
        valued = [cell for cell in cells if cell is not None and cell.value is not None]
        definitions = dict.fromkeys(cell.definition for cell in valued)
        policies = dict.fromkeys(f"on_error={cell.on_error}" for cell in valued if cell.on_error)
        unlike = [differing(one) for one in (definitions, policies) if len(one) > 1]
        differences += [(column.heading, one) for one in unlike]
        shown.append(_ranked(cells, column, view.percent, comparable=not unlike))
    lines = [
        Line(name, _n(cells), entry, tuple(column[row] for column in shown))
        for row, (entry, name, cells) in enumerate(kept)
    ]
    return lines, differences


def _not_ranked(unlike: Mapping[str, Iterable[str]]) -> list[str]:
    """A note for each difference between definitions, whatever the number of its columns."""
    return [f"Not ranked, since defined differently: {', '.join(them)} ({what})." for what, them in unlike.items()]


def _ranked(cells: Sequence[Cell | None], column: Column, percent: bool, comparable: bool) -> list[Shown]:
    """The cells of a column; best and second best by what is printed, so that equal numbers are ranked equally."""
    shown = [_shown(cell, column.places, percent) for cell in cells]
    better = next((cell.better for cell in cells if cell is not None and cell.better), None)
    candidates = {
        index: cell
        for index, cell in enumerate(cells)
        if cell is not None and cell.value is not None and not cell.flags
    }
    if better is None or not comparable or len(candidates) < 2:
        return shown
    numbers = {index: Decimal(shown[index].number) for index in candidates}
    ordered = sorted(set(numbers.values()), reverse=better == "higher")
    firsts = [index for index in candidates if numbers[index] == ordered[0]]
    if len(ordered) == 1:  # all are equal, and none is best
        return shown
    values = [candidates[index].value for index in firsts]
    for index, cell in candidates.items():
        if index in firsts:
            shown[index] = replace(shown[index], rank=BEST)
            continue
        second = len(firsts) == 1 and numbers[index] == ordered[1]
        ci = cell.ci
        tied = ci is not None and any(value is not None and ci[0] <= value <= ci[1] for value in values)
        marks = shown[index].marks + (TIED if tied else "")
        shown[index] = replace(shown[index], rank=SECOND if second else "", tied=tied, marks=marks)
    return shown


def _shown(cell: Cell | None, places: int, percent: bool) -> Shown:
    if cell is None or cell.value is None:
        return Shown(flags=() if cell is None else cell.flags)

    def number(value: float) -> str:
        return fixed(value * (100 if percent else 1), places)

    printed = None if cell.printed is None else format(Decimal(cell.printed).scaleb(2 if percent else 0), "f")
    low, high = ("", "") if cell.ci is None else map(number, cell.ci)
    return Shown(
        number=printed or number(cell.value),
        spread="" if cell.sd is None else number(cell.sd),
        low=low,
        high=high,
        marks="".join(mark_and_meaning(flag)[0] for flag in cell.flags),
        flags=cell.flags,
    )


def _labels(entries: Sequence[Entry], view: View) -> list[str]:
    """Names of models, with the paper's asterisk; where one stands for several rows, what tells these apart."""
    starred = "asterisk" not in view.details
    names = [entry.model + ("*" if starred and entry.details.get("asterisk") == "true" else "") for entry in entries]
    tells: list[Callable[[Entry], str]] = [
        lambda entry: f"@{entry.weights[:8]}" if entry.weights else entry.details.get("resolution", ""),
        lambda entry: f"seed {' '.join(map(str, entry.seeds))}" if entry.seeds else "",
        lambda entry: f"run {entry.source[-12:]}" if entry.seeds else "",
    ]
    for tell in tells:
        counts = Counter(names)
        names = [
            f"{name} {tell(entry)}".strip() if counts[name] > 1 else name
            for name, entry in zip(names, entries, strict=True)
        ]
    return names


def _n(cells: Iterable[Cell | None]) -> str:
    found = sorted({cell.n for cell in cells if cell is not None and cell.n is not None})
    return "–".join(map(str, dict.fromkeys([found[0], found[-1]]))) if found else ""
