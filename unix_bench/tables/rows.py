"""A plain table of dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from unix_bench.tables.console import wide_console


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their keys, which head the columns."""
    console = wide_console()
    if not rows:
        console.print("none")
        return
    table = Table()
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
