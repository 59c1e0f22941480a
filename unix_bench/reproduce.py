"""A run of the released model beside the rows that its paper prints."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel, ConfigDict

from unix_bench import registry
from unix_bench.cards import bundled
from unix_bench.errors import AnswerIsNo, UserError
from unix_bench.publish import check_results
from unix_bench.records import Results, find_standing, read_record
from unix_bench.settings import Settings
from unix_bench.tables.leaderboard import FOLDER, Column, paper_tables, paper_view

AGREES, DISAGREES, UNKNOWN = "agrees", "disagrees", "not computed"


class Disagrees(AnswerIsNo):
    """A number lies outside its tolerance."""


class NothingComparable(UserError):
    """No number can be held against the paper's."""

    exit_code = 3


class Tolerance(BaseModel):
    """Within what numbers agree, in the unit the paper prints, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: list[str]
    absolute: float | None = None
    relative: float | None = None
    reason: str

    def of(self, printed: float) -> float:
        """The greatest difference from a printed number that still agrees."""
        return self.absolute if self.absolute is not None else (self.relative or 0.0) * abs(printed)


class Setup(BaseModel):
    """How a task was evaluated for the paper, as far as is known.

    Attributes:
        data: Names of the test sets that count as the paper's.
        n: How many pairs these are said to hold.
        tables: Of the paper.
        differs: What is known to differ between any run of ours and the published one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    protocol: str
    data: list[str]
    n: int
    tables: list[int]
    differs: list[str]


