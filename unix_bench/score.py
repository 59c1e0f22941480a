"""The walk from predictions to results: pair them with the references, score every row, sign every value."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from unix_bench import registry
from unix_bench.cards import TaskCard
from unix_bench.data import DataSet, Study, check_images
from unix_bench.errors import TooManyFailures, UserError
from unix_bench.execution import ProgressLine
from unix_bench.pictures import draw_figures
from unix_bench.protocols import Pair, Ranking, Row, Scored, Scoring, Value, choose_protocol, covers, scoring_for
from unix_bench.records import Counts, Metric, PhaseLog, Results, RunFolder, RunRecord, Sample
from unix_bench.reopen import Reopened, reopened
from unix_bench.settings import Settings
from unix_bench.spec import OnError, ScoreSpec, Uncertain


@dataclass(frozen=True)
class ScoreOptions:
    """What a user may say about scoring.

    Attributes:
        protocol: None: the task's default.
        uncertain: What an uncertain label counts as where rows take the studies that show a finding.
        on_error: What a failed prediction counts as; None: as the protocol has it.
        max_failed: Largest share of failed samples that still counts as success.
        require: Metrics, or beginnings of their names, without which nothing is scored.
        allow_external: May commands be run that metric cards name?
    """

    protocol: str | None = None
    per_pathology: bool = False
    uncertain: Uncertain = "negative"
    on_error: OnError | None = None
    max_failed: float = 0.01
    require: tuple[str, ...] = ()
    allow_external: bool = False


def prepare(task: TaskCard, options: ScoreOptions, settings: Settings) -> tuple[str, Scoring]:
    """The protocol's name and the protocol itself, ready to score.

    Raises:
        UserError: There is no such protocol, or a required metric cannot be computed here; says why.
    """
    protocol = choose_protocol(task, options.protocol)
    scoring = scoring_for(task, protocol, options.on_error, options.allow_external, settings)
    for metric in options.require:
        try:
            reason = scoring.why_not(metric)
        except KeyError as error:
            raise UserError(
                f"--require {metric}: {task.name} has no such metric under {protocol} (`unix-bench list metrics`)"
            ) from error
        if reason is not None:
            raise UserError(f"--require {metric}: {reason}")
    return protocol, scoring


def refuse_unused_training(what: str, scoring: Scoring, predicted: Mapping[str, object], settings: Settings) -> None:
    """Training data that somebody named, and that neither the scoring nor what predicted reads, is a mistake.

    Args:
        what: Task and protocol, in words.
        scoring: Theirs.
        predicted: Settings of what predicts.
        settings: Where the training data was named.

    Raises:
        UserError: It was named on the command line, and nothing reads it.
    """
    named = settings.origin.get("training_data") == "command line"
    if named and scoring.training is None and "training" not in predicted:
        raise UserError(f"--training-data has no meaning for {what}: leave it out")


@dataclass(frozen=True)
class Job:
    """A scoring that can start.

    Attributes:
        spec: What it will be, unless an instrument fails.
    """

    run: RunFolder
    record: RunRecord
    source: Reopened
    scoring: Scoring
    spec: ScoreSpec


@dataclass(frozen=True)
class Derived:
    """What a scoring gives, not yet written.

    Attributes:
        per_sample: Columns of `samples.parquet`.
    """

    spec: ScoreSpec
    results: Results
    per_sample: dict[str, list[object]]
    pairs: list[Pair]
    rows: list[Row]
    ranking: Ranking | None


def score(run: RunFolder, options: ScoreOptions, settings: Settings) -> Results:
    """Score a run, or read the results where it was scored in this way before.

    Args:
        run: Which run; it is held until the caller releases it, unless the results are there.
        options: How.
        settings: Where data and judges are.

    Raises:
        UserError: The run is unfinished, its data changed, the policy has no meaning for the task, or another process
            is at work on the run.
        TooManyFailures: A sample failed, and `on_error` is `fail`.
    """
    job = plan_scoring(run, options, settings)
    known = run.results(job.spec.folder)
    if known is not None:
        return known
    run.hold()
    with PhaseLog(run.path).phase("scoring", len(job.source.eligible), job.spec.protocol):
        found = derive(job)
        figures = draw_figures(run, found.results, found.pairs, found.rows, found.ranking)
        run.write_results(found.spec.folder, found.results, _parquet(found.per_sample), figures)
    return found.results


def plan_scoring(run: RunFolder, options: ScoreOptions, settings: Settings) -> Job:
    """Find everything that a scoring needs.

    Raises:
        UserError: The data changed since the run was predicted, or the policy has no meaning for the task.
    """
    record = run.record()
    protocol, scoring = prepare(registry.task(str(record.predict_spec["task"])), options, settings)
    source = reopened(record, settings)
    refuse_unused_training(f"{source.task.name} under {protocol}", scoring, record.predict_spec["settings"], settings)
    spec = ScoreSpec(
        protocol=protocol,
        protocol_version=source.task.protocols[protocol],
        instruments=dict(scoring.instruments),
        absent=dict(scoring.absent),
        pixels=_pixels(record, source, settings),
        training=scoring.training,
        per_pathology=options.per_pathology,
        uncertain=options.uncertain,
        on_error=scoring.on_error,
    )
    return Job(run, record, source, scoring, spec)


def derive(job: Job) -> Derived:
    """Compute the results of a scoring from the samples; nothing is written.

    Raises:
        UserError: The run is unfinished.
        TooManyFailures: A sample failed, and `on_error` is `fail`.
    """
    record, scoring, spec, source = job.record, job.scoring, job.spec, job.source
    data, eligible = source.data, source.eligible
    samples = _finished_samples(job.run, eligible)
    failed = [study.id for study in eligible if samples[study.id].error is not None]
    if failed and spec.on_error == "fail":
        raise TooManyFailures(f"{failed[0]} failed ({samples[failed[0]].error}), and --on-error fail allows none")
    pairs = scoring.pairs({study.id: study for study in data.studies}, eligible, samples)
    rows = scoring.rows(pairs, spec.per_pathology, spec.uncertain)
    scored = scoring.score(job.run, pairs, rows, ProgressLine)
    if scored.failed:  # kept apart, so that the next scoring does not take these results for what it would find
        spec = replace(spec, absent={**spec.absent, **scored.failed})
    considered = [study for study in data.studies if source.subset is None or study.id in source.subset.ids]
    if record.predict_spec["limit"]:
        considered = considered[: considered.index(eligible[-1]) + 1]
    skipped = sum(source.adapter.lacks(study) is not None for study in considered)
    counts = Counts(total=len(eligible) + skipped, ok=len(eligible) - len(failed), failed=len(failed), skipped=skipped)
    results = Results(
        run=job.run.id,
        predict_spec=record.predict_spec,
        score_spec=asdict(spec),
        demo=record.demo or scoring.stand_in,
        restricted=record.restricted or scoring.restricted,
        counts=counts,
        metrics=[
            _metric(value, row, spec, record, scoring, data, counts)
            for row, values in zip(rows, scored.rows, strict=True)
            for value in values
        ],
    )
    return Derived(spec, results, _per_sample(samples, eligible, pairs, scored), pairs, rows, scored.ranking)


def _per_sample(
    samples: Mapping[str, Sample], eligible: Sequence[Study], pairs: Sequence[Pair], scored: Scored
) -> dict[str, list[object]]:
    """Columns of `samples.parquet`: a row for each eligible study and each other one that was scored."""
    places = {pair.study.id: index for index, pair in enumerate(pairs)}
    ids = list(dict.fromkeys([*(study.id for study in eligible), *places]))
    table: dict[str, list[object]] = {"id": [*ids], "error": [samples[identity].error for identity in ids]}
    for name, values in scored.per_sample.items():
        table[name] = [values[places[identity]] if identity in places else None for identity in ids]
    return table


def check_outcome(results: Results, options: ScoreOptions) -> None:
    """Say whether the results are what was asked for; they are written all the same.

    Raises:
        TooManyFailures: More than the allowed share of samples failed.
        UserError: A required metric has no value.
    """
    counts = results.counts
    predicted = counts.ok + counts.failed
    if predicted and counts.failed / predicted > options.max_failed:
        raise TooManyFailures(
            f"{counts.failed} of {predicted} samples failed, more than --max-failed {options.max_failed:g} allows "
            f"(they count as --on-error {results.score_spec['on_error']} in the results above)"
        )
    for metric in results.metrics:
        required = any(covers(name, metric.name) for name in options.require)
        if required and metric.value is None and metric.pathology is None:
            raise UserError(f"--require: {metric.name} was not computed: {metric.reason}")


def _pixels(record: RunRecord, source: Reopened, settings: Settings) -> str | None:
    """Digest of the real images as they are now, for a task that scores with them; says so where they changed."""
    if not source.adapter.reads_reference_images:
        return None
    now = check_images(source.eligible, settings.cache).pixel_digest
    if now != record.pixel_digest:
        print(f"WARNING: the images differ from those that {record.id} began with", file=sys.stderr)
    return now


def _finished_samples(run: RunFolder, eligible: Sequence[Study]) -> dict[str, Sample]:
    found = run.samples()
    missing = sum(study.id not in found for study in eligible)
    if missing:
        raise UserError(
            f"{run.id} is unfinished, {missing} of {len(eligible)} predictions are missing: "
            "give the `unix-bench run` command again to go on"
        )
    return found


def _metric(
    value: Value, row: Row, spec: ScoreSpec, record: RunRecord, scoring: Scoring, data: DataSet, counts: Counts
) -> Metric:
    predicted = record.predict_spec
    n = len(row.members) if value.n is None else value.n
    definition = {
        "protocol": f"{spec.protocol}.{spec.protocol_version}",
        "task": f"{predicted['task']}.{predicted['task_version']}",
        "reference_text": data.reference_text,
        **scoring.definition(value.name),
        "data": f"{predicted['data']}@{str(predicted['data_digest'])[:8]}",
        **({"subset": str(predicted["subset"])} if predicted["subset"] else {}),
        **({"pixels": spec.pixels[:8]} if spec.pixels else {}),
        **({"row": row.rule} if row.rule else {}),
        "n": str(n),
        "failed": str(counts.failed),
        "on_error": spec.on_error,
        "seed": str(predicted["seed"]),
    }
    number = value.value if value.value is None or math.isfinite(value.value) else None
    return Metric(
        name=value.name,
        value=number,
        ci=value.ci,
        sd=value.sd,
        n=n,
        support=value.support,
        pathology=row.pathology,
        flags=value.flags,
        protocol=spec.protocol,
        signature="; ".join(f"{key}={text}" for key, text in definition.items()),
        better=value.better,
        reason=value.reason or ("the value is not finite" if number is None else None),
    )


def _parquet(table: dict[str, list[object]]) -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(table).to_parquet(buffer, index=False)
    return buffer.getvalue()
