"""Leaderboards from reviewed results and the runs that are here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from unix_bench import registry
from unix_bench.cards import TaskCard
from unix_bench.data import FINDINGS
from unix_bench.errors import UserError, unknown_name
from unix_bench.publish import check_results, contains, reviewed_results
from unix_bench.records import Results, RunFolder, all_runs, in_standing_order, read_record
from unix_bench.settings import Settings
from unix_bench.tables.leaderboard import (
    Entry,
    Kind,
    Table,
    View,
    as_csv,
    as_html,
    as_latex,
    as_markdown,
    entry_of,
    kind_of,
    lay_out,
    paper_entries,
    paper_notes,
    paper_tables,
    seeds_together,
    view_for,
)

Format = Literal["csv", "latex", "markdown", "html"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".tex": "latex", ".md": "markdown", ".html": "html"}
Found = tuple[Results, Entry]


def leaderboard(
    task_name: str,
    settings: Settings,
    protocol: str | None = None,
    view_name: str | None = None,
    published: bool = False,
    per_pathology: bool = False,
    demo: bool = False,
    beside: Path | None = None,
) -> list[Table]:
    """The leaderboards of a task, one for each kind of rows that may be compared.

    Args:
        task_name: Or an alias of it.
        settings: Where the runs are.
        protocol: None: all of the task's.
        view_name: None: the task's default.
        published: Put the paper's rows beside ours.
        per_pathology: A section for each finding too.
        demo: Show a stand-in's numbers too.
        beside: Folder that the table will lie in, for links to the runs below it.

    Raises:
        UserError: There is nothing to show, or a reviewed result is damaged.
    """
    task = registry.task(task_name)
    if protocol is not None and protocol not in task.protocols:
        raise unknown_name(f"protocol of {task.name}", protocol, task.protocols)
    view = view_for(task.name, view_name)
    if per_pathology and view.by_finding:
        raise UserError(f"view {view.name} has the findings as columns: leave --per-pathology out")
    findings = FINDINGS if per_pathology else ()
    found = [
        one
        for one in _all_found(task, settings, per_pathology or view.by_finding, beside)
        if protocol in (None, one[0].score_spec["protocol"])
    ]
    numbers = [view.paper] if view.paper else [n for n, table in paper_tables().items() if table.task == task.name]
    paper = paper_entries(numbers) if published else []
    if paper and not per_pathology and not view.by_finding:
        paper = [entry for entry in paper if any(row is None for _, row in entry.cells)]
    shown = [one for one in found if demo or not one[0].demo]
    if not shown and not paper:
        hidden = f", {len(found)} of a stand-in (--demo shows them)" if found else ""
        under = f" under {protocol}" if protocol else ""
        raise UserError(
            f"no scored run of {task.name}{under} in {settings.results}{hidden}: `unix-bench run` makes one"
        )
    notes = paper_notes(numbers, paper) if paper else []
    kinds = _by_kind(shown)
    if not kinds:
        return [lay_out(None, [], paper, view, findings, notes)]
    return [
        lay_out(
            kind,
            seeds_together([entry for _, entry in same]),
            paper,
            view,
            findings,
            [*_own_notes(same, view), *notes],
        )
        for kind, same in kinds.items()
    ]


def written(tables: Sequence[Table], form: Format, number: int | None = None) -> str:
    """Leaderboards in a format; CSV holds one.

    Args:
        tables: As `leaderboard` gives them.
        form: Of the text.
        number: Which of the tables, from 1; None: all.

    Raises:
        UserError: There is no such table, or there are several for CSV.
    """
    listed = "; ".join(f"{place}: {table.kind.heading}" for place, table in enumerate(tables, 1) if table.kind)
    if number is not None:
        if number > len(tables):
            raise UserError(f"--table {number}: there are {len(tables)} tables ({listed})")
        tables = [tables[number - 1]]
    if form == "csv" and len(tables) > 1:
        raise UserError(f"rows that cannot be compared do not share a CSV: choose one with --table N ({listed})")
    if form == "csv":
        return as_csv(tables[0])
    return {"latex": as_latex, "markdown": as_markdown, "html": as_html}[form](tables)


def format_of(stated: Format | None, out: Path | None) -> Format:
    """The format that is stated, else the one a file's name ends in, else Markdown.

    Raises:
        UserError: The ending is none of a format.
    """
    if stated is not None or out is None:
        return stated or "markdown"
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {out}: end its name in {', '.join(SUFFIXES)}, or say --format")
    return SUFFIXES[out.suffix.lower()]


def _all_found(task: TaskCard, settings: Settings, by_finding: bool, beside: Path | None) -> list[Found]:
    """Reviewed results and the local scoring that stands for a protocol; a run that is among both stands once."""
    found: dict[tuple[str, str], Found] = {}
    for path, record in reviewed_results(settings.results, task.name):
        entry = entry_of(record.results, "reviewed", record.published, _link(path, beside))
        found[record.results.run, str(record.results.score_spec["protocol"])] = (record.results, entry)
    for run in all_runs(settings.results):
        for path, results in _scorings(run, task):
            key = (results.run, str(results.score_spec["protocol"]))
            known = found[key][0] if key in found else None
            if known is not None and contains(known, results):
                continue
            if known is not None and contains(results, known):
                if not by_finding:
                    continue
            elif known is not None:
                print(
                    f"WARNING: {run.id} was scored anew after it was published: its new results are shown",
                    file=sys.stderr,
                )
            found[key] = (results, entry_of(results, "run", _started(run), _link(path, beside)))
    return list(found.values())


def _scorings(run: RunFolder, task: TaskCard) -> Iterable[tuple[Path, Results]]:
    """A run's scoring that stands for each protocol."""
    whole: list[tuple[Path, Results]] = []
    for path in run.score_files():
        try:
            results = read_record(path, Results)
            check_results(results, str(path))
        except UserError as error:
            print(f"WARNING: left out: {error}", file=sys.stderr)
            continue
        whole.append((path, results))
    kept: dict[str, tuple[Path, Results]] = {}
    for path, results in in_standing_order(whole):
        kept.setdefault(str(results.score_spec["protocol"]), (path, results))
    return [one for one in kept.values() if one[1].predict_spec["task"] == task.name]


