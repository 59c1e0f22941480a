"""What the files of a run hold; `results.json` has no times, hosts, paths or executor in it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION: Literal[1] = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(_Record):
    """One line of `samples-*.jsonl`: a prediction, or why there is none.

    Attributes:
        image: Path below the run's folder.
        unix_csv: Prediction and reference as UniX's evaluation reads them from its own CSV, which this came from.
        error: Set for a failed prediction, which then has no value.
    """

    id: str
    report: str | None = None
    image: str | None = None
    error: str | None = None
    unix_csv: tuple[str, str] | None = None


class Metric(_Record):
    """One number and its definition.

    Attributes:
        value: None where it was not computed; `reason` then says why.
        ci: Interval at 95 %.
        sd: Standard deviation between repeated subsamples, of a value that is their mean.
        n: Studies it rests on.
        support: Of an F1 of one finding: positive references among them.
        pathology: Finding its studies show; None: all studies.
        better: "higher" or "lower", for a metric that a plug-in brings; the others' cards say so.
        signature: Protocol, encoder, data and policy that define it.
    """

    name: str
    value: float | None
    ci: tuple[float, float] | None = None
    sd: float | None = None
    n: int
    support: int | None = None
    pathology: str | None = None
    flags: list[str] = []
    protocol: str
    signature: str
    better: str | None = None
    reason: str | None = None


class Counts(_Record):
    """Studies by what became of them: predicted, gone wrong, or lacking what the task needs."""

    total: int
    ok: int
    failed: int
    skipped: int


class Results(_Record):
    """`results.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    run: str
    predict_spec: dict[str, Any]
    score_spec: dict[str, Any]
    demo: bool
    restricted: bool
    counts: Counts
    metrics: list[Metric]


class RunRecord(_Record):
    """`run.json`: the spec and where it came from."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    predict_spec: dict[str, Any]
    demo: bool
    restricted: bool
    data_path: str
    pixel_digest: str
    command: list[str]
    started: str
    environment: dict[str, str]
