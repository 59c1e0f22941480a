"""From what a user says to a run that can start: every name found, every setting checked, nothing written."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unix_bench import registry
from unix_bench.cards import ModelCard, TaskCard, Value
from unix_bench.data import DataSet, ImageCheck, Study, Subset, check_images, load_subset, open_data
from unix_bench.errors import UserError, unknown_name
from unix_bench.execution import ProgressLine, choose_device, choose_dtype, describe_environment
from unix_bench.records import RunRecord
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec
from unix_bench.tasks import TaskAdapter, adapter_for
from unix_bench.weights import WeightsIdentity, identify, made_once


@dataclass(frozen=True)
class PredictOptions:
    """What a user may say about predicting.

    Attributes:
        data: Name or path.
        weights: The model's own folder, or one that holds it; None: as configured.
        overrides: `--set key=value`.
        skip_bad_images: A damaged image is a failed sample; otherwise it stops the run before it starts.
        stop_at_failure: The first failed sample ends the run.
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
    quiet: bool = False


@dataclass(frozen=True)
class Plan:
    """A run that has been checked and can start."""

    spec: PredictSpec
    card: ModelCard
    task: TaskCard
    adapter: TaskAdapter
    data: DataSet
    eligible: list[Study]
    weights: Path
    identity: WeightsIdentity
    device: str


def plan_run(options: PredictOptions, settings: Settings) -> Plan:
    """Find and check everything a run needs.

    Raises:
        UserError: A name is unknown, or data, weights or settings do not fit; the message says which and what to do.
    """
    card, task = registry.model(options.model), registry.task(options.task)
    if task.name not in card.tasks:
        raise UserError(f"model '{card.name}' does not do the task '{task.name}', only {', '.join(card.tasks)}")
    adapter = adapter_for(task)
    data = open_data(options.data, task.sets, settings)
    for note in data.notes:
        print(f"WARNING: {note}", file=sys.stderr)
    subset = load_subset(options.subset, data) if options.subset is not None else None
    eligible = eligible_studies(data, adapter, subset, options.limit)
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device, options.deterministic)
    family = registry.model_class(card.family)
    stated = override(card.settings.get(task.name, {}), options.overrides)
    weights = find_weights(card, family, options.weights, settings)
    identity = identify(weights, card.name, settings.cache)
    if card.verified and not identity.demo:
        print(f"{card.title}: {card.verified}", file=sys.stderr)
    spec = PredictSpec(
        model=identity.name,
        weights=identity.digest,
        task=task.name,
        task_version=task.version,
        data=data.name,
        data_digest=data.content_digest,
        instruction=task.instruction,
        settings=family.complete_settings(weights, task.kind, stated),
        seed=options.seed,
        subset=subset.tag if subset else None,
        limit=options.limit,
        batch_size=options.batch_size or task.batch_size,
        dtype=dtype,
        device=device.partition(":")[0],
        deterministic=options.deterministic,
    )
    return Plan(spec, card, task, adapter, data, eligible, weights, identity, device)


def check_plan(plan: Plan, options: PredictOptions, settings: Settings) -> None:
    """What `--dry-run` checks beyond planning: that the weights would load, and that every image can be read."""
    registry.model_class(plan.card.family).check_weights(plan.weights)
    look_at_images(plan.eligible, settings, options.skip_bad_images, options.quiet)


def new_record(spec: PredictSpec, data: DataSet, pixel_digest: str, demo: bool) -> RunRecord:
    """The record of a run that begins now, on this machine."""
    return RunRecord(
        id=spec.run_id,
        predict_spec=asdict(spec),
        demo=demo,
        restricted=data.restricted,
        data_path=data.opened_as,
        pixel_digest=pixel_digest,
        command=sys.argv,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=describe_environment(),
    )


def eligible_studies(data: DataSet, adapter: TaskAdapter, subset: Subset | None, limit: int | None) -> list[Study]:
    """The studies that have what the task needs, in order: those of the subset, the first `limit` of them.

    Raises:
        UserError: None has.
    """
    wanted = None if subset is None else set(subset.ids)
    eligible = [
        study for study in data.studies if (wanted is None or study.id in wanted) and adapter.lacks(study) is None
    ]
    if not eligible:
        raise UserError(f"data '{data.name}' has no study for this task: {adapter.lacks(data.studies[0])} in any row")
    return eligible[:limit]


def find_weights(card: ModelCard, family: Any, stated: Path | None, settings: Settings) -> Path:
    """The directory of a model's weights: as stated, else below the weights folder, else demo weights.

    Raises:
        UserError: A place was named and the weights are not there.
    """
    if stated is not None:
        inner = stated / card.weights
        directory = inner if inner.is_dir() else stated
        if not directory.is_dir():
            raise UserError(f"--weights {stated} is not a folder: give the one that holds {card.title}'s files")
        return directory
    if settings.weights is not None:
        directory = settings.weights / card.weights
        if not directory.is_dir():
            raise UserError(
                f"{directory} does not exist: put the weights of {card.title} ({card.hub_id}) there, "
                "or unset the weights folder to run with demo weights"
            )
        return directory
    print(
        f"No weights configured: {card.title} runs with random demo weights, and its numbers mean nothing "
        "(`unix-bench doctor` tells how to configure real ones).",
        file=sys.stderr,
    )
    place = settings.cache / "demo-weights" / f"{card.family}-{family.demo_version}"
    return made_once(place, family.write_demo_weights)


def override(stated: dict[str, Value], changes: dict[str, str]) -> dict[str, Value]:
    """A card's settings with the user's `--set key=value`, each read as the type the card has.

    Raises:
        UserError: A key the card does not have, or a value of another type.

    >>> override({"steps": 50, "interval": [0.4, 1.0]}, {"steps": "9", "interval": "0,1"})
    {'steps': 9, 'interval': [0.0, 1.0]}
    """
    settings = dict(stated)
    for key, text in changes.items():
        if key not in settings:
            raise unknown_name("setting", key, settings)
        settings[key] = _parse(key, text, settings[key])
    return settings


def _parse(key: str, text: str, example: Value) -> Value:
    try:
        if isinstance(example, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(example, list):
            return [float(part) for part in text.strip("[]").split(",")]
        return type(example)(text)
    except (ValueError, KeyError) as error:
        kinds = {bool: "true or false", int: "a whole number", float: "a number", list: "numbers with commas between"}
        raise UserError(f"--set {key}={text}: it must be {kinds[type(example)]}, such as {example}") from error


def look_at_images(studies: list[Study], settings: Settings, skip_bad: bool, quiet: bool) -> ImageCheck:
    """Open every image of a run beforehand.

    Raises:
        UserError: Some cannot be read, and the user did not say what to do with such studies.
    """
    with ProgressLine("checking images", len(studies), quiet) as line:
        check = check_images(studies, settings.cache, lambda: line.advance(1))
    if check.unreadable and not skip_bad:
        first, *others = check.unreadable.values()
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{first}{more}: replace it, or leave such studies out with --on-error drop-pair")
    return check
