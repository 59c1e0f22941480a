"""The walk from two runs and a policy to a yes, a no, or a cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unix_bench import registry
from unix_bench.compare import (
    Drawn,
    Matched,
    NotComparable,
    Pairs,
    compare,
    judged_by,
    match,
    paired_measures,
    patients,
    read_drawn,
)
from unix_bench.errors import UserError, unknown_name
from unix_bench.gate.exports import document, junit, number, summary
from unix_bench.gate.policy import Policy, Primary, load_policy
from unix_bench.gate.verdict import PRECONDITION, Case, GateResult, Outcome, advisory, decide, outcome_of
from unix_bench.records import Counts, Results, find_run
from unix_bench.scoring.metrics import metric_card, metric_cards
from unix_bench.scoring.statistics import MarginTest, kernel_margin, measure_margin
from unix_bench.settings import Settings
from unix_bench.tables.comparison import Comparison

__all__ = [
    "Case",
    "GateResult",
    "Outcome",
    "Policy",
    "decide",
    "document",
    "gate",
    "junit",
    "load_policy",
    "number",
    "outcome_of",
    "summary",
]
SEED = 0


def gate(candidate: str, baseline: str, policy: Path | None, settings: Settings, quiet: bool = False) -> GateResult:
    """Hold a candidate against a baseline.

    Args:
        candidate: RUN as the command line takes it.
        baseline: Likewise.
        policy: The user's policy; None: the bundled one of the task.
        settings: Where runs, data and weights are.
        quiet: No progress.

    Raises:
        UserError: A run or the policy cannot be used, or the runs are over different studies.
    """
    task = registry.task(str(find_run(candidate, settings.results)[0].record().predict_spec["task"])).name
    rules = load_policy(policy, task)
    try:
        matched = match(candidate, baseline, settings, quiet=quiet)
    except NotComparable as error:
        case = Case(PRECONDITION, None, "fail", str(error), 0)
        return GateResult("fail", task, None, None, 0, rules.alpha, None, None, (), (case,))
    drawn = read_drawn(matched, settings, quiet)
    compared = compare(matched, drawn, samples=False)
    primaries = _primaries(matched, rules, drawn)
    decisive = {case.metric for case in primaries}
    others = [advisory(row) for row in compared.metrics if row.pathology is not None or row.name not in decisive]
    cases = [*_failures(matched, rules), *primaries, *others]
    return _result(compared, rules, cases)


def _result(compared: Comparison, rules: Policy, cases: list[Case]) -> GateResult:
    return GateResult(
        outcome_of(cases),
        compared.task,
        compared.protocol,
        compared.data,
        compared.n,
        rules.alpha,
        compared.a,
        compared.b,
        compared.notes,
        tuple(cases),
    )


def _failures(matched: Matched, rules: Policy) -> list[Case]:
    """A failing case where more of the candidate's predictions went wrong than may, and than the baseline's."""
    share, before = (_failed_share(side.results.counts) for side in (matched.a, matched.b))
    if share <= max(rules.max_failed, before):
        return []
    text = f"{share:.1%} of the candidate's predictions failed, more than {rules.max_failed:.1%} and the baseline's"
    return [Case(PRECONDITION, None, "fail", text, len(matched.ids))]


def _failed_share(counts: Counts) -> float:
    return counts.failed / max(1, counts.ok + counts.failed)


def _primaries(matched: Matched, rules: Policy, drawn: Mapping[str, Drawn]) -> list[Case]:
    """The decisive cases, decided."""
    measures = paired_measures(matched)
    values = [_overall(side.results) for side in (matched.a, matched.b)]
    counts: dict[str, list[int]] = {}
    for metric in (*matched.a.results.metrics, *matched.b.results.metrics):
        if metric.pathology is None:
            counts.setdefault(metric.name, []).append(metric.n)
    cases: list[Case] = []
    tests: list[MarginTest | None] = []
    for primary in rules.primary:
        for name in (primary.metric, *primary.otherwise):
            if name not in values[1] and name not in values[0] and name not in metric_cards():
                raise unknown_name("metric in the policy", name, {*metric_cards(), *values[1]})
        chosen = next((n for n in (primary.metric, *primary.otherwise) if values[1].get(n) is not None), primary.metric)
        new, old = (side.get(chosen) for side in values)
        n = min(len(matched.ids), *counts.get(chosen, [0]))
        case = Case(chosen, None, "inconclusive", "", n, new, old)
        test = None
        if old is None:
            case = Case(chosen, None, "not judged", "the baseline has no value of it", n, new)
        elif new is None:
            text = "the baseline has a value of it, and the candidate has none"
            case = Case(chosen, None, "fail", text, n, None, old)
        else:
            test = _test(matched, chosen, primary, measures, drawn)
        cases.append(case)
        tests.append(test)
    return decide(cases, tests, rules.alpha, rules.minimum_n)


def _overall(results: Results) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in results.metrics if metric.pathology is None}


def _test(matched: Matched, name: str, primary: Primary, measures: Pairs, drawn: Mapping[str, Drawn]) -> MarginTest:
    """The tests of one primary over all studies.

    Raises:
        UserError: Nothing can test it, or nobody says which way is better.
    """
    row = next(row for row in matched.rows if row.pathology is None)
    stated = next((m.better for m in matched.b.results.metrics if m.name == name and m.better), None)
    better = stated or metric_card(name).better
    if better is None:
        raise UserError(f"policy: {name} has no better way, so it cannot decide: take another metric")
    if name in measures:
        new, old = measures[name]
        return measure_margin(new, old, patients(matched, row), better == "higher", primary.margin, SEED)
    images = judged_by(name, drawn)
    if images is None:
        raise UserError(
            f"policy: {name} is a property of the whole set and has no paired test under {matched.protocol}, so it "
            "cannot decide: take kd, alignment, or a metric of single reports"
        )
    return kernel_margin(*images.sums(row.members), primary.margin, SEED)
