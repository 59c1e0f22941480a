"""The folder of a run.

run.json                     the spec and its origin
samples-<writer>.jsonl       a line a prediction, appended a batch at a time; the last one of an id counts
images/<sha256>.png          drawn images, named by content
phases.jsonl                 where time and memory went, appended by every process that works on the run
scores/<protocol>-<digest>/  results.json, samples.parquet, figures/
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from PIL import Image
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from unix_bench.errors import UserError
from unix_bench.records.atomic import write_atomic, writing_to
from unix_bench.records.migrate import NewerRecord, migrated
from unix_bench.records.schema import Results, RunRecord, Sample
from unix_bench.settings import expand

RUN_FILE = "run.json"
RESULTS_FILE = "results.json"
SCORES = "scores"
FIGURES = "figures"
CHOSEN_POLICIES = ("fail", "score-zero")  # for failed predictions, that no protocol has unless a user says so
WRITER = "0"  # names the samples file of a run that one process writes

AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


class RunFolder:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, results: Path, record: RunRecord) -> RunFolder:
        """Make the folder of a run, or open it where it exists.

        Raises:
            UserError: The results folder cannot be written to.
        """
        folder = cls(results / record.id)
        if not (folder.path / RUN_FILE).is_file():
            try:
                write_atomic(folder.path / RUN_FILE, _as_json(record))
            except UserError:
                with suppress(OSError):
                    folder.path.rmdir()
                raise
        return folder

    @property
    def id(self) -> str:
        return self.path.name

    def record(self) -> RunRecord:
        """Raises `UserError` where `run.json` is missing or damaged."""
        return read_record(self.path / RUN_FILE, RunRecord)

    def samples(self) -> dict[str, Sample]:
        """Predictions by id; the last line of an id counts, a last line cut off by a crash does not.

        Raises:
            UserError: A line in the middle is damaged.
        """
        found: dict[str, Sample] = {}
        for path in sorted(self.path.glob("samples-*.jsonl")):
            for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    sample = Sample.model_validate_json(line)
                except ValidationError as error:
                    raise UserError(f"{path}, line {number} is damaged: delete the file to predict again") from error
                found[sample.id] = sample
        return found

    def append(self, writer: str, samples: Iterable[Sample]) -> None:
        """Add lines to one writer's file and see them onto the disk; all of them or none.

        Raises:
            UserError: The disk is full.
        """
        path = self.path / f"samples-{writer}.jsonl"
        lines = b"".join(_one_line(sample) for sample in samples)
        with writing_to(self.path), path.open("a+b") as stream:
            whole = _end_of_last_line(stream)
            stream.truncate(whole)
            try:
                stream.write(lines)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(whole)
                raise

    def add_image(self, image: Image.Image) -> str:
        """Store an image under the digest of its PNG; returns its path below the folder."""
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        return self.add_image_bytes(buffer.getvalue(), ".png")

    def add_image_bytes(self, content: bytes, suffix: str) -> str:
        """Store an image file as it is under the digest of its bytes; returns its path below the folder."""
        relative = f"images/{hashlib.sha256(content).hexdigest()}{suffix}"
        if not (self.path / relative).is_file():
            write_atomic(self.path / relative, content)
        return relative

    def write_results(
        self, folder: str, results: Results, per_sample: bytes, figures: Iterable[tuple[str, bytes]] = ()
    ) -> Path:
        """Store a scoring: `results.json` last, so that it marks the others as whole."""
        place = self.path / SCORES / folder
        write_atomic(place / "samples.parquet", per_sample)
        for name, content in figures:
            write_atomic(place / FIGURES / name, content)
        write_atomic(place / RESULTS_FILE, _as_json(results))
        return place / RESULTS_FILE

    def forget_results(self) -> None:
        """Remove every scoring: the predictions they rest on change."""
        for path in self.score_files():
            path.unlink()

    def results(self, folder: str) -> Results | None:
        """A scoring of this run, or None where there is none yet."""
        path = self.path / SCORES / folder / RESULTS_FILE
        return read_record(path, Results) if path.is_file() else None

    def score_files(self) -> list[Path]:
        """All `results.json` of the run, newest first."""
        found = self.path.glob(f"{SCORES}/*/{RESULTS_FILE}")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _end_of_last_line(stream: io.BufferedRandom) -> int:
    """Where the next line belongs: the file's end, or before a line that a crash cut off."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return stream.read().rfind(b"\n") + 1 if end else 0


