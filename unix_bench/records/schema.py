"""What the files of a run hold; `results.json` has no times, hosts, paths or executor in it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION: Literal[2] = 2  # what changed from one version to the next, `migrate` knows


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class Sample(_Record):
    """One line of `samples-*.jsonl`: a prediction, or why there is none.

    Attributes:
        image: Path below the run's folder.
        unix_csv: Prediction and reference as UniX's evaluation reads them from its own CSV, which this came from.
        losses: What a probe found: `report_nats` and `report_tokens`, `flow_mse`; what the pair lacks is not in it.
        error: Set for a failed prediction, which then has no value.
    """

    id: str
    report: str | None = None
    image: str | None = None
    losses: dict[str, float] | None = None
    error: str | None = None
    unix_csv: tuple[str, str] | None = None


class Metric(_Record):
    """One number and its definition.

    Attributes:
        value: None where it was not computed; `reason` then says why.
        ci: Interval at 95 %.
        sd: Standard deviation between repeated subsamples, of a value that is their mean.
        n: Studies it rests on.
        support: Of an F1 of one finding: positive references among them; under `chexgenbench`: real images.
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

    schema_version: Literal[2] = SCHEMA_VERSION
    run: str
    predict_spec: dict[str, Any]
    score_spec: dict[str, Any]
    demo: bool
    restricted: bool
    counts: Counts
    metrics: list[Metric]


class Code(_Record):
    """What code was at work.

    Attributes:
        version: Of the package.
        commit: Of the checkout it ran from; None: it was installed, or git could not be asked.
        dirty: Whether code or cards differed from that commit.
    """

    version: str
    commit: str | None = None
    dirty: bool | None = None


class RunRecord(_Record):
    """`run.json`: the spec and where it came from.

    Attributes:
        weights_path: Where the weights lay; None: not known, or others predicted.
        code: That began the run; None: not known. `phases.jsonl` has that of every phase.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    id: str
    predict_spec: dict[str, Any]
    demo: bool
    restricted: bool
    data_path: str
    pixel_digest: str
    weights_path: str | None = None
    code: Code | None = None
    command: list[str]
    started: str
    environment: dict[str, str]


class ShardRecord(_Record):
    """`shard.json`, written when a shard is done.

    Attributes:
        index, of: It did batches index, index + of, ... of the run.
        scoring: How the whole run is to be scored once it is there.
    """

    index: int
    of: int
    scoring: dict[str, Any]


class Phase(_Record):
    """One line of `phases.jsonl`: a piece of a run's work, as far as it had come when the line was written.

    Attributes:
        name: "checking images", "loading weights", "predicting" or "scoring".
        began: Time of day; with the name it tells phases apart, and the last line of one counts.
        state: "at work" where it was killed: then `seconds` and the rest are those of its last sign of life.
        protocol: Of a scoring.
        seconds: That it took.
        items: Studies it got through.
        peak_rss_mb: Most memory the process had; since the phase began where the system can tell, else since its start.
        peak_cuda_mb: Most CUDA memory since the phase began; None where none was used.
        code: That was at work.
    """

    name: str
    began: str
    state: Literal["at work", "done", "stopped"]
    protocol: str | None = None
    seconds: float
    items: int
    peak_rss_mb: float
    peak_cuda_mb: float | None = None
    code: Code
