"""A leaderboard as it is shown: what every format writes."""

from __future__ import annotations

from dataclasses import dataclass

from unix_bench.tables.leaderboard.entries import Entry, Kind
from unix_bench.tables.leaderboard.views import Column, View

DASH, TIED = "–", "≈"
BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Shown:
    """A cell as it is shown.

    Attributes:
        number: The value; empty where there is none.
        spread: Standard deviation between seeds; empty for one seed.
        low, high: The interval's limits; empty where there is none.
        marks: Of its flags, and of a tie.
        rank: "best", "second" or empty.
    """

    number: str = ""
    spread: str = ""
    low: str = ""
    high: str = ""
    marks: str = ""
    rank: str = ""
    flags: tuple[str, ...] = ()
    tied: bool = False

    @property
    def text(self) -> str:
        """Value, marks and spread; a dash for none."""
        if not self.number:
            return DASH
        return f"{self.number}{self.marks}" + (f" ± {self.spread}" if self.spread else "")


@dataclass(frozen=True)
class Line:
    """One row: a model with its cells."""

    label: str
    n: str
    entry: Entry
    cells: tuple[Shown, ...]


@dataclass(frozen=True)
class Section:
    """Rows that are ranked among each other.

    Attributes:
        title: Above them; empty where a table has one section.
        pathology: None: all studies.
        paper: Are they printed in a publication?
    """

    title: str
    pathology: str | None
    paper: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """A leaderboard, ready to be written in some format.

    Attributes:
        kind: What its own rows share; None where only published rows are there.
        headings: One a column, with the way that is better.
        caption: What a reviewer asks.
        notes: What marks mean, and what must be known; one sentence each.
    """

    kind: Kind | None
    view: View
    columns: tuple[Column, ...]
    headings: tuple[str, ...]
    sections: tuple[Section, ...]
    caption: str
    notes: tuple[str, ...]

    def told(self, line: Line) -> list[str]:
        """What stands before the numbers of a line: model, details, n."""
        details = line.entry.details
        return [line.label, *(details.get(key, "") for key in self.view.details), line.n or details.get("n", "")]
