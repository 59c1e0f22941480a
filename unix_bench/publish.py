"""Reviewed results: small JSON files that are kept under version control and that leaderboards are made from.

They lie beside the folder of the runs: `<task>/<version>/<protocol>/<data>@<digest8>/<model>@<weights12>-seed<S>.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.records import NewerRecord, Results, RunFolder, find_run, find_standing, read_record, write_atomic
from unix_bench.records.migrate import migrated
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec, ScoreSpec
from unix_bench.verify import check_values

VERSION: Literal[1] = 1
RUNS = "runs"  # what the folder of the runs is called that has the reviewed results beside it
SHORTEST_ID, SHORTEST_TEXT = 6, 20  # letters below which an id or a report may stand in a record by chance


class Reviewed(BaseModel):
    """A reviewed result.

    Attributes:
        published: Date, YYYY-MM-DD.
        code: Git commit that predicted, where it is known.
        verified: Were the results derived again from the samples when they were published?
        sha256: Of the canonical JSON of `results` as it stands in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = VERSION
    published: str
    code: str | None
    verified: bool = False
    sha256: str
    results: Results


def records_root(runs: Path) -> Path:
    """Where reviewed results lie: beside a folder called `runs`, within one called otherwise."""
    return runs.parent if runs.name == RUNS else runs


def publish(
    reference: str,
    settings: Settings,
    demo: bool = False,
    replace: bool = False,
    unverified: bool = False,
    allow_external: bool = False,
) -> Path:
    """Add a run's results to the reviewed ones, once they are derived again from its samples.

    Args:
        reference: RUN, or ID:PROTOCOL; the scoring that stands for the run is published, the task's default protocol
            before others.
        settings: Where runs, data and judges are; `training_data` as it was when the run was scored.
        demo: Admit a stand-in's numbers.
        replace: Overwrite a record of the same name that says something else.
        unverified: Admit results that cannot be derived here.
        allow_external: May commands be run that metric cards name, to derive them?

    Returns:
        The record's file; one that says all of this already is left as it is.

    Raises:
        UserError: The run is unfinished, a demo, holds what may not leave it, does not give these results or cannot be
            asked here, or another record has its name.
    """
    runs = settings.results
    defaults = [next(iter(task.protocols)) for task in registry.tasks().values()]
    results = read_record(find_standing(reference, runs, defaults), Results)
    check_results(results, reference)
    if results.demo and not demo:
        raise UserError(
            f"{results.run} holds a stand-in's numbers, which mean nothing: --demo publishes them all the same"
        )
    run = _run_of(reference, results, runs)
    if run is not None:
        _refuse_unfinished(run, results)
        if results.restricted or run.record().restricted:
            _refuse_restricted(run, results)
    elif results.restricted:
        raise UserError(
            f"{reference} holds results of restricted data, and its run {results.run} is not in {runs}: without the "
            "run's folder nobody can tell whether they name a study, so publish from there"
        )
    verified = _verified(run, results, settings, unverified, allow_external)
    path = records_root(runs) / record_path(results)
    if path.is_file():
        known = None if replace else read_reviewed(path)
        if known is not None:
            says_more = contains(results, known.results)
            if contains(known.results, results) and (known.verified >= verified or not says_more):
                return path
            if not says_more:
                raise UserError(
                    f"{path} holds other results ({_differences(known.results, results)}): --replace overwrites them"
                )
    code = None if run is None else _commit(run)
    write_atomic(path, _as_json(results, datetime.now(UTC).date().isoformat(), code, verified))
    return path


def record_path(results: Results) -> Path:
    """Where a reviewed result lies below their root."""
    spec = results.predict_spec
    data = f"{_safe(str(spec['data']))}@{str(spec['data_digest'])[:8]}"
    name = f"{_safe(str(spec['model']))}@{str(spec['weights'])[:12]}-seed{spec['seed']}.json"
    protocol = _safe(str(results.score_spec["protocol"]))
    return Path(_safe(str(spec["task"])), str(spec["task_version"]), protocol, data, name)


def reviewed_results(runs: Path, task: str) -> Iterator[tuple[Path, Reviewed]]:
    """Every reviewed result of a task, in the order of their names; files that are being written are none.

    One that a later unix-bench wrote is left out, with a warning.

    Raises:
        UserError: One is damaged, edited by hand, or not where it belongs.
    """
    root = records_root(runs)
    for path in sorted(root.glob(f"{_safe(task)}/*/*/*/*.json")):
        try:
            found = read_reviewed(path)
        except NewerRecord as error:
            print(f"WARNING: left out: {error}", file=sys.stderr)
            continue
        if root / record_path(found.results) != path:
            raise UserError(f"{path} belongs to {record_path(found.results)}: move it there, or delete it")
        yield path, found


