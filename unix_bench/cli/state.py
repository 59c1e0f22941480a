"""`show` and `merge`: what a run is doing or has found, and joining one that was done in shards."""

from __future__ import annotations

from pathlib import Path

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import FOLDER, json_option, progress_option, results_option, settings_from
from unix_bench.cli.output import print_json, print_one, show_progress


@main.command()
@click.argument("run_reference", metavar="RUN")
@results_option
@json_option
def show(run_reference: str, results: Path | None, as_json: bool) -> None:
    """Print the results of a run: the newest scoring, or ID:PROTOCOL's. Of one without, print how far it is.

    A run that another machine is working on is seen by the sign of life in its folder.
    """
    settings = settings_from(results=results)
    from unix_bench.records import find_begun, find_results, status_of

    begun = find_begun(run_reference, settings.results)
    if begun is None or begun.score_files():
        found = find_results(run_reference, settings.results)
        print_json([found]) if as_json else print_one(found)
        return
    status = status_of(begun)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps(asdict(status), indent=1))
        return
    from unix_bench.tables import print_status

    print_status(status)


@main.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=FOLDER)
@results_option
@progress_option
@json_option
def merge(folders: tuple[Path, ...], results: Path | None, progress: str, as_json: bool) -> None:
    """Join the shards of a run, found in DIR or below, and score it as they were told.

    Shards of several runs make several runs. The whole goes where runs go.
    """
    settings = settings_from(results=results)
    from unix_bench.merge import gather_parts, scoring_of
    from unix_bench.merge import merge as merge_parts
    from unix_bench.score import check_outcome

    show_progress(progress)
    merged = [(merge_parts(parts, settings), scoring_of(parts)) for parts in gather_parts(folders)]
    if as_json:
        print_json([found for found, _ in merged])
    else:
        for found, _ in merged:
            print_one(found)
    for found, scoring in merged:
        check_outcome(found, scoring)
