"""The whole walk: plan every model, predict with each, and score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unix_bench import registry
from unix_bench.plan import Plan, PredictOptions, check_plan, plan_run
from unix_bench.records import Results
from unix_bench.run import predict
from unix_bench.score import ScoreOptions, prepare, score
from unix_bench.settings import Settings


def plan_all(
    wanted: Sequence[PredictOptions], scoring: ScoreOptions, settings: Settings, thorough: bool = False
) -> list[Plan]:
    """Check everything before anything is run; `thorough` looks into the weights and opens every image as well."""
    for options in wanted:
        prepare(registry.task(options.task), scoring, settings)
    plans = [plan_run(options, settings) for options in wanted]
    if thorough:
        for plan, options in zip(plans, wanted, strict=True):
            check_plan(plan, options, settings)
    return plans


def benchmark(
    wanted: Sequence[PredictOptions],
    scoring: ScoreOptions,
    settings: Settings,
    show: Callable[[Results], None],
) -> None:
    """Run and score each model; `show` is given each one's results as soon as they are there.

    Raises:
        UserError: Something does not fit; nothing of the model in question is scored then.
    """
    plans = plan_all(wanted, scoring, settings)
    for plan, options in zip(plans, wanted, strict=True):
        show(score(predict(plan, options, settings), scoring, settings))
