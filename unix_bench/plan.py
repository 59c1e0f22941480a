"""From what a user says to a run that can start: every name found, every setting checked, nothing written."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from unix_bench import registry
from unix_bench.cards import ModelCard, TaskCard
from unix_bench.data import DataSet, ImageCheck, Study, Subset, check_images, load_subset, open_data
from unix_bench.errors import UserError
from unix_bench.execution import (
    Crew,
    Executor,
    ProgressLine,
    choose_crew,
    choose_device,
    choose_dtype,
    describe_environment,
)
from unix_bench.model_folders import refuse_external
from unix_bench.records import SHARDS, RunRecord, describe_code
from unix_bench.reference_points import FAMILY, ReferenceSource
from unix_bench.settings import Settings
from unix_bench.sources import ModelSource, Source
from unix_bench.spec import PredictSpec, Shard
from unix_bench.tasks import TaskAdapter, adapter_for


@dataclass(frozen=True)
class PredictOptions:
    """What a user may say about predicting.

    Attributes:
        data: Name or path.
        weights: The model's own folder, or one that holds it; None: as configured.
        overrides: `--set key=value`.
        skip_bad_images: A damaged image is a failed sample; otherwise it stops the run before it starts.
        stop_at_failure: The first failed sample ends the run.
        executor: "inline", "process" or "ray"; None: as fits.
        workers: None: one a device.
        shard: Only this part of the run; None: all of it.
        deadline_s: Seconds after which a batch counts as hung; None: as `Scheduler` has it.
        allow_external: May the command be run that the model's card names?
    """

    model: str
    task: str
    data: str = "demo"
    weights: Path | None = None
    subset: str | None = None
    limit: int | None = None
    seed: int = 0
    batch_size: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    deterministic: bool = False
    overrides: dict[str, str] = field(default_factory=dict)
    skip_bad_images: bool = False
    stop_at_failure: bool = False
    executor: Executor | None = None
    workers: int | None = None
    shard: Shard | None = None
    deadline_s: float | None = None
    allow_external: bool = False


@dataclass(frozen=True)
class Plan:
    """A run that has been checked and can start."""

    spec: PredictSpec
    task: TaskCard
    adapter: TaskAdapter
    data: DataSet
    eligible: list[Study]
    source: Source
    crew: Crew
    shard: Shard | None

    def folder(self, results: Path) -> Path:
        """Where its predictions go: the run's folder, or below it that of a shard."""
        run = results / self.spec.run_id
        return run / SHARDS / self.shard.name if self.shard else run


def plan_run(options: PredictOptions, settings: Settings) -> Plan:
    """Find and check everything a run needs.

    Raises:
        UserError: A name is unknown, or data, weights or settings do not fit; the message says which and what to do.
    """
    card, task = registry.model(options.model), registry.task(options.task)
    if task.name not in card.tasks:
        raise UserError(f"model '{card.name}' does not do the task '{task.name}', only {', '.join(card.tasks)}")
    refuse_external(card, options.allow_external)
    adapter = adapter_for(task)
    data = open_data(options.data, task.sets, settings)
    for note in data.notes:
        print(f"WARNING: {note}", file=sys.stderr)
    subset = load_subset(options.subset, data) if options.subset is not None else None
    eligible = eligible_studies(data, adapter, subset, options.limit)
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device, options.deterministic, card.dtype)
    on_gpu = device.startswith("cuda")
    source = _source(card, task, options, data, eligible, settings)
    if source.restricted:  # what is predicted shows it, and with it the run
        data = replace(data, restricted=True)
    spec = PredictSpec(
        model=source.identity.name,
        weights=source.identity.digest,
        task=task.name,
        task_version=task.version,
        data=data.name,
        data_digest=data.content_digest,
        instruction=task.instruction,
        settings=source.settings,
        seed=options.seed,
        subset=subset.tag if subset else None,
        limit=options.limit,
        batch_size=options.batch_size or (on_gpu and card.gpu_batch_size.get(task.name)) or task.batch_size,
        dtype=dtype,
        device=device.partition(":")[0],
        deterministic=options.deterministic,
    )
    crew = choose_crew(options.executor, options.workers, device, settings.ray_address)
    return Plan(spec, task, adapter, data, eligible, source, crew, options.shard)


def _source(
    card: ModelCard, task: TaskCard, options: PredictOptions, data: DataSet, eligible: list[Study], settings: Settings
) -> Source:
    """What predicts: a model, which sees inputs only, or a reference point, which is given the references."""
    if card.family == FAMILY:
        return ReferenceSource.find(card, task, options.overrides, data, eligible, options.seed, settings)
    return ModelSource.find(card, task, options.overrides, options.weights, settings)


def check_plan(plan: Plan, options: PredictOptions, settings: Settings) -> None:
    """What `--dry-run` checks beyond planning: that the weights would load, and that every image can be read."""
    plan.source.check()
    look_at_images(plan.eligible, settings, options.skip_bad_images)


def new_record(
    spec: PredictSpec, data: DataSet, pixel_digest: str, demo: bool, weights: Path | None = None
) -> RunRecord:
    """The record of a run that begins now, on this machine; `weights` is where they lie, if that is known."""
    return RunRecord(
        id=spec.run_id,
        predict_spec=asdict(spec),
        demo=demo,
        restricted=data.restricted,
        data_path=data.opened_as,
        pixel_digest=pixel_digest,
        weights_path=None if weights is None else str(weights.resolve()),
        code=describe_code(),
        command=sys.argv,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=describe_environment(),
    )


def eligible_studies(data: DataSet, adapter: TaskAdapter, subset: Subset | None, limit: int | None) -> list[Study]:
    """The studies that have what the task needs, in order: those of the subset, the first `limit` of them.

    Raises:
        UserError: None has.
    """
    admitted, place = list(data.studies), f"data '{data.name}'"
    if subset is not None:
        wanted = set(subset.ids)
        admitted, place = [study for study in admitted if study.id in wanted], f"subset '{subset.name}' of {place}"
    eligible = [study for study in admitted if adapter.lacks(study) is None]
    if not eligible:
        lacking = f": {adapter.lacks(admitted[0])} in any row" if admitted else ""
        raise UserError(f"{place} has no study for this task{lacking}")
    return eligible[:limit]


def look_at_images(studies: list[Study], settings: Settings, skip_bad: bool) -> ImageCheck:
    """Open every image of a run beforehand.

    Raises:
        UserError: Some cannot be read, and the user did not say what to do with such studies.
    """
    with ProgressLine("checking images", len(studies)) as line:
        check = check_images(studies, settings.cache, lambda: line.advance(1))
    if check.unreadable and not skip_bad:
        first, *others = check.unreadable.values()
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{first}{more}: replace it, or leave such studies out with --on-error drop-pair")
    return check
