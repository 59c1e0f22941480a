"""From tests to a yes, a no, or a cannot tell: no files, no devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from unix_bench.scoring.statistics import MarginTest, holm
from unix_bench.tables.comparison import MetricDifference, SideFacts

State = Literal["pass", "fail", "inconclusive", "not judged", "advisory"]
Outcome = Literal["pass", "fail", "inconclusive"]
PRECONDITION = "preconditions"  # what is no metric: runs that cannot be compared, predictions that failed


@dataclass(frozen=True)
class Case:
    """One metric in one row, and what became of it.

    Attributes:
        text: Why, one sentence.
        gain: Candidate less baseline, turned so that more is better.
        allowed: How much may be lost; None for what does not decide.
        p_worse: Of "worse by the margin or more"; at most alpha where it passes.
        p_drop: Of "worse by the margin or less", by Holm over the primaries; at most alpha where it fails.
    """

    metric: str
    pathology: str | None
    state: State
    text: str
    n: int
    candidate: float | None = None
    baseline: float | None = None
    gain: float | None = None
    allowed: float | None = None
    p_worse: float | None = None
    p_drop: float | None = None


@dataclass(frozen=True)
class GateResult:
    """The answer.

    Attributes:
        candidate, baseline: None where the runs could not be compared.
        warnings: A sentence each.
        cases: The primaries first.
    """

    outcome: Outcome
    task: str
    protocol: str | None
    data: str | None
    n: int
    alpha: float
    candidate: SideFacts | None
    baseline: SideFacts | None
    warnings: tuple[str, ...]
    cases: tuple[Case, ...]


def outcome_of(cases: Sequence[Case]) -> Outcome:
    """Fail if one fails; pass if every judged one passes and there is one; else it cannot be told."""
    states = [case.state for case in cases]
    if "fail" in states:
        return "fail"
    judged = [case for case in cases if case.state in ("pass", "inconclusive")]
    return "pass" if judged and all(case.state == "pass" for case in judged) else "inconclusive"


def decide(cases: Sequence[Case], tests: Sequence[MarginTest | None], alpha: float, minimum_n: int) -> list[Case]:
    """Give each primary its state.

    A candidate passes where every primary is non-inferior, each at alpha: being wrong about the whole needs being
    wrong about one that is inferior, so nothing is adjusted (intersection-union, Berger, Technometrics 24:295, 1982).
    It fails where any drop is beyond its margin, and of several chances to find one Holm takes account.

    Args:
        cases: Primaries, those already settled among them.
        tests: Of each; None for those that are settled.
        alpha: Of every test.
        minimum_n: Studies below which nothing is decided.
    """
    adjusted = holm([None if test is None else test.p_within for test in tests])
    decided = []
    for case, test, p_drop in zip(cases, tests, adjusted, strict=True):
        if test is None:
            decided.append(case)
            continue
        state, text = _state(test, p_drop, alpha, case.n, minimum_n)
        decided.append(
            replace(
                case,
                state=state,
                text=text,
                gain=test.gain,
                allowed=test.allowed,
                p_worse=test.p_worse,
                p_drop=p_drop,
            )
        )
    return decided


def _state(test: MarginTest, p_drop: float | None, alpha: float, n: int, minimum_n: int) -> tuple[State, str]:
    if n < minimum_n:
        return "inconclusive", f"{n} studies, and the policy asks for {minimum_n}"
    if test.p_worse is None or p_drop is None:
        return "inconclusive", "too few patients to test a difference"
    if p_drop <= alpha:
        return "fail", "a drop beyond the margin is proven"
    if test.p_worse <= alpha:
        return "pass", "no worse than the margin allows"
    return "inconclusive", "neither a drop beyond the margin nor its absence is proven: take more studies"


def advisory(row: MetricDifference) -> Case:
    """A row that decides nothing."""
    turn = {"higher": 1.0, "lower": -1.0, None: None}[row.better]
    gain = None if turn is None or row.difference is None else turn * row.difference
    text = row.note or (row.verdict if row.verdict else "not tested")
    return Case(row.name, row.pathology, "advisory", text, row.n, row.a, row.b, gain)