class Model(BaseModel):
    """Which row of the paper a model of ours is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    row: str


class Document(BaseModel):
    """`tolerances.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: list[Setup]
    model: list[Model]
    tolerance: list[Tolerance]


@dataclass(frozen=True)
class Comparison:
    """One printed number and ours.

    Attributes:
        table: Of the paper.
        row: Whose.
        paper, value: In the unit that the paper prints; None where ours was not computed.
        tolerance: Greatest difference that agrees.
        verdict: "agrees", "disagrees" or "not computed".
        reason: For the tolerance; for a value that is not there, why.
    """

    run: str
    table: int
    row: str
    metric: str
    pathology: str | None
    paper: str
    value: float | None
    tolerance: float
    verdict: str
    reason: str


@dataclass(frozen=True)
class Reproduction:
    """What came of holding runs against the paper.

    Attributes:
        differs: What is known to differ, which may explain a disagreement.
        refused: Why a run could not be held against it, one sentence each.
    """

    comparisons: list[Comparison]
    differs: list[str]
    refused: list[str]

    def check(self) -> None:
        """Say whether the runs agree with the paper.

        Raises:
            Disagrees: A number lies outside its tolerance.
            NothingComparable: None can be compared.
        """
        judged = [one for one in self.comparisons if one.verdict != UNKNOWN]
        outside = [one for one in judged if one.verdict == DISAGREES]
        if not judged:
            why = self.refused[0] if self.refused else "no metric of the paper's tables was computed"
            raise NothingComparable(f"nothing can be held against the paper: {why}")
        if outside:
            first = outside[0]
            where = f"{first.metric}{f', {first.pathology}' if first.pathology else ''}"
            raise Disagrees(f"{len(outside)} of {len(judged)} numbers lie outside their tolerance ({where} first)")


@cache
def _document() -> Document:
    text = (bundled(FOLDER) / "tolerances.toml").read_text(encoding="utf-8")
    return Document.model_validate(tomllib.loads(text))


def reproduce(references: Sequence[str], settings: Settings) -> Reproduction:
    """Hold runs against the paper's rows.

    Args:
        references: RUN each; under the task's published protocol, the scoring that stands for the run.
        settings: Where the runs are.

    Raises:
        UserError: There is no such run, or its record is damaged.
    """
    comparisons: list[Comparison] = []
    differs: list[str] = []
    refused: list[str] = []
    for reference in references:
        results = _results(reference, settings)
        setup = next((one for one in _document().task if one.name == results.predict_spec["task"]), None)
        why = _why_not(results, setup)
        if why is not None or setup is None:
            refused.append(f"{results.run}: {why}")
            continue
        comparisons += compare_with_paper(results, setup)
        differs += [note for note in (*setup.differs, *_own_differences(results, setup)) if note not in differs]
    return Reproduction(comparisons, differs, refused)


def compare_with_paper(results: Results, setup: Setup) -> list[Comparison]:
    """Every printed number of the model's rows beside ours."""
    row_name = next(one.row for one in _document().model if one.name == results.predict_spec["model"])
    size = str(results.predict_spec["settings"].get("size", ""))
    return [
        _compared(results, number, row, column, 100 if paper_view(number).percent else 1)
        for number in setup.tables
        for row in paper_tables()[number].rows
        if row["model"] == row_name and row.get("resolution", size) == size
        for column in paper_view(number).columns
        if row[column.name]
    ]


def _compared(results: Results, number: int, row: Mapping[str, str], column: Column, scale: int) -> Comparison:
    """One printed number beside ours."""
    printed = row[column.name]
    allowed = next(one for one in _document().tolerance if column.metric in one.metrics)
    tolerance = allowed.of(float(printed))
    fitting = (one for one in results.metrics if (one.name, one.pathology) == (column.metric, column.pathology))
    metric = next(fitting, None)
    value = None if metric is None or metric.value is None else metric.value * scale
    if value is None:
        verdict = UNKNOWN
        reason = (metric.reason or "no reason recorded") if metric else "not scored: --per-pathology has the findings"
    else:
        verdict = AGREES if abs(value - float(printed)) <= tolerance else DISAGREES
        reason = allowed.reason
    return Comparison(
        run=results.run,
        table=number,
        row=f"{row['model']} {row.get('resolution', '')}".strip(),
        metric=column.metric,
        pathology=column.pathology,
        paper=printed,
        value=value,
        tolerance=tolerance,
        verdict=verdict,
        reason=reason,
    )


def _results(reference: str, settings: Settings) -> Results:
    """The run's scoring under the published protocol of its task, if it has one, else another."""
    published = [one.protocol for one in _document().task]
    found = read_record(find_standing(reference, settings.results, published), Results)
    check_results(found, reference)
    return found


def _why_not(results: Results, setup: Setup | None) -> str | None:
    """Why results cannot be held against the paper; None if they can."""
    spec, score = results.predict_spec, results.score_spec
    if setup is None:
        return f"the paper has no table for {spec['task']}"
    if results.demo:
        return "its numbers are a stand-in's"
    if score["protocol"] != setup.protocol:
        return (
            f"it was scored under {score['protocol']}, the paper under {setup.protocol}: "
            f"`unix-bench score {results.run} --protocol {setup.protocol}`"
        )
    models = [one.name for one in _document().model]
    if spec["model"] not in models:
        return f"the paper has no row for model {spec['model']} (only {', '.join(models)})"
    if spec["data"] not in setup.data:
        return f"its data is {spec['data']}, the paper's {' or '.join(setup.data)}"
    if spec["subset"] or spec["limit"]:
        return "it holds a part of the test set"
    sizes = {row["resolution"] for n in setup.tables for row in paper_tables()[n].rows if "resolution" in row}
    size = str(spec["settings"].get("size", ""))
    if sizes and size not in sizes:
        return f"it drew images of {size or 'unknown'} pixels, and the paper has no such row"
    return None


def _own_differences(results: Results, setup: Setup) -> list[str]:
    """How this run was made otherwise than the published one, as far as its record tells."""
    spec, counts = results.predict_spec, results.counts
    notes = []
    card = registry.models().get(str(spec["model"]))
    stated = card.settings.get(setup.name, {}) if card else {}
    for key, value in stated.items():
        if key != "size" and spec["settings"].get(key) != value:
            notes.append(f"{results.run}: {key} is {spec['settings'].get(key)}, as published {value}.")
    if spec["dtype"] != "bfloat16":
        notes.append(f"{results.run}: computed in {spec['dtype']}, the published model in bfloat16.")
    n = counts.ok + counts.failed
    if n != setup.n:
        notes.append(f"{results.run}: {n} pairs instead of {setup.n}.")
    if counts.failed:
        notes.append(
            f"{results.run}: {counts.failed} samples failed, and count as the published evaluation counts them."
        )
    return notes
