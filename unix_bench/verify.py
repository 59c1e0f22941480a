"""Is a run what it says it is? Every digest is taken again, and every scoring derived again from the samples.

Nothing that a cache knows is believed of files; features of images and answers about texts, which have keys of their
own, are taken from the cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from unix_bench.data import DataSet, Study, check_images
from unix_bench.errors import TooManyFailures, UserError
from unix_bench.execution import progress_as
from unix_bench.records import Metric, NewerRecord, Results, RunFolder, RunRecord, Sample, read_record
from unix_bench.reopen import DataChanged, Reopened, reopened
from unix_bench.score import Derived, Job, ScoreOptions, derive, plan_scoring
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec, ScoreSpec
from unix_bench.weights import digest_directory

RELATIVE, ABSOLUTE = 1e-6, 1e-9  # by which a number may differ: other processors add up in another order
POLICIES = ("drop-pair", "fail", "score-zero")  # that a user can state; the others are a protocol's own
AnySpec = TypeVar("AnySpec", PredictSpec, ScoreSpec)
State = Literal["ok", "differs", "not checked", "cannot be checked"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        state: "not checked" is no reproach: it is not there to be checked, or nobody recorded it.
        text: What was found.
    """

    subject: str
    state: State
    text: str


def verify(run: RunFolder, settings: Settings, allow_external: bool = False) -> Iterator[Check]:
    """Check everything that a run's folder says, one thing after the other.

    Args:
        run: Which run.
        settings: Where data, weights and judges are; `training_data` as it was when the run was scored.
        allow_external: May commands be run that metric cards name?
    """
    record = _record(run)
    if isinstance(record, Check):
        yield record
        return
    yield _identity(run, record)
    samples = _samples(run)
    if isinstance(samples, Check):
        yield samples
    else:
        yield _images(run, samples)
    yield _weights(record)
    source = _source(record, settings)
    if isinstance(source, Check):
        yield source
    else:
        data, eligible = source.data, source.eligible
        yield Check("data", "ok", f"content {data.content_digest[:12]}, {len(data.studies)} studies")
        yield _pixels(record, eligible)
        if not isinstance(samples, Check):
            yield _complete(samples, data, eligible)
    files = sorted(run.score_files())
    for path in files:
        yield _scoring(run, path, settings, allow_external)
    if not files:
        yield Check("results", "not checked", "the run has none yet: `unix-bench score` makes them")


def outcome(checks: Sequence[Check]) -> int:
    """The exit code: 1 if something differs, else 2 if something cannot be checked, else 0."""
    states = {check.state for check in checks}
    return 1 if "differs" in states else 2 if "cannot be checked" in states else 0


def _record(run: RunFolder) -> RunRecord | Check:
    try:
        record = run.record()
        _spec(PredictSpec, record.predict_spec)
    except NewerRecord as error:
        return Check("run.json", "cannot be checked", str(error))
    except ValueError as error:
        return Check("run.json", "differs", f"its predict_spec is none: {error}")
    except UserError as error:
        return Check("run.json", "differs", str(error))
    return record


def _spec(kind: type[AnySpec], stated: dict[str, Any]) -> AnySpec:
    """The spec that a record states.

    Raises:
        ValueError: It lacks a field, has one too many, or one of another type.
    """
    try:
        kind(**stated)
        return TypeAdapter(kind).validate_python(stated)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except TypeError as error:
        raise ValueError(str(error)) from error


def _identity(run: RunFolder, record: RunRecord) -> Check:
    spec = _spec(PredictSpec, record.predict_spec)
    for place, name in (("run.json", record.id), ("the folder", run.id)):
        if name != spec.run_id:
            return Check("run.json", "differs", f"the spec is that of {spec.run_id}, and {place} says {name}")
    return Check("run.json", "ok", "schema and identity")


def _samples(run: RunFolder) -> dict[str, Sample] | Check:
    try:
        return run.samples()
    except UserError as error:
        return Check("samples", "differs", str(error))


def _images(run: RunFolder, samples: Mapping[str, Sample]) -> Check:
    """Is every sample's image the one whose digest is its name?"""
    images = [(sample.id, sample.image) for sample in samples.values() if sample.image is not None]
    for identity, relative in images:
        path = run.path / relative
        if not path.resolve().is_relative_to(run.path.resolve()):
            return Check("images", "differs", f"the image of {identity} lies outside the run's folder: {relative}")
        try:
            content = path.read_bytes()
        except OSError as error:
            return Check("images", "differs", f"{relative}, image of {identity}: {error.strerror}")
        if hashlib.sha256(content).hexdigest() != path.stem:
            return Check("images", "differs", f"{relative}, image of {identity}, is not the file it was named for")
    return Check("images", "ok", f"{len(images)} files") if images else Check("images", "not checked", "there are none")


