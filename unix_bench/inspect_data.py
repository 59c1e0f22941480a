"""Looking at a data set by name: is it what it says, and what is in it."""

from __future__ import annotations

from pathlib import Path

from unix_bench import registry
from unix_bench.data import Audit, Subset, audit, choose_subset, describe, open_data, subset_path
from unix_bench.errors import UserError
from unix_bench.execution import ProgressLine
from unix_bench.plan import eligible_studies
from unix_bench.records import write_atomic
from unix_bench.settings import Settings
from unix_bench.tasks import adapter_for


def check_data(reference: str, task: str, settings: Settings) -> Audit:
    """Audit a data set; `task` says whose set of that name."""
    data = open_data(reference, registry.task(task).sets, settings)
    with ProgressLine("opening images", len(data.studies)) as line:
        return audit(data, settings.cache, lambda: line.advance(1))


def describe_data(reference: str, task: str, settings: Settings) -> dict[str, object]:
    """The card of a data set."""
    return describe(open_data(reference, registry.task(task).sets, settings))


def make_subset(reference: str, name: str, size: int, task: str, seed: int, settings: Settings) -> tuple[Subset, Path]:
    """Choose a subset of the studies that a task can use, and write its file.

    Raises:
        UserError: The name is taken or no name for a file, or the set is too small.
    """
    path = subset_path(name)
    if path.name != f"{name}.json" or name.startswith("."):
        raise UserError(f"subset name '{name}': letters, digits, dots and dashes")
    if path.exists():
        raise UserError(f"{path} exists: a subset is fixed, so give a new one a new name")
    card = registry.task(task)
    data = open_data(reference, card.sets, settings)
    subset = choose_subset(name, data, eligible_studies(data, adapter_for(card), None, None), size, seed)
    write_atomic(path, (subset.model_dump_json(indent=1) + "\n").encode())
    return subset, path
