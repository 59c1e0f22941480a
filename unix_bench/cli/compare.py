"""`compare` and `gate`: what changed between two runs, and whether a checkpoint may pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import FOLDER, json_option, progress_option, results_option, settings_from
from unix_bench.cli.output import show_progress, show_table
from unix_bench.errors import UserError

if TYPE_CHECKING:
    from unix_bench.gate import GateResult


@main.command()
@click.argument("run_a", metavar="RUN_A")
@click.argument("run_b", metavar="RUN_B")
@click.option("--out", type=FOLDER, metavar="FILE.html", help="Write the page there too.")
@click.option("--common", is_flag=True, help="Compare runs over different studies on those that both have.")
@results_option
@progress_option
@json_option
def compare(
    run_a: str, run_b: str, out: Path | None, common: bool, results: Path | None, progress: str, as_json: bool
) -> None:
    """Hold two runs of one task against each other: differences, intervals, and the samples that changed most.

    Both are scored alike first, where they are not. The page with every text and picture is kept in RUN_A's folder;
    of restricted data nothing but numbers goes anywhere else.
    """
    settings = settings_from(results=results)
    from unix_bench.compare import compare as compare_runs
    from unix_bench.compare import json_of, keep, match, outside, read_drawn, write_page
    from unix_bench.tables.comparison import as_document, print_comparison

    show_progress(progress)
    matched = match(run_a, run_b, settings, common)
    found = compare_runs(matched, read_drawn(matched, settings))
    page = keep(found, matched)
    left_out = write_page(found, matched, out) if out is not None else False
    shown = outside(found, matched)
    if as_json:
        click.echo(json_of(as_document(shown)), nl=False)
    else:
        print_comparison(shown)
    click.echo(f"page: {page}", err=True)
    if out is not None:
        says = " (restricted data: texts, images and ids are left out, the samples numbered)" if left_out else ""
        click.echo(f"page: {out}{says}", err=True)


@main.command()
@click.argument("candidate", metavar="CANDIDATE")
@click.option("--against", required=True, metavar="BASELINE", help="The run to hold it against.")
@click.option("--policy", type=FOLDER, metavar="FILE", help="TOML of metrics and margins.  [default: the task's]")
@click.option("--inconclusive", type=click.Choice(["ok", "fail"]), help="Exit 0 or 1 in place of 3.")
@click.option("--junit", type=FOLDER, metavar="FILE", help="Write JUnit XML, one case a metric and finding.")
@click.option(
    "--summary",
    type=FOLDER,
    metavar="FILE",
    help="Append a summary in Markdown.  [default: $GITHUB_STEP_SUMMARY, if set]",
)
@results_option
@progress_option
@json_option
def gate(
    candidate: str,
    against: str,
    policy: Path | None,
    inconclusive: str | None,
    junit: Path | None,
    summary: Path | None,
    results: Path | None,
    progress: str,
    as_json: bool,
) -> None:
    """Say whether a checkpoint may pass: exit 0 pass, 1 fail, 2 wrong use, 3 cannot tell.

    It passes if no primary metric of the policy is worse than its margin allows, each at level alpha; it fails if a
    drop beyond a margin is proven.
    """
    settings = settings_from(results=results)
    from unix_bench import gate as rules
    from unix_bench.records import write_atomic

    for place in (junit, summary):
        if place is not None and place.is_dir():
            raise UserError(f"{place} is a folder: name a file")
    show_progress(progress)
    found = rules.gate(candidate, against, policy, settings)
    code = {"pass": 0, "fail": 1, "inconclusive": {"ok": 0, "fail": 1, None: 3}[inconclusive]}[found.outcome]
    if junit is not None:
        write_atomic(junit, rules.junit(found, inconclusive == "fail"))
    stated = os.environ.get("GITHUB_STEP_SUMMARY")
    place = summary or (Path(stated) if stated else None)
    if place is not None:
        _append(place, rules.summary(found))
    if as_json:
        from unix_bench.compare import json_of

        click.echo(json_of(rules.document(found, code)), nl=False)
    else:
        _show_gate(found)
    raise SystemExit(code)


def _append(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}") from error


def _show_gate(found: GateResult) -> None:
    from unix_bench.gate import number
    from unix_bench.tables.harmless import harmless

    rows = [
        {
            "metric": case.metric if case.pathology is None else f"{case.metric}, {case.pathology}",
            "candidate": number(case.candidate),
            "baseline": number(case.baseline),
            "gain": number(case.gain),
            "may lose": number(case.allowed),
            "p (worse)": number(case.p_worse),
            "p (drop)": number(case.p_drop),
            "": case.state if case.state != "advisory" else f"advisory: {case.text}",
            "n": case.n,
        }
        for case in found.cases
        if case.state != "advisory" or case.text in ("better", "worse")
    ]
    show_table(rows, as_json=False)
    for case in found.cases:
        if case.state in ("fail", "inconclusive", "not judged"):
            click.echo(f"{case.metric}: {case.state}: {harmless(case.text)}")
    for warning in found.warnings:
        click.echo(harmless(warning))
    click.echo(f"gate: {found.outcome} (n = {found.n}, alpha = {found.alpha:g})")