def _weights(record: RunRecord) -> Check:
    stated = str(record.predict_spec.get("weights"))
    if record.weights_path is None:
        return Check("weights", "not checked", "the run does not say where they lay")
    place = Path(record.weights_path)
    if not place.is_dir():
        return Check("weights", "not checked", f"{place} is not there any more")
    with TemporaryDirectory() as empty:
        found = digest_directory(place, Path(empty))
    if found != stated:
        return Check("weights", "differs", f"{place} has digest {found[:12]}, and the run was made with {stated[:12]}")
    return Check("weights", "ok", f"{place}, {found[:12]}")


def _source(record: RunRecord, settings: Settings) -> Reopened | Check:
    """The data and the eligible studies, if they are those of the run."""
    try:
        return reopened(record, settings)
    except DataChanged as error:
        return Check("data", "differs", str(error))
    except UserError as error:
        return Check("data", "cannot be checked", str(error))


def _pixels(record: RunRecord, eligible: Sequence[Study]) -> Check:
    if not record.pixel_digest:
        return Check("pixels", "not checked", "others predicted, and the task does not read the images")
    with TemporaryDirectory() as empty:
        found = check_images(eligible, Path(empty)).pixel_digest
    if found != record.pixel_digest:
        text = f"the images have digest {found[:12]}, and the run began with {record.pixel_digest[:12]}"
        return Check("pixels", "differs", text)
    return Check("pixels", "ok", f"{len(eligible)} images, {found[:12]}")


def _complete(samples: Mapping[str, Sample], data: DataSet, eligible: Sequence[Study]) -> Check:
    known, missing = {study.id for study in data.studies}, [s.id for s in eligible if s.id not in samples]
    strange = [identity for identity in samples if identity not in known]
    if strange:
        return Check("samples", "differs", f"the data has no study {strange[0]}, of {len(strange)} such samples")
    if missing:
        text = f"the run is unfinished: {len(missing)} of {len(eligible)} predictions are missing"
        return Check("samples", "cannot be checked", text)
    return Check("samples", "ok", f"{len(eligible)} predictions, one a study")


def _scoring(run: RunFolder, path: Path, settings: Settings, allow_external: bool) -> Check:
    """Check one scoring: its record, and every number in it."""
    subject = f"results {path.parent.name}"
    try:
        stated = read_record(path, Results)
    except NewerRecord as error:
        return Check(subject, "cannot be checked", str(error))
    except UserError as error:
        return Check(subject, "differs", str(error))
    again = _derived_again(subject, run, stated, settings, allow_external)
    return again if isinstance(again, Check) else _compared(subject, path, stated, *again)


def check_values(run: RunFolder, stated: Results, settings: Settings, allow_external: bool = False) -> Check:
    """Check results, wherever they lie, against what the samples of their run give.

    Args:
        run: Whose samples.
        stated: The results.
        settings: Where data and judges are; `training_data` as it was when the run was scored.
        allow_external: May commands be run that metric cards name?
    """
    again = _derived_again("results", run, stated, settings, allow_external)
    return again if isinstance(again, Check) else _said("results", stated, _all_differences(stated, *again))


def _derived_again(
    subject: str, run: RunFolder, stated: Results, settings: Settings, allow_external: bool
) -> tuple[Derived, Job] | Check:
    """What the samples give when they are scored as results say they were."""
    try:
        spec = _spec(ScoreSpec, stated.score_spec)
    except ValueError as error:
        return Check(subject, "differs", f"its score_spec is none: {error}")
    try:
        options = _options(spec, allow_external)
        job = plan_scoring(run, options, settings)
        other = _other_means(spec, job.spec)
        if other:
            return Check(subject, "cannot be checked", other)
        with progress_as("none"):
            return derive(replace(job, spec=spec)), job
    except TooManyFailures as error:
        return Check(subject, "differs", str(error))
    except UserError as error:
        return Check(subject, "cannot be checked", str(error))


def _options(spec: ScoreSpec, allow_external: bool) -> ScoreOptions:
    return ScoreOptions(
        protocol=spec.protocol,
        per_pathology=spec.per_pathology,
        uncertain=spec.uncertain,
        on_error=spec.on_error if spec.on_error in POLICIES else None,
        allow_external=allow_external,
    )


