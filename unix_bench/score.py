"""The walk from predictions to results: pair them with the references, score every row, sign every value."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from unix_bench import registry
from unix_bench.cards import TaskCard
from unix_bench.data import FINDINGS, DataSet, Study, Subset, check_images, load_subset, open_data
from unix_bench.errors import TooManyFailures, UserError, unknown_name
from unix_bench.execution import ProgressLine
from unix_bench.plan import eligible_studies
from unix_bench.records import Counts, Metric, Results, RunFolder, RunRecord, Sample
from unix_bench.settings import Settings
from unix_bench.spec import OnError, ScoreSpec
from unix_bench.tasks import Pair, Row, TaskAdapter, Value, adapter_for


@dataclass(frozen=True)
class ScoreOptions:
    """What a user may say about scoring.

    Attributes:
        protocol: None: the task's default.
        max_failed: Largest share of failed samples that still counts as success.
    """

    protocol: str | None = None
    per_pathology: bool = False
    on_error: OnError = "drop-pair"
    max_failed: float = 0.01
    quiet: bool = False


def choose_protocol(task: TaskCard, stated: str | None) -> str:
    """The stated protocol, or the task's default.

    Raises:
        UserError: The task has no such protocol.
    """
    if stated is not None and stated not in task.protocols:
        raise unknown_name(f"protocol of {task.name}", stated, task.protocols)
    return stated or next(iter(task.protocols))


def score(run: RunFolder, options: ScoreOptions, settings: Settings) -> Results:
    """Score a run, or read the results where it was scored in this way before.

    Raises:
        UserError: The run is unfinished, its data changed, or the policy has no meaning for the task.
        TooManyFailures: A sample failed, and `on_error` is `fail`.
    """
    record = run.record()
    task = registry.task(str(record.predict_spec["task"]))
    protocol = choose_protocol(task, options.protocol)
    adapter = adapter_for(task)
    data = _same_data(run, record, task, settings)
    subset = _subset(record, data)
    eligible = eligible_studies(data, adapter, subset, record.predict_spec["limit"])
    spec = ScoreSpec(
        protocol=protocol,
        protocol_version=task.protocols[protocol],
        encoder=adapter.encoder,
        encoder_digest=adapter.encoder_digest,
        pixels=_pixels(run, record, adapter, eligible, settings),
        per_pathology=options.per_pathology,
        on_error=options.on_error,
    )
    known = run.results(spec.folder)
    if known is not None:
        return known

    samples = _finished_samples(run, eligible)
    failed = [sample for sample in samples if sample.error is not None]
    if failed and options.on_error == "fail":
        raise TooManyFailures(f"{failed[0].id} failed ({failed[0].error}), and --on-error fail allows none")
    kept = [
        Pair(study, sample)
        for study, sample in zip(eligible, samples, strict=True)
        if sample.error is None or options.on_error == "score-zero"
    ]
    rows = _rows(kept, options.per_pathology)
    with ProgressLine("scoring", len(kept), options.quiet) as line:
        scored = adapter.score(run, kept, rows, line)
    considered = [study for study in data.studies if subset is None or study.id in subset.ids]
    if record.predict_spec["limit"]:
        considered = considered[: considered.index(eligible[-1]) + 1]
    skipped = sum(adapter.lacks(study) is not None for study in considered)
    counts = Counts(total=len(eligible) + skipped, ok=len(eligible) - len(failed), failed=len(failed), skipped=skipped)
    results = Results(
        run=run.id,
        predict_spec=record.predict_spec,
        score_spec=asdict(spec),
        demo=record.demo or adapter.stand_in_scores,
        restricted=record.restricted,
        counts=counts,
        metrics=[
            _metric(value, row, spec, record, adapter, data, counts)
            for row, values in zip(rows, scored.rows, strict=True)
            for value in values
        ],
    )
    table: dict[str, list[object]] = {
        "id": [sample.id for sample in samples],
        "error": [sample.error for sample in samples],
    }
    places = {pair.study.id: index for index, pair in enumerate(kept)}
    for name, values in scored.per_sample.items():
        table[name] = [values[places[sample.id]] if sample.id in places else None for sample in samples]
    run.write_results(spec.folder, results, _parquet(table))
    return results


def check_failures(results: Results, max_failed: float) -> None:
    """Raises `TooManyFailures` where more than the allowed share of samples failed."""
    counts = results.counts
    predicted = counts.ok + counts.failed
    if predicted and counts.failed / predicted > max_failed:
        raise TooManyFailures(
            f"{counts.failed} of {predicted} samples failed, more than --max-failed {max_failed:g} allows "
            "(the results above leave them out as --on-error says)"
        )


def _subset(record: RunRecord, data: DataSet) -> Subset | None:
    tag = record.predict_spec["subset"]
    if tag is None:
        return None
    subset = load_subset(str(tag).rpartition("@")[0], data)
    if subset.tag != tag:
        raise UserError(f"subset {subset.name} changed since {record.id} was predicted: restore it, or run again")
    return subset


def _pixels(
    run: RunFolder, record: RunRecord, adapter: TaskAdapter, eligible: Sequence[Study], settings: Settings
) -> str | None:
    """Digest of the real images as they are now, for a task that scores with them; says so where they changed."""
    if not adapter.reads_reference_images:
        return None
    now = check_images(eligible, settings.cache).pixel_digest
    if now != record.pixel_digest:
        print(f"WARNING: the images differ from those that {run.id} began with", file=sys.stderr)
    return now


def _same_data(run: RunFolder, record: RunRecord, task: TaskCard, settings: Settings) -> DataSet:
    data = open_data(record.data_path, task.sets, settings)
    if data.content_digest != record.predict_spec["data_digest"]:
        raise UserError(
            f"the data in {record.data_path} changed since {run.id} was predicted: restore it, or run again"
        )
    return data


def _finished_samples(run: RunFolder, eligible: Sequence[Study]) -> list[Sample]:
    found = run.samples()
    missing = sum(study.id not in found for study in eligible)
    if missing:
        raise UserError(
            f"{run.id} is unfinished, {missing} of {len(eligible)} predictions are missing: "
            "give the `unix-bench run` command again to go on"
        )
    return [found[study.id] for study in eligible]


def _rows(pairs: Sequence[Pair], per_pathology: bool) -> list[Row]:
    """All studies and, for each finding, those labelled as showing it (uncertain counts as not showing)."""
    rows = [Row(None, list(range(len(pairs))))]
    for finding in FINDINGS if per_pathology else ():
        rows.append(Row(finding, [i for i, pair in enumerate(pairs) if pair.study.reference.labels.get(finding) == 1]))
    return rows


def _metric(
    value: Value, row: Row, spec: ScoreSpec, record: RunRecord, adapter: TaskAdapter, data: DataSet, counts: Counts
) -> Metric:
    predicted = record.predict_spec
    definition = {
        "protocol": f"{spec.protocol}.{spec.protocol_version}",
        "task": f"{predicted['task']}.{predicted['task_version']}",
        **adapter.definition(value.name),
        "reference_text": data.reference_text,
        "data": f"{predicted['data']}@{str(predicted['data_digest'])[:8]}",
        **({"subset": str(predicted["subset"])} if predicted["subset"] else {}),
        **({"pixels": spec.pixels[:8]} if spec.pixels else {}),
        "uncertain": "not positive" if row.pathology else "not used",
        "n": str(len(row.members)),
        "failed": str(counts.failed),
        "on_error": spec.on_error,
        "seed": str(predicted["seed"]),
    }
    number = value.value if value.value is None or math.isfinite(value.value) else None
    return Metric(
        name=value.name,
        value=number,
        n=len(row.members),
        pathology=row.pathology,
        flags=value.flags,
        protocol=spec.protocol,
        signature="; ".join(f"{key}={text}" for key, text in definition.items()),
        reason=value.reason or ("the value is not finite" if number is None else None),
    )


def _parquet(table: dict[str, list[object]]) -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(table).to_parquet(buffer, index=False)
    return buffer.getvalue()
