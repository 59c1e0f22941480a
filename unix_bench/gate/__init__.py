"""The walk from two runs and a policy to a yes, a no, or a cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from unix_bench.errors import UserError
from unix_bench.gate.exports import document, junit, number, summary
from unix_bench.gate.policy import Policy, Primary, check_names, load_policy
from unix_bench.gate.verdict import PRECONDITION, Case, GateResult, Outcome, advisory, decide, outcome_of
from unix_bench.records import Counts, Metric, Results, RunFolder, find_run
from unix_bench.scoring.metrics import metric_card
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


def gate(candidate: str, baseline: str, policy: Path | None, settings: Settings) -> GateResult:
    """Hold a candidate against a baseline.

    Args:
        candidate: RUN as the command line takes it.
        baseline: Likewise.
        policy: The user's policy; None: the bundled one of the task.
        settings: Where runs, data and weights are.

    Raises:
        UserError: A run or the policy cannot be used, the baseline predicted nothing, or the runs are over different
            studies.
    """
    run = find_run(candidate, settings.results)[0]
    task = registry.task(str(run.record().predict_spec["task"])).name
    rules = load_policy(policy, task)
    try:
        if not _predicted(before := find_run(baseline, settings.results)[0]):
            raise UserError(f"{before.id} has no prediction to hold anything against: take another baseline")
        if not _predicted(run):
            raise NotComparable(f"{run.id} has no prediction that could be scored")
        matched = match(candidate, baseline, settings)
    except NotComparable as error:
        case = Case(PRECONDITION, None, "fail", str(error), 0)
        return GateResult("fail", task, None, None, 0, rules.alpha, None, None, (), (case,))
    drawn = read_drawn(matched, settings)
    compared = compare(matched, drawn, samples=False)
    primaries, stand_ins = _primaries(matched, rules, drawn, compared)
    decisive = {case.metric for case in primaries}
    others = [advisory(row) for row in compared.metrics if row.pathology is not None or row.name not in decisive]
    cases = [*_failures(matched, rules), *primaries, *others]
    return _result(compared, rules, cases, stand_ins)


def _predicted(run: RunFolder) -> bool:
    """Has it a prediction that did not fail?"""
    return any(sample.error is None for sample in run.samples().values())


def _result(compared: Comparison, rules: Policy, cases: list[Case], stand_ins: list[str]) -> GateResult:
    return GateResult(
        outcome_of(cases),
        compared.task,
        compared.protocol,
        compared.data,
        compared.n,
        rules.alpha,
        compared.a,
        compared.b,
        (*compared.notes, *stand_ins),
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


def _primaries(
    matched: Matched, rules: Policy, drawn: Mapping[str, Drawn], compared: Comparison
) -> tuple[list[Case], list[str]]:
    """The decisive cases, decided, and a sentence for each that stands in for another metric."""
    measures = paired_measures(matched)
    new, old = (_overall(side.results) for side in (matched.a, matched.b))
    check_names(rules, {*new, *old})
    rows = {row.name: row for row in compared.metrics if row.pathology is None}
    cases: dict[str, Case] = {}
    tests: list[MarginTest | None] = []
    stand_ins = []
    for primary in rules.primary:
        names = (primary.metric, *primary.otherwise)
        chosen = next((name for name in names if _has(old, name)), primary.metric)
        if chosen in cases:
            raise UserError(f"policy: {chosen} would decide twice, the second time in place of {primary.metric}")
        if chosen != primary.metric:
            stand_ins.append(f"{chosen} stands in for {primary.metric}{_reason(old, primary.metric)}.")
        row = rows.get(chosen)
        shown = (row.a if _has(new, chosen) else None, row.b if _has(old, chosen) else None) if row else (None, None)
        case = Case(chosen, None, "inconclusive", "", row.n if row else 0, *shown)
        if case.baseline is None:
            text = f"the baseline has no value of it{_reason(old, chosen)}"
            case = replace(case, state="not judged", text=text)
        elif case.candidate is None:
            text = f"the baseline has a value of it, and the candidate has none{_reason(new, chosen)}"
            case = replace(case, state="fail", text=text)
        cases[chosen] = case
        tests.append(_test(matched, chosen, primary, measures, drawn) if case.state == "inconclusive" else None)
    return decide(list(cases.values()), tests, rules.alpha, rules.minimum_n), stand_ins


def _overall(results: Results) -> dict[str, Metric]:
    return {metric.name: metric for metric in results.metrics if metric.pathology is None}


def _has(side: Mapping[str, Metric], name: str) -> bool:
    return name in side and side[name].value is not None


def _reason(side: Mapping[str, Metric], name: str) -> str:
    """Why a run has no value, as it was recorded."""
    reason = side[name].reason if name in side else None
    return f": {reason}" if reason else ""


def _same_system(matched: Matched) -> bool:
    """Is it one run, or are the weights of both the same?"""
    a, b = matched.a, matched.b
    return a.run.id == b.run.id or a.record.predict_spec["weights"] == b.record.predict_spec["weights"]


def _test(matched: Matched, name: str, primary: Primary, measures: Pairs, drawn: Mapping[str, Drawn]) -> MarginTest:
    """The tests of one primary over all studies.

    Raises:
        UserError: Nothing can test it, or nobody says which way is better.
    """
    row = next(row for row in matched.rows if row.pathology is None)
    same = _same_system(matched)
    stated = next((m.better for m in matched.b.results.metrics if m.name == name and m.better), None)
    better = stated or metric_card(name).better
    if better is None:
        raise UserError(f"policy: {name} has no better way, so it cannot decide: take another metric")
    if name in measures:
        new, old = measures[name]
        return measure_margin(new, old, patients(matched, row), better == "higher", primary.margin, SEED, itself=same)
    images = judged_by(name, drawn)
    if images is None:
        raise UserError(
            f"policy: {name} is a property of the whole set and has no paired test under {matched.protocol}, so it "
            "cannot decide: take kd, alignment, or a metric of single reports"
        )
    return kernel_margin(*images.sums(row.members), primary.margin, SEED, itself=same)