def _as_json(record: BaseModel) -> bytes:
    """Indented; what is no Unicode (a lone surrogate) becomes a question mark."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")


def _one_line(sample: Sample) -> bytes:
    text = json.dumps(sample.model_dump(exclude_none=True), ensure_ascii=False)
    return (text + "\n").encode("utf-8", "replace")


def read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    """Read a record file; one of an earlier version becomes one of this, and the file stays as it is.

    Raises:
        NewerRecord: A later unix-bench wrote it.
        UserError: It is absent, or is not a whole record of this kind.
    """
    remedy = ": delete that folder and score again" if issubclass(kind, Results) else ""
    try:
        return kind.model_validate(migrated(from_json(path.read_bytes(), allow_inf_nan=False), kind))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except NewerRecord as error:
        raise NewerRecord(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path} is damaged or of another version ({where}: {first['msg']}){remedy}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged or of another version ({error}){remedy}") from error


def all_runs(results: Path) -> Iterator[RunFolder]:
    """Every run below a results folder."""
    for path in sorted(results.glob(f"*/{RUN_FILE}")):
        yield RunFolder(path.parent)


def find_results(reference: str, results: Path) -> Results:
    """The results that RUN names: those in the named folder, else the newest of the run (under `id:protocol`'s).

    Raises:
        UserError: None fit, or those that might cannot be read.
    """
    return read_record(find_scoring(reference, results), Results)


def find_scoring(reference: str, results: Path) -> Path:
    """The `results.json` that RUN names, as `find_results` reads it; one that cannot be read is passed over.

    Raises:
        UserError: None fit, or those that might cannot be read.
    """
    named = _named_file(reference)
    return named or _fitting(*find_run(reference, results))[0][0]


def find_standing(reference: str, results: Path, prefer: Sequence[str] = ()) -> Path:
    """The `results.json` that stands for RUN, the same whatever the times of the files: see `in_standing_order`.

    Args:
        reference: RUN, or ID:PROTOCOL.
        results: Folder of the runs.
        prefer: Protocols that go before others where RUN names none.

    Raises:
        UserError: None fit, or those that might cannot be read.
    """
    named = _named_file(reference)
    if named is not None:
        return named
    ordered = in_standing_order(_fitting(*find_run(reference, results)))
    return min(ordered, key=lambda one: (one[1].score_spec["protocol"] not in prefer, one[1].score_spec["protocol"]))[0]


def in_standing_order(scorings: Iterable[tuple[Path, Results]]) -> list[tuple[Path, Results]]:
    """Scorings of a run, before others the one that stands for its protocol.

    First those with the default policies for failed predictions and uncertain labels, then those per pathology, then
    those with more values, then by the folder's name.
    """

    def place(one: tuple[Path, Results]) -> tuple[bool, bool, int, str]:
        path, found = one
        spec = found.score_spec
        chosen = spec.get("on_error") in CHOSEN_POLICIES or spec.get("uncertain") != "negative"
        values = sum(metric.value is not None for metric in found.metrics)
        return chosen, not spec.get("per_pathology"), -values, path.parent.name

    return sorted(scorings, key=place)


def _named_file(reference: str) -> Path | None:
    """The `results.json` whose path, or whose folder's, a reference is."""
    path = expand(Path(reference))
    return next((file for file in (path, path / RESULTS_FILE) if file.name == RESULTS_FILE and file.is_file()), None)


def _fitting(run: RunFolder, protocol: str | None) -> list[tuple[Path, Results]]:
    """A run's scorings under a protocol, None for any, newest first; warns of those that cannot be read.

    Raises:
        UserError: There is none, or none that can be read.
    """
    found: list[tuple[Path, Results]] = []
    unread: list[UserError] = []
    for file in run.score_files():
        try:
            results = read_record(file, Results)
        except UserError as error:
            unread.append(error)
            continue
        if protocol in (None, results.score_spec.get("protocol")):
            found.append((file, results))
    if not found and unread:
        raise unread[0]
    if not found:
        under = f" under {protocol}" if protocol else ""
        raise UserError(f"{run.id} has no results{under}: `unix-bench score` makes them")
    for why in unread:
        print(f"WARNING: left out: {why}", file=sys.stderr)
    return found


def find_run(reference: str, results: Path) -> tuple[RunFolder, str | None]:
    """The run that RUN names, and the protocol where it says `id:protocol`.

    Args:
        reference: Id, unique prefix of one, `id:protocol`, or the path of a run's folder or of one below it.
        results: Folder of the runs.

    Raises:
        UserError: None or several runs fit.
    """
    path = expand(Path(reference))
    for place in (path, *path.parents):
        if path.exists() and (place / RUN_FILE).is_file():
            return RunFolder(place), None
    prefix, _, protocol = reference.partition(":")
    runs = {run.id: run for run in all_runs(results)}
    fitting = [prefix] if prefix in runs else [name for name in runs if name.startswith(prefix)]
    if len(fitting) > 1:
        raise UserError(f"'{prefix}' fits {len(fitting)} runs: {', '.join(fitting)}")
    if not fitting:
        raise UserError(f"no run '{prefix}' in {results}: `unix-bench list runs` shows those that are there")
    return runs[fitting[0]], protocol or None
