"""Two runs made comparable: one task, one state of the data, one protocol, the same studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unix_bench import registry
from unix_bench.cards import TaskCard
from unix_bench.data import DataSet, open_data
from unix_bench.errors import UserError
from unix_bench.protocols import Pair, Row, Scoring, choose_protocol, scoring_for
from unix_bench.records import Results, RunFolder, RunRecord, find_run, read_record
from unix_bench.score import ScoreOptions, score
from unix_bench.settings import Settings, expand
from unix_bench.spec import ScoreSpec

if TYPE_CHECKING:
    import pandas as pd

RESULTS_FILE = "results.json"


class NotComparable(UserError):
    """The runs answer different questions; for a gate that is a "no", not a wrong use."""


@dataclass(frozen=True, eq=False)
class Side:
    """One run and how it was scored.

    Attributes:
        table: Its `samples.parquet`, by id.
        pairs: Those that were scored, by id.
    """

    run: RunFolder
    record: RunRecord
    results: Results
    table: pd.DataFrame
    pairs: Mapping[str, Pair]

    def columns(self, ids: Sequence[str]) -> Mapping[str, Sequence[object]]:
        """The table's columns for some studies, in their order."""
        chosen = self.table.loc[list(ids)]
        return {str(name): chosen[name].tolist() for name in chosen.columns}


@dataclass(frozen=True, eq=False)
class Matched:
    """Two runs pair by pair.

    Attributes:
        ids: Studies that both scored, in the order of the tables.
        rows: Of the table, over these studies.
        whole: They are all that either scored: the values are those of `results.json`.
        notes: What a reader must know.
    """

    task: TaskCard
    protocol: str
    scoring: Scoring
    a: Side
    b: Side
    ids: list[str]
    rows: list[Row]
    whole: bool
    notes: list[str]

    @property
    def restricted(self) -> bool:
        return self.a.results.restricted or self.b.results.restricted

    def pairs(self, side: Side) -> list[Pair]:
        """A side's pairs, in the order of `ids`."""
        return [side.pairs[identity] for identity in self.ids]


def match(reference_a: str, reference_b: str, settings: Settings, common: bool = False) -> Matched:
    """Find two runs, score them alike where they are not, and pair their studies.

    Args:
        reference_a: RUN as the command line takes it.
        reference_b: Likewise.
        settings: Where runs, data and weights are.
        common: Runs over different studies are compared on those that both have.

    Raises:
        NotComparable: Another state of the data or another protocol was asked for, or nothing of run a could be scored.
        UserError: A run is unfinished or of another task, nothing of run b could be scored, or the studies differ and
            `common` was not said.
    """
    (run_a, protocol_a), (run_b, protocol_b) = (_find(each, settings) for each in (reference_a, reference_b))
    task = _same_task(run_a.record(), run_b.record())
    if protocol_a and protocol_b and protocol_a != protocol_b:
        raise NotComparable(f"protocols differ: {protocol_a} of {run_a.id}, {protocol_b} of {run_b.id}: name one")
    protocol = choose_protocol(task, protocol_a or protocol_b)
    options = ScoreOptions(protocol=protocol, per_pathology=True)
    data = open_data(run_a.record().data_path, task.sets, settings)
    scoring = scoring_for(task, protocol, None, False, settings)
    a, b = (_side(run, _scored(run, options, settings), scoring, data) for run in (run_a, run_b))
    notes = _notes(a, b)
    asked_a, asked_b = set(a.table.index), set(b.table.index)
    if asked_a != asked_b:
        both = len(asked_a & asked_b)
        if not common:
            raise UserError(
                f"the runs are over different studies ({len(asked_a)} and {len(asked_b)}, {both} in common): give both "
                "the same --limit and --subset, or compare the common ones only with --common"
            )
        notes.append(f"Only the {both} studies that both runs have are compared, of {len(asked_a)} and {len(asked_b)}.")
    for side, kind in ((b, UserError), (a, NotComparable)):
        if not side.pairs:
            raise kind(f"{side.run.id} has no prediction that could be scored")
    ids = [identity for identity in a.pairs if identity in b.pairs]
    if not ids:
        raise UserError(f"{a.run.id} and {b.run.id} have no scored study in common")
    left_out = len((a.pairs.keys() | b.pairs.keys()) & asked_a & asked_b) - len(ids)
    if left_out:
        notes.append(f"{left_out} studies of which one run's prediction failed are left out of both.")
    whole = len(ids) == len(a.pairs) == len(b.pairs)
    rows = scoring.rows([a.pairs[identity] for identity in ids], True, "negative")
    return Matched(task, protocol, scoring, a, b, ids, rows, whole, notes)


def _find(reference: str, settings: Settings) -> tuple[RunFolder, str | None]:
    """The run, and the protocol where the reference names one or is the folder of a scoring."""
    run, protocol = find_run(reference, settings.results)
    place = expand(Path(reference))
    file = place if place.name == RESULTS_FILE else place / RESULTS_FILE
    if protocol is None and file.is_file():
        protocol = str(read_record(file, Results).score_spec["protocol"])
    return run, protocol


def _same_task(a: RunRecord, b: RunRecord) -> TaskCard:
    first, second = a.predict_spec, b.predict_spec
    if first["task"] != second["task"]:
        raise UserError(f"{a.id} does the task {first['task']}, {b.id} {second['task']}: compare runs of one task")
    if first["task_version"] != second["task_version"]:
        raise NotComparable(f"{a.id} and {b.id} were made under different versions of the task {first['task']}")
    if first["data_digest"] != second["data_digest"]:
        raise NotComparable(
            f"the content of the data differs: {str(first['data_digest'])[:8]} of {a.id}, "
            f"{str(second['data_digest'])[:8]} of {b.id}"
        )
    return registry.task(str(first["task"]))


def _scored(run: RunFolder, options: ScoreOptions, settings: Settings) -> Results:
    with run:
        return score(run, options, settings)


def _side(run: RunFolder, results: Results, scoring: Scoring, data: DataSet) -> Side:
    import pandas as pd

    folder = ScoreSpec(**results.score_spec).folder
    path = run.path / "scores" / folder / "samples.parquet"
    try:
        table = pd.read_parquet(path).set_index("id")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read: delete its folder, and score {run.id} again") from error
    studies = {study.id: study for study in data.studies}
    missing = [identity for identity in table.index if identity not in studies]
    if missing:
        raise UserError(f"{path} has {len(missing)} studies that the data has not: score {run.id} again")
    pairs = scoring.pairs(studies, [studies[identity] for identity in table.index], run.samples())
    return Side(run, run.record(), results, table, {pair.study.id: pair for pair in pairs})


def _notes(a: Side, b: Side) -> list[str]:
    notes = []
    if a.record.pixel_digest != b.record.pixel_digest:
        notes.append("WARNING: the pixels of the images that the two runs began with differ.")
    for key, words in (
        ("instruments", "measured with different instruments"),
        ("training", "scored with different training sets"),
    ):
        if a.results.score_spec[key] != b.results.score_spec[key]:
            notes.append(f"WARNING: the runs were {words}.")
    return notes