def _other_means(stated: ScoreSpec, here: ScoreSpec) -> str | None:
    """Why the same numbers cannot be expected here; None if they can."""
    if stated.protocol_version != here.protocol_version:
        return f"it is of version {stated.protocol_version} of {stated.protocol}, and this is {here.protocol_version}"
    for name in {**stated.instruments, **here.instruments}:
        before, now = stated.instruments.get(name), here.instruments.get(name)
        if before != now:
            return f"{name} was {_short(before)} and is {_short(now)} here: configure the one it was scored with"
    if stated.training != here.training:
        was = stated.training or "none"
        return f"the training set was {was} and is {here.training or 'none'} here: say --training-data"
    return None


def _short(digest_of: str | None) -> str:
    return "absent" if digest_of is None else digest_of[:12]


def _compared(subject: str, path: Path, stated: Results, found: Derived, job: Job) -> Check:
    """Hold stored results against derived ones, value by value; the first difference is named, the others counted."""
    differing = _all_differences(stated, found, job)
    if _spec(ScoreSpec, stated.score_spec).folder != path.parent.name and not _is_old(path):
        differing.append(f"the folder {path.parent.name} is not named for its score_spec")
    differing += _per_sample_differences(path.with_name("samples.parquet"), found.per_sample)
    return _said(subject, stated, differing)


def _all_differences(stated: Results, found: Derived, job: Job) -> list[str]:
    differing = list(_differences(stated, found.results))
    if job.spec.pixels != stated.score_spec["pixels"]:
        differing.append("the reference images are not those it was scored with")
    return differing


def _said(subject: str, stated: Results, differing: Sequence[str]) -> Check:
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        return Check(subject, "differs", f"{differing[0]}{more}")
    return Check(subject, "ok", f"{len(stated.metrics)} values derived again from the samples")


def _is_old(path: Path) -> bool:
    """Was the record written by an earlier version, whose specs had other fields?"""
    return bool(json.loads(path.read_bytes())["schema_version"] < Results.model_fields["schema_version"].default)


def _differences(stated: Results, found: Results) -> Iterator[str]:
    for name in ("run", "predict_spec", "demo", "restricted", "counts"):
        if getattr(stated, name) != getattr(found, name):
            yield f"{name} is {getattr(stated, name)}, and should be {getattr(found, name)}"
    before = {(metric.pathology, metric.name): metric for metric in stated.metrics}
    now = {(metric.pathology, metric.name): metric for metric in found.metrics}
    if len(before) != len(stated.metrics):
        yield "a metric stands in it twice"
    for row, name in dict.fromkeys([*before, *now]):
        one, other = before.get((row, name)), now.get((row, name))
        where = f"{name}, {row or 'overall'}"
        if one is None or other is None:
            yield f"{where} is {'missing' if one is None else 'not a metric of this scoring'}"
            continue
        for part in fields_that_differ(one, other):
            yield f"{where}: {part} is {getattr(one, part)}, and should be {getattr(other, part)}"


def fields_that_differ(one: Metric, other: Metric) -> list[str]:
    """The fields in which two metrics differ by more than arithmetic, or the wording of a reason, can.

    >>> metric = Metric(name="rouge_l", value=0.5, n=3, protocol="sound", signature="")
    >>> fields_that_differ(metric, metric.model_copy(update={"value": 0.50001, "n": 4}))
    ['value', 'n']
    """
    worded = [metric.model_copy(update={"reason": metric.reason is not None}) for metric in (one, other)]
    return [name for name in Metric.model_fields if not _same(*(getattr(metric, name) for metric in worded))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _per_sample_differences(path: Path, found: Mapping[str, Sequence[object]]) -> Iterator[str]:
    """Hold `samples.parquet` against what the scoring gives now; both go through the same file format."""
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(found).to_parquet(buffer, index=False)
    now = pd.read_parquet(buffer)
    try:
        before = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        yield f"{path.name} cannot be read ({error})"
        return
    if list(before.columns) != list(now.columns) or len(before) != len(now):
        yield f"{path.name} has other columns or rows"
        return
    for name in now.columns:
        one, other = ([_plain(value) for value in frame[name]] for frame in (before, now))
        if not _same(one, other):
            row = next(i for i, pair in enumerate(zip(one, other, strict=True)) if not _same(*pair))
            yield f"{path.name}: {name} in row {row + 1} is not what the samples give"


def _plain(value: Any) -> Any:
    """Arrays as lists, numbers as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value
