"""Views: which columns a leaderboard has, as data."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from unix_bench.errors import unknown_name
from unix_bench.scoring.metrics import metric_card

EVERYTHING = "all"


class Column(BaseModel):
    """A metric in a leaderboard.

    Attributes:
        pathology: The row of the results it is read from; None: that of all studies, or of the section's finding.
        key: Its name in CSV; empty: the metric's.
        title: Above it; empty: the metric's.
        digits: After the point; None: the metric's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    metric: str
    pathology: str | None = None
    key: str = ""
    title: str = ""
    digits: int | None = None

    @property
    def name(self) -> str:
        return self.key or self.metric

    @property
    def heading(self) -> str:
        return self.title or metric_card(self.metric).title

    @property
    def places(self) -> int:
        return metric_card(self.metric).digits if self.digits is None else self.digits


class View(BaseModel):
    """The columns of a leaderboard.

    Attributes:
        task: Whose; empty: any task's.
        paper: Number of the paper's table that it is laid out like.
        percent: Show 1 as 100.
        details: What is told of a model before its numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    task: str = ""
    paper: int | None = None
    percent: bool = False
    details: tuple[str, ...] = ()
    columns: tuple[Column, ...]

    @property
    def by_finding(self) -> bool:
        """Are its columns findings, rather than metrics?"""
        return any(column.pathology for column in self.columns)


@cache
def views() -> dict[str, View]:
    """Every view by name."""
    text = files("unix_bench.tables.leaderboard").joinpath("views.toml").read_text(encoding="utf-8")
    # TOML has lists where the views have tuples, so that they can be hashed.
    found = (View.model_validate(entry, strict=False) for entry in tomllib.loads(text)["view"])
    return {view.name: view for view in found}


def view_for(task: str, name: str | None) -> View:
    """The view of a name, or the task's default.

    Raises:
        UserError: The task has no such view.
    """
    fitting = {view.name: view for view in views().values() if view.task in ("", task)}
    if name is not None and name not in fitting:
        raise unknown_name(f"view of {task}", name, fitting)
    return fitting[name or task]


def paper_view(number: int) -> View:
    """The view laid out like a table of the paper."""
    return next(view for view in views().values() if view.paper == number)
