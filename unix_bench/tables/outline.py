"""What the tables of one scoring show, whatever draws them: blocks of rows of cells, and what their marks mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from unix_bench import registry
from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.tables.cells import Notes, arrow, called, heading, interval

ROOMY = ("kd_", "alignment_", "probe_")  # beginnings of the metrics whose columns have room for intervals anywhere
BY_FINDING = "Studies with each finding"


@dataclass(frozen=True)
class Cell:
    """A metric in a row.

    Attributes:
        text: Its value with marks and spread; a dash where it has none.
        interval: Its limits; empty where it has none.
        reason: The number, from 1, of the reason why it has no value.
        support: References that show the finding of an F1; empty for others.
    """

    text: str
    interval: str = ""
    reason: int | None = None
    support: str = ""


@dataclass(frozen=True)
class Column:
    """A metric that has a value in several rows.

    Attributes:
        heading: What it is called.
        roomy: Is there room for intervals where space is short?
    """

    heading: str
    roomy: bool = False


@dataclass(frozen=True)
class Line:
    """A row.

    Attributes:
        name: Of a metric, several that lack a value for one reason, or the studies.
        arrow: Which way is better, behind the name of a metric.
        n: Studies; None where the cells say what they rest on.
        cells: One a column; None where the row has no such metric.
        rank: Place among the findings, from 1.
        overall: Is it that of all studies, before those of findings?
    """

    name: str
    n: int | None
    cells: tuple[Cell | None, ...]
    arrow: str = ""
    rank: int | None = None
    overall: bool = False


@dataclass(frozen=True)
class Block:
    """A table.

    Attributes:
        kind: "metrics": a line a metric, with one cell; "studies": a line a set of studies; "findings": F1, a line a
            finding.
        lines: Rows, from above.
        columns: None for "metrics".
        judge: The encoder whose metrics all its columns are, but for the alignment.
        mixed: Are its metrics of several encoders, and go by their names?
        ranked_by: What the ranks of its lines go by; None: there are none.
    """

    kind: Literal["metrics", "studies", "findings"]
    title: str
    lines: tuple[Line, ...]
    columns: tuple[Column, ...] = ()
    judge: str | None = None
    mixed: bool = False
    ranked_by: str | None = None


@dataclass(frozen=True)
class Outline:
    """All tables of a scoring.

    Attributes:
        heading: What was scored.
        notes: What the marks and numbers in cells mean.
        overlaps: Judges that the model was trained on, a sentence each.
    """

    heading: str
    blocks: tuple[Block, ...]
    notes: Notes
    overlaps: tuple[str, ...]


def outline(results: Results) -> Outline:
    """Choose and order what tables show of a scoring."""
    notes = Notes()
    spec, judges = results.predict_spec, results.score_spec["instruments"]
    blocks = _of_images(results, notes) if spec["task"] == "generation" else _of_reports(results, notes)
    card = registry.models().get(str(spec["model"]))
    overlap = card.metric_overlap if card else {}
    return Outline(
        f"{spec['model']} | {spec['task']} | {spec['data']} | protocol {results.score_spec['protocol']}",
        tuple(blocks),
        notes,
        tuple(f"{judge}: {why}" for judge, why in overlap.items() if judge in judges),
    )


def _of_images(results: Results, notes: Notes) -> list[Block]:
    """A table for each encoder that judges, not those of a second opinion; then the rest of all studies' metrics."""
    overall = {metric.name: metric for metric in results.metrics if metric.pathology is None}
    by_finding = len(overall) < len(results.metrics)
    blocks: list[Block] = []
    shown: set[str] = set()
    for judge in results.score_spec["instruments"]:
        if f"precision_{judge}" not in overall:
            continue
        names = _columns_of(judge, overall)
        ranks = _ranks(metric for metric in results.metrics if metric.name == f"kd_{judge}")
        blocks.append(
            Block(
                "studies",
                f"{BY_FINDING if by_finding else 'All studies'}, {judge}",
                _lines(results.metrics, names, notes, ranks),
                _columns(results.metrics, names),
                judge=judge,
                ranked_by="KD" if ranks else None,
            )
        )
        shown |= set(names)
    rest = [metric for metric in overall.values() if metric.name not in shown]
    return [*blocks, Block("metrics", "All studies", _listed(rest, notes), mixed=True)] if rest else blocks


