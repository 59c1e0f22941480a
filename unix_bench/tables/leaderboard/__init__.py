"""Leaderboards: rows in, text out."""

from unix_bench.tables.leaderboard.entries import Entry, Kind, entry_of, kind_of, seeds_together
from unix_bench.tables.leaderboard.layout import lay_out
from unix_bench.tables.leaderboard.page import as_html
from unix_bench.tables.leaderboard.paper import FOLDER, paper_entries, paper_notes, paper_source, paper_tables
from unix_bench.tables.leaderboard.table import Table
from unix_bench.tables.leaderboard.text import as_csv, as_latex, as_markdown
from unix_bench.tables.leaderboard.views import Column, View, paper_view, view_for

__all__ = [
    "FOLDER",
    "Column",
    "Entry",
    "Kind",
    "Table",
    "View",
    "as_csv",
    "as_html",
    "as_latex",
    "as_markdown",
    "entry_of",
    "kind_of",
    "lay_out",
    "paper_entries",
    "paper_notes",
    "paper_source",
    "paper_tables",
    "paper_view",
    "seeds_together",
    "view_for",
]
