"""`list`, `data`, `doctor`: looking without running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import json_option, progress_option, results_option, settings_from
from unix_bench.cli.output import show_progress, show_table


@main.command("list")
@click.argument("what", type=click.Choice(["models", "tasks", "data", "metrics", "runs"]))
@results_option
@json_option
def list_(what: str, results: Path | None, as_json: bool) -> None:
    """List models, tasks, data sets, metrics or runs."""
    from unix_bench.listings import listing

    show_table(listing(what, settings_from(results=results), whole=as_json), as_json)


@main.group("data")
def data_group() -> None:
    """Look at a data set before anything is run on it."""


@data_group.command("check")
@click.argument("reference", metavar="NAME|PATH")
@click.option("--task", default="report", show_default=True, help="Whose set of that name.")
@progress_option
@json_option
def data_check(reference: str, task: str, progress: str, as_json: bool) -> None:
    """Open every image, hold the rows against each other, and print both digests; exit 1 if there are errors."""
    from unix_bench.inspect_data import check_data

    show_progress(progress)
    found = check_data(reference, task, settings_from())
    if as_json:
        from dataclasses import asdict

        show_table([asdict(found)], as_json)
    else:
        from unix_bench.tables import print_audit

        print_audit(found)
    if not found.sound:
        raise SystemExit(1)


@data_group.command("describe")
@click.argument("reference", metavar="NAME|PATH")
@click.option("--task", default="report", show_default=True, help="Whose set of that name.")
@json_option
def data_describe(reference: str, task: str, as_json: bool) -> None:
    """Print a data set's card: what is in it, counted."""
    from unix_bench.inspect_data import describe_data

    card = describe_data(reference, task, settings_from())
    findings: Any = card.pop("findings")
    if as_json:
        show_table([{**card, "findings": findings}], as_json)
        return
    show_table([{"": key, "value": value} for key, value in card.items()], as_json)
    show_table([{"finding": name, **counts} for name, counts in findings.items()], as_json)


@data_group.command("subset")
@click.argument("reference", metavar="NAME|PATH")
@click.option("--name", required=True, help="What `--subset` will call it, such as nightly-512.")
@click.option("--size", type=click.IntRange(min=1), required=True, help="At most so many studies.")
@click.option("--task", default="report", show_default=True, help="Whose studies.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which patients.")
def data_subset(reference: str, name: str, size: int, task: str, seed: int) -> None:
    """Choose a fixed subset of whole patients, every finding in its share, and keep it for `run --subset`."""
    from unix_bench.inspect_data import make_subset

    subset, path = make_subset(reference, name, size, task, seed, settings_from())
    click.echo(f"wrote {path}: {len(subset.ids)} studies, {subset.tag}")


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Tell what is installed, which weights and data are found, and how to get what is missing."""
    from unix_bench.doctor import examine

    found = examine(settings_from())
    rows = [{"state": "ok" if one.fine else "--", "subject": one.subject, "finding": one.text} for one in found]
    show_table(rows, as_json)
