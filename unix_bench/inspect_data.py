"""Looking at a data set by name: is it what it says, and what is in it."""

from __future__ import annotations

from unix_bench import registry
from unix_bench.data import Audit, audit, describe, open_data
from unix_bench.execution import ProgressLine
from unix_bench.settings import Settings


def check_data(reference: str, task: str, settings: Settings, quiet: bool) -> Audit:
    """Audit a data set; `task` says whose set of that name."""
    data = open_data(reference, registry.task(task).sets, settings)
    with ProgressLine("opening images", len(data.studies), quiet) as line:
        return audit(data, settings.cache, lambda: line.advance(1))


def describe_data(reference: str, task: str, settings: Settings) -> dict[str, object]:
    """The card of a data set."""
    return describe(open_data(reference, registry.task(task).sets, settings))
