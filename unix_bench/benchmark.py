"""The whole walk: plan every model, predict with each, and score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.plan import Plan, PredictOptions, check_plan, plan_run
from unix_bench.records import Results, RunFolder, ShardRecord
from unix_bench.reference_points import FAMILY as REFERENCE_POINT
from unix_bench.run import predict
from unix_bench.score import ScoreOptions, prepare, refuse_unused_training, score
from unix_bench.settings import Settings


def plan_all(
    wanted: Sequence[PredictOptions], scoring: ScoreOptions, settings: Settings, thorough: bool = False
) -> list[Plan]:
    """Check everything before anything is run; `thorough` looks into the weights and opens every image as well.

    Of several models the weights are looked into in any case: the last may come to its turn after days.
    """
    _refuse_unused_weights(wanted)
    ready = [prepare(registry.task(options.task), scoring, settings) for options in wanted]
    plans = [plan_run(options, settings) for options in wanted]
    for plan, (protocol, of_task) in zip(plans, ready, strict=True):
        refuse_unused_training(f"{plan.task.name} under {protocol}", of_task, plan.spec.settings, settings)
    if thorough:
        for plan, options in zip(plans, wanted, strict=True):
            check_plan(plan, options, settings)
    elif len(plans) > 1:  # of one alone it is the first thing that `predict` does
        for source in {(plan.spec.model, plan.spec.weights): plan.source for plan in plans}.values():
            source.check()
    return plans


def _refuse_unused_weights(wanted: Sequence[PredictOptions]) -> None:
    if wanted[0].weights and all(registry.model(options.model).family == REFERENCE_POINT for options in wanted):
        raise UserError(f"--weights {wanted[0].weights}: reference points have no weights: leave it out")


def benchmark(
    wanted: Sequence[PredictOptions],
    scoring: ScoreOptions,
    settings: Settings,
    show: Callable[[Results], None],
    show_shard: Callable[[RunFolder], None],
) -> None:
    """Run and score each model; of a shard, which alone cannot be scored, note how its whole is to be.

    Args:
        wanted: What to run.
        scoring: How.
        settings: Where everything is.
        show: Given each model's results as soon as they are there.
        show_shard: Given the folder of each shard that is done.

    Raises:
        UserError: Something does not fit; nothing of the model in question is scored then.
    """
    plans = plan_all(wanted, scoring, settings)
    for plan, options in zip(plans, wanted, strict=True):
        with RunFolder(plan.folder(settings.results)) as run:
            predict(plan, options, settings, run)
            if plan.shard is None:
                show(score(run, scoring, settings))
            else:
                run.finish_shard(ShardRecord(**asdict(plan.shard), scoring=_as_json(scoring)))
                show_shard(run)


def _as_json(scoring: ScoreOptions) -> dict[str, Any]:
    return {**asdict(scoring), "require": list(scoring.require)}
