"""The same model run with several seeds: how much its numbers move, beside how sure each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unix_bench.records import Results
from unix_bench.scoring.statistics import Spread, between_seeds


@dataclass(frozen=True)
class MetricSpread:
    """One metric over seeds.

    Attributes:
        ci: Interval of the first seed's value: the chance in the choice of patients.
        spread: Over the seeds' values: the chance in the sampling. None where a seed has no value.
        flags: Of any seed's value.
    """

    name: str
    pathology: str | None
    ci: tuple[float, float] | None
    spread: Spread | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeedSummary:
    """What came of several seeds of one model."""

    model: str
    task: str
    data: str
    seeds: list[int]
    metrics: list[MetricSpread]


def summarise(runs: Sequence[Results]) -> SeedSummary:
    """Put the results of one model's seeds side by side.

    Args:
        runs: Results that differ in nothing but the seed.
    """
    spec = runs[0].predict_spec
    metrics = []
    by_name = [{(metric.name, metric.pathology): metric for metric in results.metrics} for results in runs]
    for (name, pathology), first in by_name[0].items():
        same = [of_run[name, pathology] for of_run in by_name if (name, pathology) in of_run]
        values = [metric.value for metric in same if metric.value is not None]
        spread = between_seeds(values) if len(values) == len(runs) else None
        flags = tuple(dict.fromkeys(flag for metric in same for flag in metric.flags))
        metrics.append(MetricSpread(name, pathology, first.ci, spread, flags))
    seeds = [int(results.predict_spec["seed"]) for results in runs]
    return SeedSummary(str(spec["model"]), str(spec["task"]), str(spec["data"]), seeds, metrics)
