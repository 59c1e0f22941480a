"""The results of one scoring as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unix_bench import registry
from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.tables.cells import Notes, interval, title
from unix_bench.tables.console import wide_console

WITH_INTERVAL = ("kd_", "alignment_", "probe_")  # beginnings of the metrics whose cells have room for one


def print_results(results: Results) -> None:
    """Print the overall values and one row a pathology; what was not computed is numbered and explained below."""
    console, notes = wide_console(), Notes()
    spec, counts = results.predict_spec, results.counts
    heading = f"{spec['model']} | {spec['task']} | {spec['data']} | protocol {results.score_spec['protocol']}"
    printer = _print_generation if spec["task"] == "generation" else _print_report
    printer(console, results, heading, notes)
    notes.explain(console)
    card = registry.models().get(str(spec["model"]))
    for encoder, why in (card.metric_overlap if card else {}).items():
        if encoder in results.score_spec["instruments"]:
            console.print(f"{encoder}: {why}", markup=False, highlight=False)
    counted = f"{counts.ok} predicted, {counts.failed} failed, {counts.skipped} skipped of {counts.total} studies"
    console.print(counted + (" | DEMO: a stand-in's numbers" if results.demo else ""), highlight=False)
    run = f"run {results.run}" + (" | RESTRICTED data" if results.restricted else "")
    console.print(run, markup=False, highlight=False)


def _print_generation(console: Console, results: Results, heading: str, notes: Notes) -> None:
    """A row a pathology for each encoder that judged; then everything else of the overall row."""
    overall = {metric.name: metric for metric in results.metrics if metric.pathology is None}
    alignment = [name for name in overall if name in headlines() and name.startswith("alignment")]
    shown: set[str] = set()
    for encoder in results.score_spec["instruments"]:
        names = [name for name in headlines() if name.endswith(f"_{encoder}") and name in overall]
        if f"precision_{encoder}" not in overall:
            continue  # a second opinion, not a judge
        names = [name for name in names if f"{name.removesuffix(encoder)}common_{encoder}" not in overall]
        names += [name for name in alignment if overall[name].value is not None]
        ranks = _ranks([metric for metric in results.metrics if metric.name == f"kd_{encoder}" and metric.pathology])
        _print_across(console, results.metrics, names, f"{heading} | {encoder}", notes, ranks)
        shown |= set(names)
    rest = [metric for metric in overall.values() if metric.name not in shown]
    if rest:
        _print_below_each_other(console, rest, "All studies", notes, lambda metric: metric.name)


def _print_report(console: Console, results: Results, heading: str, notes: Notes) -> None:
    overall = [metric for metric in results.metrics if metric.pathology is None]
    whole = [metric for metric in overall if not metric_card(metric.name).finding]
    _print_below_each_other(console, whole, heading, notes, title)
    _print_findings(console, [metric for metric in overall if metric_card(metric.name).finding], notes)
    if len(overall) < len(results.metrics):
        shown = [metric.name for metric in overall if metric.name in headlines() or title(metric) == metric.name]
        _print_across(console, results.metrics, shown, "Studies with each finding (--json has all metrics)", notes)


def _ranks(kernel_distances: Sequence[Metric]) -> dict[str | None, int]:
    """Place of each finding by KD, the nearest to the real images first; FD would rank by how many there are."""
    known = sorted((metric.value, metric.pathology or "") for metric in kernel_distances if metric.value is not None)
    return {pathology: place for place, (_, pathology) in enumerate(known, start=1)}


def _print_across(
    console: Console,
    metrics: Sequence[Metric],
    names: Sequence[str],
    heading: str,
    notes: Notes,
    ranks: Mapping[str | None, int] | None = None,
) -> None:
    """A column a metric, a row a pathology, with its rank where there are any."""
    table = Table(title=escape(heading), title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("n", justify="right")
    for name in names:
        heading = title(next(metric for metric in metrics if metric.name == name)).replace(", ", "\n")
        table.add_column(heading, justify="right", no_wrap=True)
    if ranks:
        table.add_column("rank\nby KD", justify="right")
    for pathology in dict.fromkeys(metric.pathology for metric in metrics):
        row = {metric.name: metric for metric in metrics if metric.pathology == pathology}
        cells = [notes.cell(row.get(name), with_interval=name.startswith(WITH_INTERVAL)) for name in names]
        n = str(next(iter(row.values())).n)
        rank = [str(ranks.get(pathology, ""))] if ranks else []
        table.add_row(pathology or "Overall", n, *cells, *rank, end_section=pathology is None)
    console.print(table)


def _print_below_each_other(
    console: Console, metrics: Sequence[Metric], heading: str, notes: Notes, name_of: Callable[[Metric], str]
) -> None:
    """A row a metric with its interval; neighbours that lack a value for the same reason share one."""
    table = Table(title=escape(heading), title_justify="left")
    table.add_column("")
    for column in ("value", "95 % interval", "n"):
        table.add_column(column, justify="right")
    for reason, group in groupby(metrics, lambda metric: metric.reason if metric.value is None else None):
        members = list(group)
        if reason is not None and len(members) > 1:
            table.add_row(f"{members[0].name} ... {members[-1].name}", notes.reason(members[0]), "", str(members[0].n))
            continue
        for metric in members:
            table.add_row(name_of(metric), notes.cell(metric), interval(metric.name, metric.ci), str(metric.n))
    console.print(table)


def _print_findings(console: Console, metrics: Sequence[Metric], notes: Notes) -> None:
    """F1 of each finding: a row a finding, and how many references show it."""
    kinds: dict[tuple[str, str], dict[str, Metric]] = {}
    for metric in metrics:
        if metric.value is not None:
            labeller, finding, uncertain = metric_card(metric.name).title.split(", ")
            kinds.setdefault((labeller, uncertain), {})[finding] = metric
    if not kinds:
        return
    table = Table(title="F1 of each finding: value, 95 % interval, references that show it", title_justify="left")
    table.add_column("")
    for labeller, uncertain in kinds:
        table.add_column(f"{labeller}, {uncertain}", justify="right")
    for finding in next(iter(kinds.values())):
        cells = [row[finding] for row in kinds.values()]
        shown = (f"{notes.cell(one)}  {interval(one.name, one.ci)}  {one.support:>4}" for one in cells)
        table.add_row(finding, *shown)
    console.print(table)
