"""Predictions somebody else made, from their file into the folder of a run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from unix_bench import registry
from unix_bench.data import Study, open_data
from unix_bench.errors import UserError
from unix_bench.execution import ProgressLine
from unix_bench.plan import eligible_studies, look_at_images, new_record
from unix_bench.prediction_files import REFERENCE, Line, read_predictions
from unix_bench.records import RunFolder, Sample
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
) -> RunFolder:
    """Make a run of a predictions file; an eligible study without a line in it is a failed sample.

    The run is held until the caller releases it.

    Args:
        file: As `read_predictions` takes it; images relative to it.
        task_name: What was predicted.
        data_name: For which studies; name or path.
        limit: The first so many eligible ones; None: all.
        skip_bad_images: A damaged image of the data is a failed sample, not the end.
        settings: Where the run goes.

    Raises:
        UserError: A line is malformed, names an unknown study or one twice; names the line.
    """
    task = registry.task(task_name)
    adapter = adapter_for(task)
    if adapter.takes_no_predictions:
        raise UserError(adapter.takes_no_predictions)
    data = open_data(data_name, task.sets, settings)
    eligible = eligible_studies(data, adapter, None, limit)
    lines = read_predictions(file, data)
    _compare_references(file, lines, eligible)
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
    recorded = _recorded(data.studies, eligible, lines, limit)
    for study in recorded:
        _check(adapter, study, lines, file)
    bad_images, pixel_digest = {}, ""
    if adapter.reads_reference_images:
        check = look_at_images(eligible, settings, skip_bad_images)
        bad_images, pixel_digest = check.unreadable, check.pixel_digest
    run = RunFolder(settings.results / spec.run_id)
    run.begin(new_record(spec, data, pixel_digest, demo=False))
    if run.record().pixel_digest != pixel_digest:
        print(
            f"WARNING: the images differ from those that {run.id} began with, in {run.record().data_path}, "
            "which are the ones that count",
            file=sys.stderr,
        )
    done = run.samples()
    left = [study for study in recorded if study.id not in done]
    with ProgressLine("reading predictions", len(left)) as progress:
        samples = []
        for study in left:
            reason = bad_images.get(study.id)
            samples.append(Sample(id=study.id, error=reason) if reason else _sample(adapter, run, study, lines, file))
            progress.advance(1, failed=samples[-1].error is not None)
    run.append(samples)
    return run


def _recorded(
    studies: Sequence[Study], eligible: Sequence[Study], lines: Mapping[str, Line], limit: int | None
) -> list[Study]:
    """The studies that get a sample: the eligible ones; of UniX's CSV every row, in its order, comes first."""
    if limit is None:
        by_id = {study.id: study for study in studies}
        rows = [by_id[identity] for identity, line in lines.items() if "unix_csv" in line]
    else:
        by_id = {study.id: study for study in eligible}
        rows = [by_id[identity] for identity, line in lines.items() if "unix_csv" in line and identity in by_id]
    first = {study.id for study in rows}
    return [*rows, *(study for study in eligible if study.id not in first)]


def _compare_references(file: Path, lines: Mapping[str, Line], eligible: Sequence[Study]) -> None:
    """Say so where UniX's CSV was made with other references than the data has."""
    stated = {identity: line["ground_truth"] for identity, line in lines.items() if "ground_truth" in line}
    other = [s.id for s in eligible if s.id in stated and stated[s.id].strip() != (s.reference.report or "").strip()]
    if other:
        print(
            f"WARNING: {file}: '{REFERENCE}' of {len(other)} of {len(stated)} rows is not the data's reference "
            f"({other[0]}, ...): protocol unix scores against the file's, sound against the data's",
            file=sys.stderr,
        )


def _sample(adapter: TaskAdapter, run: RunFolder, study: Study, lines: Mapping[str, Line], file: Path) -> Sample:
    line = lines.get(study.id)
    if line is None:
        return Sample(id=study.id, error=f"no prediction in {file.name}")
    if line.get("error") is not None:
        return Sample(id=study.id, error=str(line["error"]), unix_csv=line.get("unix_csv"))
    return adapter.import_prediction(run, line, file.parent)


def _check(adapter: TaskAdapter, study: Study, lines: Mapping[str, Line], file: Path) -> None:
    line = lines.get(study.id)
    if line is None or line.get("error") is not None:
        return
    try:
        adapter.check_prediction(line, file.parent)
    except ValueError as error:
        raise UserError(f"{file}, prediction of '{study.id}': {error}") from error


def _digest(file: Path, lines: Mapping[str, Line]) -> str:
    """sha256 over the file and the images it points to."""
    total = hashlib.sha256(file.read_bytes())
    for line in lines.values():
        path = file.parent / str(line.get("image") or "")
        if path.is_file():
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
