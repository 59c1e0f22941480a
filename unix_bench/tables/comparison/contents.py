"""What a comparison of two runs holds for those who read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["better", "worse", "no evidence"]


@dataclass(frozen=True)
class SideFacts:
    """One of the two runs.

    Attributes:
        weights: First twelve letters of their digest.
        failed: Predictions that went wrong.
    """

    run: str
    model: str
    weights: str
    seed: int
    failed: int


@dataclass(frozen=True)
class MetricDifference:
    """One metric in one row of the table.

    Attributes:
        n: Studies that both runs have in this row.
        a, b: Values of the two runs.
        difference: a - b.
        ci: Its interval at 95 %.
        p: Two-sided, of "no difference".
        p_holm: p adjusted for the 14 findings, where the metric is asked of each.
        better: Which way is better; None: neither, the number puts others in their place.
        verdict: On run a against run b; None where nothing was tested.
        note: Why there is no difference, or no test of it.
    """

    name: str
    pathology: str | None
    n: int
    a: float | None
    b: float | None
    difference: float | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    better: str | None = None
    verdict: Verdict | None = None
    note: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class FindingChange:
    """A finding that the two reports of a study do not say the same of, in words."""

    finding: str
    a: str
    b: str
    reference: str


@dataclass(frozen=True)
class ChangedSample:
    """A study whose prediction changed much.

    Attributes:
        a, b: What the criterion says of each run's prediction.
        change: a - b, turned so that more is better.
        reports: Of run a, of run b, and the reference; None for drawn images.
        findings: That the two reports differ in.
        pictures: PNG of run a's drawing, run b's, and the real image; None for reports, or where one cannot be read.
    """

    id: str
    a: float
    b: float
    change: float
    reports: tuple[str, str, str] | None = None
    findings: tuple[FindingChange, ...] = ()
    pictures: tuple[bytes | None, bytes | None, bytes | None] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Comparison:
    """Two runs held against each other.

    Attributes:
        n: Studies that were compared.
        redacted: Texts, images and ids were left out, the samples numbered.
        notes: What a reader must know, a sentence each.
        criterion: By what samples count as changed, in words; None: no metric of single samples.
        changed: Those that changed most, the largest change first.
    """

    a: SideFacts
    b: SideFacts
    task: str
    protocol: str
    data: str
    n: int
    demo: bool
    restricted: bool
    redacted: bool
    notes: tuple[str, ...]
    metrics: tuple[MetricDifference, ...]
    criterion: str | None
    changed: tuple[ChangedSample, ...]