def read_reviewed(path: Path) -> Reviewed:
    """Read a reviewed result.

    Raises:
        NewerRecord: A later unix-bench wrote it.
        UserError: It is cut short, or was edited by hand.
    """
    try:
        raw = from_json(path.read_bytes(), allow_inf_nan=False)
        if raw["schema_version"] > VERSION:
            raise NewerRecord(
                f"it is of schema version {raw['schema_version']}, and this unix-bench reads {VERSION}: upgrade"
            )
        found = Reviewed.model_validate({**raw, "results": migrated(raw["results"], Results)})
    except NewerRecord as error:
        raise NewerRecord(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is no reviewed result ({where}: {first['msg']}): publish the run again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is cut short or damaged: publish the run again with --replace") from error
    if _digest(raw["results"]) != found.sha256:
        raise UserError(f"{path} was edited by hand, its sha256 does not fit: publish the run again with --replace")
    check_results(found.results, str(path))
    return found


def check_results(results: Results, where: str) -> None:
    """Hold a record against what a scoring writes.

    Raises:
        UserError: A spec lacks something, a value is not finite, or a metric stands twice in a row.
    """
    try:
        TypeAdapter(PredictSpec).validate_python(results.predict_spec)
        TypeAdapter(ScoreSpec).validate_python(results.score_spec)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: its spec is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']})") from error
    for metric in results.metrics:
        numbers = [number for number in (metric.value, *(metric.ci or ())) if number is not None]
        if not all(map(math.isfinite, numbers)):
            raise UserError(f"{where}: {metric.name} is not finite, which no scoring writes: score the run again")
    if len({(metric.name, metric.pathology) for metric in results.metrics}) < len(results.metrics):
        raise UserError(f"{where}: a metric stands twice in a row, which no scoring writes: score the run again")


def contains(whole: Results, part: Results) -> bool:
    """Does a record say all that another says? One per pathology does of the same scoring without findings."""
    one, other = (
        {**results.model_dump(exclude={"metrics"}), "score_spec": {**results.score_spec, "per_pathology": None}}
        for results in (whole, part)
    )
    values = {(metric.name, metric.pathology): metric for metric in whole.metrics}
    return one == other and all(values.get((metric.name, metric.pathology)) == metric for metric in part.metrics)


def _verified(
    run: RunFolder | None, results: Results, settings: Settings, unverified: bool, allow_external: bool
) -> bool:
    """Do the samples give these results? False where that cannot be told here and need not be.

    Raises:
        UserError: They give others, or it cannot be told.
    """
    if run is None:
        why = f"its run {results.run} is not in {settings.results}"
    else:
        check = check_values(run, results, settings, allow_external)
        if check.state == "differs":
            raise UserError(f"{run.id} is not what its samples give ({check.text}): score it again")
        if check.state == "ok":
            return True
        why = check.text
    if not unverified:
        raise UserError(f"the results cannot be derived again here ({why}): --unverified publishes them all the same")
    return False


def _run_of(reference: str, results: Results, runs: Path) -> RunFolder | None:
    """The run behind results; None where only their file is there."""
    try:
        return find_run(reference, runs)[0]
    except UserError:
        folder = RunFolder(runs / results.run)
        return folder if folder.path.is_dir() and results.run else None


def _refuse_unfinished(run: RunFolder, results: Results) -> None:
    there, needed = len(run.samples()), results.counts.ok + results.counts.failed
    if there < needed:
        raise UserError(
            f"{run.id} is unfinished, {needed - there} of {needed} predictions are missing: run it again to go on"
        )


def _refuse_restricted(run: RunFolder, results: Results) -> None:
    """Nothing that belongs to one study may leave the folder of a restricted run."""
    text = results.model_dump_json()
    words = set(re.findall(r"[\w.\-]+", text))
    for sample in run.samples().values():
        named = len(sample.id) >= SHORTEST_ID and sample.id in words
        if named or any(
            len(one) >= SHORTEST_TEXT and one in text for one in (sample.report or "", *(sample.unix_csv or ()))
        ):
            raise UserError(f"{run.id} is restricted, and its results name a study or quote a report: score it again")


def _commit(run: RunFolder) -> str | None:
    """Git commit of the code that predicted, where `run.json` says it; `-dirty` where files differed from it."""
    code = run.record().code
    return None if code is None or code.commit is None else code.commit + ("-dirty" if code.dirty else "")


def _as_json(results: Results, published: str, code: str | None, verified: bool) -> bytes:
    """A line a metric, so that a review shows which numbers changed."""
    body = {"schema_version": results.schema_version, **results.model_dump(mode="json", exclude_defaults=True)}
    metrics = ",\n".join(f"   {_line(metric)}" for metric in body["metrics"])
    inner = [f'  "{key}": {_line(value)}' for key, value in body.items() if key != "metrics"]
    outer = {"schema_version": VERSION, "published": published, "code": code, "verified": verified}
    outer["sha256"] = _digest(body)
    head = [f' "{key}": {_line(value)}' for key, value in outer.items()]
    listed = f'  "metrics": [\n{metrics}\n  ]' if metrics else '  "metrics": []'
    results_text = ",\n".join([*inner, listed])
    text = ",\n".join([*head, f' "results": {{\n{results_text}\n }}'])
    return f"{{\n{text}\n}}\n".encode()


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _digest(results: Any) -> str:
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()


def _differences(known: Results, new: Results) -> str:
    """What two records of one name differ in, in a few words."""
    both = ((known.predict_spec, new.predict_spec), (known.score_spec, new.score_spec))
    found = [
        f"{key} {json.dumps(old.get(key))[:40]} there and {json.dumps(now.get(key))[:40]} here"
        for old, now in both
        for key in dict.fromkeys([*old, *now])
        if old.get(key) != now.get(key)
    ]
    return found[0] if found else "other values"


def _safe(text: str) -> str:
    """Letters, digits, dots and dashes of a name, for a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60] or "unnamed"