def _columns_of(judge: str, overall: Mapping[str, Metric]) -> list[str]:
    """The headlines of an encoder, shares at a common n instead of those of all images, and the alignment."""
    own = [name for name in headlines() if name.endswith(f"_{judge}") and name in overall]
    own = [name for name in own if f"{name.removesuffix(judge)}common_{judge}" not in overall]
    aligned = [name for name in headlines() if name.startswith("alignment") and name in overall]
    return own + [name for name in aligned if overall[name].value is not None]


def _of_reports(results: Results, notes: Notes) -> list[Block]:
    """All metrics of all studies; F1 of each finding; the headlines of the studies with each finding."""
    overall = [metric for metric in results.metrics if metric.pathology is None]
    whole = [metric for metric in overall if not metric_card(metric.name).finding]
    blocks = [Block("metrics", "All studies", _listed(whole, notes))]
    findings = [metric for metric in overall if metric_card(metric.name).finding and metric.value is not None]
    if findings:
        blocks.append(_findings(findings, notes))
    if len(overall) < len(results.metrics):
        # A metric that no card describes is a plug-in's, called by its name.
        names = [m.name for m in overall if m.name in headlines() or metric_card(m.name).title == m.name]
        lines, columns = _lines(results.metrics, names, notes, {}), _columns(results.metrics, names)
        blocks.append(Block("studies", BY_FINDING, lines, columns))
    return blocks


def _ranks(kernel_distances: Iterable[Metric]) -> dict[str | None, int]:
    """Place of each finding by KD, the nearest to the real images first; FD would rank by how many there are."""
    known = sorted((m.value, m.pathology) for m in kernel_distances if m.value is not None and m.pathology)
    return {pathology: place for place, (_, pathology) in enumerate(known, start=1)}


def _columns(metrics: Sequence[Metric], names: Sequence[str]) -> tuple[Column, ...]:
    firsts = (next(metric for metric in metrics if metric.name == name) for name in names)
    return tuple(Column(heading(metric.name, metric.better), metric.name.startswith(ROOMY)) for metric in firsts)


def _lines(
    metrics: Sequence[Metric], names: Sequence[str], notes: Notes, ranks: Mapping[str | None, int]
) -> tuple[Line, ...]:
    """A line for all studies and for those with each finding, a cell a metric."""
    lines = []
    for pathology in dict.fromkeys(metric.pathology for metric in metrics):
        row = {metric.name: metric for metric in metrics if metric.pathology == pathology}
        cells = tuple(_cell(row[name], notes) if name in row else None for name in names)
        n = next(iter(row.values())).n
        lines.append(Line(pathology or "Overall", n, cells, rank=ranks.get(pathology), overall=pathology is None))
    return tuple(lines)


def _listed(metrics: Sequence[Metric], notes: Notes) -> tuple[Line, ...]:
    """A line a metric; neighbours that lack a value for the same reason share one."""
    lines = []
    for reason, group in groupby(metrics, lambda metric: metric.reason if metric.value is None else None):
        members = list(group)
        if reason is not None and len(members) > 1:
            first = members[0]
            lines.append(Line(f"{first.name} ... {members[-1].name}", first.n, (_cell(first, notes),)))
            continue
        for metric in members:
            name, way = called(metric.name, mixed=True), arrow(metric.name, metric.better)
            lines.append(Line(name, metric.n, (_cell(metric, notes),), way))
    return tuple(lines)


def _findings(metrics: Sequence[Metric], notes: Notes) -> Block:
    """F1 of each finding: a column a labeller and what uncertain counts as."""
    kinds: dict[str, dict[str, Metric]] = {}
    for metric in metrics:
        labeller, finding, uncertain = metric_card(metric.name).title.split(", ")
        kinds.setdefault(f"{labeller}, {uncertain}", {})[finding] = metric
    lines = tuple(
        Line(finding, None, tuple(_cell(kind[finding], notes) if finding in kind else None for kind in kinds.values()))
        for finding in dict.fromkeys(finding for kind in kinds.values() for finding in kind)
    )
    return Block("findings", "F1 of each finding", lines, tuple(map(Column, kinds)))


def _cell(metric: Metric, notes: Notes) -> Cell:
    if metric.value is None:
        return Cell("–", reason=notes.place(metric))
    support = "" if metric.support is None else str(metric.support)
    return Cell(notes.value(metric, metric.value), interval(metric.name, metric.ci), support=support)
