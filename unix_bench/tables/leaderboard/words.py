"""What a leaderboard says in words: headings, caption, the meaning of marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unix_bench.scoring.metrics import metric_card
from unix_bench.tables.cells import ARROWS, mark_and_meaning
from unix_bench.tables.leaderboard.entries import Entry, Kind, signature_parts
from unix_bench.tables.leaderboard.table import DASH, TIED, Section
from unix_bench.tables.leaderboard.views import Column, View


def heading(column: Column, entries: Sequence[Entry]) -> str:
    """A column's title and which way is better: as the metric's card says, else as a plug-in does."""
    stated: list[str | None] = [metric_card(column.metric).better]
    stated += [cell.better for entry in entries for (metric, _), cell in entry.cells.items() if metric == column.metric]
    better = next((one for one in stated if one), None)
    return column.heading + ARROWS.get(better, "")


def differing(definitions: Iterable[str]) -> str:
    """What definitions differ in: each one's own words for it."""
    parts = [signature_parts(definition) for definition in definitions]
    keys = [
        key for key in dict.fromkeys(key for one in parts for key in one) if len({one.get(key) for one in parts}) > 1
    ]
    return " | ".join(", ".join(f"{key} {one.get(key, 'unsaid')}" for key in keys) for one in parts)


def caption(
    kind: Kind | None,
    entries: Sequence[Entry],
    own: Sequence[Section],
    columns: Sequence[Column],
    pathologies: Sequence[str],
    paper: Sequence[Entry],
) -> str:
    """Protocol, n, reference text, judges and their digests, seeds, date."""
    if kind is None:
        return f"As published in {', '.join(dict.fromkeys(entry.source for entry in paper))}."
    places = {(column.metric, row) for column in columns for row in (column.pathology, *pathologies)}
    cells = [cell for entry in entries for place, cell in entry.cells.items() if place in places]
    judges = [
        f"{key} {parts[key]}"
        for parts in (signature_parts(one) for cell in cells if cell.value is not None for one in [cell.definition])
        for key in ("labeller", "encoder", "model")
        if key in parts
    ]
    overall = sorted({line.n for section in own if section.pathology is None for line in section.lines})
    seeds = sorted({seed for entry in entries for seed in entry.seeds})
    several = any(len(entry.seeds) > 1 for entry in entries)
    dates = [entry.date for entry in entries if entry.date]
    sentences = [
        kind.heading,
        f"n = {', '.join(overall)}" if overall and not any(column.pathology for column in columns) else "",
        "; ".join(dict.fromkeys(judges)),
        f"seeds {', '.join(map(str, seeds))}" + (" (mean ± standard deviation between them)" if several else ""),
        f"newest row of {max(dates)[:10]}" if dates else "",
    ]
    text = "; ".join(sentence for sentence in sentences if sentence)
    return f"{text[:1].upper()}{text[1:]}."


def legend(sections: Sequence[Section]) -> list[str]:
    """What marks mean, as far as they are there."""
    cells = [cell for section in sections for line in section.lines for cell in line.cells]
    notes = []
    if any(cell.rank for cell in cells):
        apart = " of a block" if len(sections) > 1 else ""
        notes.append(
            f"Best in bold, second best underlined, in each column{apart}; cells with a flag are never ranked."
        )
    if any(cell.tied for cell in cells):
        notes.append(
            f"{TIED}: the 95 % interval of the value holds the best one, so that they cannot be told apart here."
        )
    for flag in dict.fromkeys(flag for cell in cells if cell.number for flag in cell.flags):
        notes.append(f"{' '.join(mark_and_meaning(flag))}.")
    if any(not cell.number for cell in cells):
        notes.append(f"{DASH}: not computed, or not published.")
    if any(section.paper for section in sections):
        notes.append(
            "Rows as published are ranked among themselves alone: nothing says that they are comparable with ours."
        )
    return notes


def left_out(view: View, columns: Sequence[Column], entries: Sequence[Entry]) -> list[str]:
    gone = [column.heading for column in view.columns if column not in columns]
    return [f"No row has a value of {', '.join(gone)}."] if gone and entries else []
