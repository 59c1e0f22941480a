"""Every metric of every row: difference, interval, p, verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from unix_bench.compare.drawn import Drawn, judged_by
from unix_bench.compare.sides import Matched
from unix_bench.protocols import Row
from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import metric_card
from unix_bench.scoring.statistics import (
    Difference,
    Measure,
    approximate_randomisation,
    holm,
    paired_bootstrap,
    paired_kernel_difference,
)
from unix_bench.tables.comparison import MetricDifference, Verdict

SEED, REPLICATES, TRIALS = 0, 2000, 5000
ALPHA = 0.05
NO_TEST = "a property of the whole set: no paired test of its difference"
OTHER_STUDIES = "a property of the whole set, and the runs' sets differ"
Pairs = Mapping[str, tuple[Measure, Measure]]


def differences(matched: Matched, measures: Pairs, drawn: Mapping[str, Drawn]) -> list[MetricDifference]:
    """All metrics that either run's results name, in the order of the tables.

    Args:
        matched: The runs.
        measures: Metric -> measure of run a and of run b, over `matched.ids`.
        drawn: Features of both runs' images by encoder.
    """
    found = []
    for pathology, (first, second) in _by_pathology(matched.a.results, matched.b.results).items():
        row = next((row for row in matched.rows if row.pathology == pathology), None)
        if row is not None:
            found += [_one(matched, row, name, (first, second), measures, drawn) for name in {**first, **second}]
    return _adjusted(found)


def patients(matched: Matched, row: Row) -> list[str]:
    """Of a row's pairs: what is resampled."""
    pairs = matched.pairs(matched.a)
    return [pairs[index].patient for index in row.members]


def _by_pathology(a: Results, b: Results) -> dict[str | None, tuple[dict[str, Metric], dict[str, Metric]]]:
    found: dict[str | None, tuple[dict[str, Metric], dict[str, Metric]]] = {}
    for side, results in enumerate((a, b)):
        for metric in results.metrics:
            found.setdefault(metric.pathology, ({}, {}))[side][metric.name] = metric
    return found


def _one(
    matched: Matched,
    row: Row,
    name: str,
    stated: tuple[dict[str, Metric], dict[str, Metric]],
    measures: Pairs,
    drawn: Mapping[str, Drawn],
) -> MetricDifference:
    known = [side[name] for side in stated if name in side]
    better = next((metric.better for metric in known if metric.better), None) or metric_card(name).better
    flags = tuple(dict.fromkeys(flag for metric in known for flag in metric.flags))
    n = min(len(row.members), *(metric.n for metric in known))  # a loss counts the studies that have it
    empty = MetricDifference(name, row.pathology, n, None, None, better=better, flags=flags)
    reason = next((metric.reason for metric in known if metric.value is None and metric.reason), None)
    if not row.members:
        return replace(empty, note=reason or row.why_empty)
    if name in measures:
        a, b = (measure.of_members(row.members) for measure in measures[name])
        shown = _shown(a), _shown(b)
        if None in shown:
            return replace(empty, a=shown[0], b=shown[1], note=reason)
        return _judged(replace(empty, a=shown[0], b=shown[1]), _tested(name, a, b, patients(matched, row)))
    images = judged_by(name, drawn)
    if images is not None and len(row.members) > 1 and all(metric.value is not None for metric in known):
        first, second = images.sums(row.members)
        values = replace(empty, a=first.estimate.value, b=second.estimate.value)
        return _judged(values, paired_kernel_difference(first, second, SEED, REPLICATES))
    a_value, b_value = (side[name].value if name in side else None for side in stated)
    if a_value is None or b_value is None:
        return replace(empty, a=a_value, b=b_value, note=reason)
    if not matched.whole:
        return replace(empty, a=a_value, b=b_value, note=OTHER_STUDIES)
    return replace(empty, a=a_value, b=b_value, difference=a_value - b_value, note=NO_TEST)


def _shown(measure: Measure) -> float | None:
    value = measure.shown()
    return value if math.isfinite(value) else None


def _tested(name: str, a: Measure, b: Measure, clusters: Sequence[str]) -> Difference:
    """The bootstrap's interval; p by swapping outputs for reports, whose metrics know no set of images."""
    found = paired_bootstrap(a, b, clusters, SEED, REPLICATES)
    if found.p is None or metric_card(name).task != "report":
        return found
    return replace(found, p=approximate_randomisation(a, b, clusters, SEED, TRIALS))


def _judged(row: MetricDifference, found: Difference) -> MetricDifference:
    known = found.ci is not None and all(map(math.isfinite, found.ci))  # a draw of too few patients has no limits
    note = None if known else "too few patients to tell how sure the difference is"
    return replace(row, difference=found.value, ci=found.ci if known else None, p=found.p, note=note)


def _adjusted(rows: Sequence[MetricDifference]) -> list[MetricDifference]:
    """With p by Holm over the findings of a metric, and with verdicts."""
    families: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        finding = metric_card(row.name).finding
        if row.pathology is not None:
            families.setdefault(row.name, []).append(index)
        elif finding is not None:
            families.setdefault(row.name.replace(f"_{finding}_", "_*_"), []).append(index)
    adjusted = list(rows)
    for members in families.values():
        for index, p in zip(members, holm([rows[index].p for index in members]), strict=True):
            adjusted[index] = replace(rows[index], p_holm=p)
    return [replace(row, verdict=_verdict(row)) for row in adjusted]


def _verdict(row: MetricDifference) -> Verdict | None:
    p = row.p if row.p_holm is None else row.p_holm
    if p is None or row.difference is None or row.better is None:
        return None
    if p >= ALPHA or row.difference == 0.0:
        return "no evidence"
    return "better" if (row.difference > 0.0) == (row.better == "higher") else "worse"