def _started(run: RunFolder) -> str:
    try:
        return run.record().started
    except UserError:
        return ""


def _link(path: Path, beside: Path | None) -> str:
    """The way to a file from the folder of the table, where it lies below that folder."""
    if beside is None or not path.resolve().is_relative_to(beside.resolve()):
        return ""
    return quote(path.resolve().relative_to(beside.resolve()).as_posix())


def _by_kind(found: Sequence[Found]) -> dict[Kind, list[Found]]:
    kinds: dict[Kind, list[Found]] = {}
    for results, entry in sorted(found, key=lambda one: (one[1].model, one[1].weights, one[1].seeds, one[1].source)):
        kinds.setdefault(kind_of(results), []).append((results, entry))
    return {kind: kinds[kind] for kind in sorted(kinds)}


def _own_notes(found: Sequence[Found], view: View) -> list[str]:
    """What must be known of the rows: judges that models were trained on, differing images, rows without columns."""
    notes = []
    for model in dict.fromkeys(entry.model for _, entry in found):
        card = registry.models().get(model)
        judges = {
            name for results, entry in found if entry.model == model for name in results.score_spec["instruments"]
        }
        notes += [why for judge, why in (card.metric_overlap if card else {}).items() if judge in judges]
    if len({results.score_spec["pixels"] for results, _ in found}) > 1:
        notes.append("The real images of some rows differ in their pixels: copies of other sizes?")
    metrics = {(column.metric, column.pathology) for column in view.columns}
    bare = [entry for _, entry in found if view.by_finding and not metrics & set(entry.cells)]
    if bare:
        notes.append(f"{len(bare)} runs have no such columns and are left out: score them with --per-pathology.")
    return notes
