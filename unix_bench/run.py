"""The walk from a plan to predictions: do what is left, record each batch as it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from unix_bench import registry
from unix_bench.data import Study
from unix_bench.errors import TooManyFailures
from unix_bench.execution import (
    Outcome,
    ProgressLine,
    batch_plan,
    run_inline,
    set_arithmetic,
)
from unix_bench.plan import Plan, PredictOptions, look_at_images, new_record
from unix_bench.records import WRITER, PhaseLog, RunFolder, Sample, describe_code
from unix_bench.settings import Settings
from unix_bench.spec import sample_seed


def predict(plan: Plan, options: PredictOptions, settings: Settings) -> RunFolder:
    """Do what is left of a run, samples that failed before among it; one that is finished is only opened.

    Raises:
        UserError: An image cannot be read, the weights do not load, or the disk is full.
        TooManyFailures: A sample failed, and the first failure was to end the run.
    """
    log = PhaseLog()
    with log.phase("checking images", len(plan.eligible)):
        check = look_at_images(plan.eligible, settings, options.skip_bad_images, options.quiet)
    found = RunFolder(settings.results / plan.spec.run_id).samples()
    settled = {identity for identity, sample in found.items() if sample.error is None} | set(check.unreadable)
    left = [
        batch
        for batch in batch_plan(plan.eligible, plan.spec.batch_size)
        if any(study.id not in settled for study in batch)
    ]
    unreadable = [study for study in plan.eligible if study.id in check.unreadable]
    model = None
    if left:  # before anything is written: weights that do not fit leave no trace
        with log.phase("loading weights"):
            model = _load(plan)
    begun = new_record(plan.spec, plan.data, check.pixel_digest, plan.identity.demo)
    origin = {"weights_path": str(plan.weights.resolve()), "code": describe_code()}
    run = RunFolder.create(settings.results, begun.model_copy(update=origin))
    if run.record().pixel_digest != check.pixel_digest:
        print(f"WARNING: the images differ from those that {run.id} began with", file=sys.stderr)
    if not left and all(study.id in found for study in unreadable):
        return run
    run.forget_results()
    log.open(run.path)

    def work(studies: Sequence[Study]) -> Sequence[Any]:
        seeds = [sample_seed(plan.spec.seed, plan.spec.task, study.id) for study in studies]
        return plan.adapter.predict(model, studies, seeds)

    def record(outcomes: list[Outcome[Study, Any]]) -> None:
        samples = [_sample(plan, run, outcome) for outcome in outcomes]
        run.append(WRITER, samples)
        failed = [sample for sample in samples if sample.error is not None]
        line.advance(len(samples), failed=len(failed))
        phase.advance(len(samples))
        if failed and options.stop_at_failure:
            raise TooManyFailures(f"{failed[0].id} failed ({failed[0].error}), and --on-error fail stops there")

    total = sum(map(len, left))
    with (
        log.phase("predicting") as phase,
        ProgressLine(f"{plan.spec.model}, {plan.spec.task}", total, options.quiet) as line,
    ):
        if unreadable:
            record([Outcome(study, error=check.unreadable[study.id]) for study in unreadable])
        run_inline([[study for study in batch if study.id not in check.unreadable] for batch in left], work, record)
    return run


def _load(plan: Plan) -> Any:
    set_arithmetic(plan.spec.deterministic)
    family = registry.model_class(plan.card.family)
    return family.load(plan.weights, plan.spec.settings, plan.spec.dtype, plan.device)


def _sample(plan: Plan, run: RunFolder, outcome: Outcome[Study, Any]) -> Sample:
    if outcome.error is not None:
        return Sample(id=outcome.item.id, error=outcome.error)
    return plan.adapter.keep(run, outcome.item.id, outcome.output)
