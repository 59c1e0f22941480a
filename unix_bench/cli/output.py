"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unix_bench.records import Results


def print_one(results: Results) -> None:
    """The tables of one scoring."""
    from unix_bench.tables import print_results

    print_results(results)


def print_json(results: list[Results]) -> None:
    """One results object, or a list of several."""
    objects = [one.model_dump_json(indent=1) for one in results]
    click.echo(objects[0] if len(objects) == 1 else "[" + ",\n".join(objects) + "]")


def show_progress(style: str) -> None:
    """Show progress in this style until the command is over."""
    from unix_bench.execution import progress_as

    click.get_current_context().with_resource(progress_as(style))  # type: ignore[arg-type]


def show_table(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows that share their keys."""
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=1))
        return
    from unix_bench.tables import print_rows

    print_rows(rows)
