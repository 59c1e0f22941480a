"""`verify`, `report`: is a run what it says, and what would a person read of it."""

from __future__ import annotations

from pathlib import Path

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import FOLDER, json_option, results_option, settings_from
from unix_bench.errors import UserError

MARKS = {"ok": "ok", "differs": "DIFFERS", "not checked": "--", "cannot be checked": "CANNOT"}


@main.command()
@click.argument("run_reference", metavar="RUN")
@click.option("--training-data", metavar="NAME|PATH", help="As it was when the run was scored.")
@click.option("--allow-external", is_flag=True, help="Run the commands that cards of your own metrics name.")
@results_option
@json_option
def verify(
    run_reference: str, training_data: str | None, allow_external: bool, results: Path | None, as_json: bool
) -> None:
    """Take every digest of a run again, and derive its results again from its samples.

    Exit 0: all is as it says. 1: something differs. 2: something cannot be checked here.
    """
    settings = settings_from(results=results, training_data=training_data)
    import json
    from dataclasses import asdict

    from unix_bench.records import find_run
    from unix_bench.verify import outcome
    from unix_bench.verify import verify as verify_run

    run, _ = find_run(run_reference, settings.results)
    checks = []
    for check in verify_run(run, settings, allow_external):
        checks.append(check)
        if not as_json:
            click.echo(f"{MARKS[check.state]:8}{check.subject}: {check.text}")
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    raise SystemExit(outcome(checks))


@main.command()
@click.argument("run_reference", metavar="RUN")
@click.option("--out", type=FOLDER, required=True, metavar="FILE.html", help="Where to write the page.")
@results_option
def report(run_reference: str, out: Path, results: Path | None) -> None:
    """Write one page about a run that a person would read, with everything in it.

    Of restricted data, reports, images and ids are shown only in a page inside the run's own folder.
    """
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file, such as {out / 'report.html'}")
    settings = settings_from(results=results)
    from unix_bench.report_page import write_page

    click.echo(f"wrote {write_page(run_reference, out, settings)}")
