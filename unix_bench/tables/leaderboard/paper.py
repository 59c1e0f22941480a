"""The paper's tables, as they ship with the bench: rows as printed, and what a reader of them must know."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from unix_bench.cards import bundled
from unix_bench.scoring.metrics import metric_card
from unix_bench.tables.leaderboard.entries import Cell, Entry, Place
from unix_bench.tables.leaderboard.views import paper_view

FOLDER = "results/published"


class PaperTable(BaseModel):
    """One table of the paper.

    Attributes:
        rows: Cells as printed, by column.
        footnotes: Of the table; rows name their own in `notes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    task: str
    file: str
    footnotes: list[str]
    rows: list[dict[str, str]] = []


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads((bundled(FOLDER) / "paper.toml").read_text(encoding="utf-8"))


def paper_source() -> str:
    """Which paper it is."""
    return str(_document()["source"])


@cache
def paper_tables() -> dict[int, PaperTable]:
    """The tables by number."""
    found = {}
    for entry in _document()["table"]:
        with (bundled(FOLDER) / entry["file"]).open(encoding="utf-8", newline="") as stream:
            table = PaperTable.model_validate({**entry, "rows": list(csv.DictReader(stream))})
        found[table.number] = table
    return found


def paper_entries(numbers: Sequence[int]) -> list[Entry]:
    """The rows of some tables as entries; their values have the metrics' own unit."""
    entries = []
    for number in numbers:
        view = paper_view(number)
        for row in paper_tables()[number].rows:
            cells: dict[Place, Cell] = {}
            for column in view.columns:
                printed = row[column.name]
                value = Decimal(printed).scaleb(-2 if view.percent else 0) if printed else None
                cells[column.metric, column.pathology] = Cell(
                    value=None if value is None else float(value),
                    better=metric_card(column.metric).better,
                    reason="" if printed else "the paper leaves it empty",
                    printed=None if value is None else str(value),
                )
            source = f"{paper_source()}, Table {number}"
            details = {key: text for key, text in row.items() if key != "model" and key not in _values(number)}
            entries.append(Entry(row["model"], "", "", "paper", source, cells, details=details))
    return entries


def paper_notes(numbers: Sequence[int], entries: Sequence[Entry]) -> list[str]:
    """The footnotes of tables, and those that their rows name."""
    names = [name for number in numbers for name in paper_tables()[number].footnotes]
    names += [name for entry in entries for name in entry.details.get("notes", "").split()]
    return [str(_document()["footnotes"][name]) for name in dict.fromkeys(names)]


def _values(number: int) -> set[str]:
    return {column.name for column in paper_view(number).columns}
