"""`publish`, `leaderboard`, `reproduce`: numbers that are kept, and set beside others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import FOLDER, json_option, results_option, settings_from, task_option
from unix_bench.cli.output import show_table
from unix_bench.errors import UserError

if TYPE_CHECKING:
    from unix_bench.reproduce import Reproduction


@main.command("publish")
@click.argument("run_reference", metavar="RUN")
@click.option("--demo", is_flag=True, help="Publish a stand-in's numbers too.")
@click.option("--replace", is_flag=True, help="Overwrite a record of the same name that says something else.")
@click.option("--unverified", is_flag=True, help="Publish results too that cannot be derived again here.")
@click.option("--training-data", metavar="NAME|PATH", help="As it was when the run was scored.")
@click.option("--allow-external", is_flag=True, help="Run the commands that cards of your own metrics name.")
@results_option
def publish_(run_reference: str, training_data: str | None, results: Path | None, **flags: bool) -> None:
    """Add a run's results to the reviewed ones, a small JSON file beside the folder of the runs.

    They are derived again from the samples first, as `verify` does.
    """
    settings = settings_from(results=results, training_data=training_data)
    from unix_bench.publish import publish

    path = publish(run_reference, settings, **flags)
    click.echo(f"published as {path}")


@main.command("leaderboard")
@task_option
@click.option("--protocol", help="Only rows of this way of scoring.  [default: all, a table each]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "latex", "markdown", "html"]),
    help="[default: as --out ends, else markdown]",
)
@click.option("--published", is_flag=True, help="Put the paper's rows beside ours, in a block of their own.")
@click.option("--per-pathology", is_flag=True, help="A section for each of the 14 CheXpert findings too.")
@click.option("--view", help="Which columns: report, generation, probe, all, paper-table-2|3|4.", metavar="NAME")
@click.option("--demo", is_flag=True, help="Show a stand-in's numbers too, in tables of their own.")
@click.option("--table", "number", type=click.IntRange(min=1), help="Only the Nth table.", metavar="N")
@click.option("--out", type=FOLDER, help="File to write.  [default: standard output]")
@results_option
def leaderboard_(
    task: str | None,
    protocol: str | None,
    form: Any,
    view: str | None,
    number: int | None,
    out: Path | None,
    results: Path | None,
    **flags: bool,
) -> None:
    """Set models beside each other: reviewed results and the runs that are here, a table for what is comparable."""
    if task is None:
        raise UserError("--task is missing: say report, generation or probe")
    settings = settings_from(results=results)
    from unix_bench.board import format_of, leaderboard, written
    from unix_bench.records import write_atomic

    form = format_of(form, out)
    tables = leaderboard(task, settings, protocol, view, beside=out.parent if out else None, **flags)
    text = written(tables, form, number)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomic(out, text.encode("utf-8", "replace"))
        click.echo(f"wrote {out}")


@main.group()
def reproduce() -> None:
    """Hold runs against what others published."""


@reproduce.command("paper")
@click.option("--run", "runs", multiple=True, required=True, metavar="RUN", help="May be given several times.")
@results_option
@json_option
def reproduce_paper(runs: tuple[str, ...], results: Path | None, as_json: bool) -> None:
    """Hold UniX runs against the paper's rows: exit 0 if they agree, 1 if not, 3 if nothing is comparable."""
    from unix_bench.reproduce import reproduce as hold_against

    found = hold_against(runs, settings_from(results=results))
    _show_reproduction(found, as_json)
    found.check()


def _show_reproduction(found: Reproduction, as_json: bool) -> None:
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps(asdict(found), indent=1))
        return
    if found.comparisons:
        rows = [
            {
                "": f"Table {one.table}, {one.row}",
                "metric": one.metric + (f", {one.pathology}" if one.pathology else ""),
                "paper": one.paper,
                "ours": "–" if one.value is None else f"{one.value:.3f}",
                "tolerance": f"{one.tolerance:.3g}",
                "verdict": one.verdict,
                "because": one.reason,
            }
            for one in found.comparisons
        ]
        show_table(rows, as_json=False)
    for note in found.differs:
        click.echo(f"known to differ: {note}")
    for note in found.refused:
        click.echo(f"not compared: {note}", err=True)
