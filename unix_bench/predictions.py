"""Predictions somebody else made, from a JSON Lines file into the folder of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unix_bench import registry
from unix_bench.data import Study, open_data
from unix_bench.errors import UserError
from unix_bench.execution import ProgressLine
from unix_bench.plan import eligible_studies, look_at_images, new_record
from unix_bench.records import WRITER, RunFolder, Sample
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec
from unix_bench.tasks import TaskAdapter, adapter_for


def import_predictions(
    file: Path,
    task_name: str,
    data_name: str,
    limit: int | None,
    skip_bad_images: bool,
    settings: Settings,
    quiet: bool,
) -> RunFolder:
    """Make a run of a predictions file; an eligible study without a line in it is a failed sample.

    Args:
        file: One `{"id", "report"}` or `{"id", "image": path relative to the file}` a line, optionally `"error"`.
        task_name: What was predicted.
        data_name: For which studies; name or path.
        limit: The first so many eligible ones; None: all.
        skip_bad_images: A damaged image of the data is a failed sample, not the end.
        settings: Where the run goes.
        quiet: No progress.

    Raises:
        UserError: A line is malformed, names an unknown study or one twice; names the line.
    """
    task = registry.task(task_name)
    adapter = adapter_for(task)
    data = open_data(data_name, task.sets, settings)
    eligible = eligible_studies(data, adapter, None, limit)
    known = {study.id for study in data.studies}
    lines = dict(_lines(file, known))
    spec = PredictSpec(
        model=f"recorded-{file.stem}",
        weights=_digest(file, lines),
        task=task.name,
        task_version=task.version,
        data=data.name,
        data_digest=data.content_digest,
        instruction=task.instruction,
        settings={},
        seed=0,
        subset=None,
        limit=limit,
        batch_size=1,
        dtype="not known",
        device="not known",
        deterministic=False,
    )
    for study in eligible:
        _check(adapter, study, lines, file)
    bad_images, pixel_digest = {}, ""
    if adapter.reads_reference_images:
        check = look_at_images(eligible, settings, skip_bad_images, quiet)
        bad_images, pixel_digest = check.unreadable, check.pixel_digest
    run = RunFolder.create(settings.results, new_record(spec, data, pixel_digest, demo=False))
    done = run.samples()
    left = [study for study in eligible if study.id not in done]
    with ProgressLine("reading predictions", len(left), quiet) as progress:
        samples = []
        for study in left:
            reason = bad_images.get(study.id)
            samples.append(Sample(id=study.id, error=reason) if reason else _sample(adapter, run, study, lines, file))
            progress.advance(1, failed=samples[-1].error is not None)
    run.append(WRITER, samples)
    return run


def _sample(adapter: TaskAdapter, run: RunFolder, study: Study, lines: dict[str, dict[str, Any]], file: Path) -> Sample:
    line = lines.get(study.id)
    if line is None:
        return Sample(id=study.id, error=f"no prediction in {file.name}")
    if line.get("error") is not None:
        return Sample(id=study.id, error=str(line["error"]))
    return adapter.import_prediction(run, line, file.parent)


def _check(adapter: TaskAdapter, study: Study, lines: dict[str, dict[str, Any]], file: Path) -> None:
    line = lines.get(study.id)
    if line is None or line.get("error") is not None:
        return
    try:
        adapter.check_prediction(line, file.parent)
    except ValueError as error:
        raise UserError(f"{file}, prediction of '{study.id}': {error}") from error


def _lines(file: Path, known: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: dict[str, int] = {}
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"predictions file {file} cannot be read: {error.strerror}") from error
    for number, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{file}, line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where} is not JSON ({error}): write one object a line") from error
        if not isinstance(line, dict) or not isinstance(line.get("id"), str):
            example = '{"id": "...", "report": "..."} or {"id": "...", "image": "..."}'
            raise UserError(f'{where} has no text under "id": write {example}')
        identity = line["id"]
        if identity in seen:
            raise UserError(f"{where}: id '{identity}' already stands in line {seen[identity]}: keep one of them")
        if identity not in known:
            raise UserError(f"{where}: the data has no study '{identity}': check that the predictions are of this set")
        seen[identity] = number
        yield identity, line


def _digest(file: Path, lines: dict[str, dict[str, Any]]) -> str:
    """sha256 over the file and the images it points to."""
    total = hashlib.sha256(file.read_bytes())
    for line in lines.values():
        path = file.parent / str(line.get("image") or "")
        if path.is_file():
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
