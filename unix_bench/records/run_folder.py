"""The folder of a run.

run.json                     the spec and its origin
samples-*.jsonl              a line a prediction, appended a batch at a time; the last one of an id counts
images/<sha256>.png          drawn images, named by content
lease.json                   who is at work on it, and how far; there only meanwhile
phases.jsonl                 where time and memory went, appended by every process that works on the run
shards/<i>-of-<n>/            parts of a run that other processes or machines did, each a folder like this; `shard.json`
                             says that it is done
scores/<protocol>-<digest>/  results.json, samples.parquet, figures/
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from unix_bench.errors import UserError
from unix_bench.records.atomic import write_atomic, writing_to
from unix_bench.records.lease import Lease
from unix_bench.records.migrate import NewerRecord, migrated
from unix_bench.records.schema import Results, RunRecord, Sample, ShardRecord

RUN_FILE = "run.json"
RESULTS_FILE = "results.json"
SCORES = "scores"
SHARDS = "shards"
SHARD_FILE = "shard.json"
FIGURES = "figures"
SAMPLES_FILE = "samples-0.jsonl"  # one process at a time writes a run; files of others are read as well
SYNC_S = 0.5  # lines are written at once, but seen onto the disk at most so often; a power cut has the rest done again

AnyRecord = TypeVar("AnyRecord", bound=BaseModel)

REMEDIES: dict[type[BaseModel], str] = {
    Results: ": delete that folder and score again",
    RunRecord: ": delete that file, and the command that made the run makes it again",
}


class RunFolder:
    """Reads and writes one run; `with RunFolder(path) as run: ...` lets go of it at the end.

    Whatever writes takes the run's lease first and keeps it until then, so that no other process writes meanwhile.

    Attributes:
        lease: Who is at work on the run; tells others how far it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lease = Lease(path)
        self._synced = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def hold(self) -> None:
        """Keep other processes from working on this run, until `release`.

        Raises:
            UserError: One is at work on it, or took it over from this one; or the folder cannot be written to.
        """
        self.lease.take()

    def release(self) -> None:
        """Let others work on the run."""
        if self._synced:
            with suppress(OSError, UserError):  # it has been written; the disk will have it sooner or later
                self._sync()
        self.lease.release()

    def begin(self, record: RunRecord) -> None:
        """Write the record of a run, where it has none yet.

        Raises:
            UserError: The results folder cannot be written to, or another process is at work on the run.
        """
        if not self.is_begun:
            self.hold()
            write_atomic(self.path / RUN_FILE, _as_json(record))

    @property
    def is_begun(self) -> bool:
        """Has it a record?"""
        return (self.path / RUN_FILE).is_file()

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

    def append(self, samples: Iterable[Sample]) -> None:
        """Add lines; all of them or none.

        Raises:
            UserError: The disk is full, or another process is at work on the run.
        """
        self.hold()
        lines = b"".join(map(_one_line, samples))
        with writing_to(self.path), (self.path / SAMPLES_FILE).open("a+b") as stream:
            whole = _end_of_last_line(stream)
            try:
                stream.truncate(whole)
                stream.write(lines)
                stream.flush()
            except OSError:
                stream.truncate(whole)
                raise
            if time.monotonic() - self._synced > SYNC_S:
                os.fsync(stream.fileno())
                self._synced = time.monotonic()

    def _sync(self) -> None:
        with (self.path / SAMPLES_FILE).open("rb") as stream:
            os.fsync(stream.fileno())

    def whole_samples(self) -> dict[str, Sample]:
        """Predictions by id, but for those whose image is gone or damaged."""
        return {identity: sample for identity, sample in self.samples().items() if self.is_whole(sample)}

    def is_whole(self, sample: Sample) -> bool:
        """Is the image that a sample points to there, as it was stored?"""
        if sample.image is None:
            return True
        path = self.path / sample.image
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        except OSError:
            return False

    def add_image(self, content: bytes, suffix: str) -> str:
        """Store an image file as it is under the digest of its bytes; returns its path below the folder."""
        relative = f"images/{hashlib.sha256(content).hexdigest()}{suffix}"
        if not self.is_whole(Sample(id="", image=relative)):
            write_atomic(self.path / relative, content)
        return relative

    def finish_shard(self, record: ShardRecord) -> None:
        """Mark a shard as done."""
        if self.shard() != record:
            self.hold()
            write_atomic(self.path / SHARD_FILE, _as_json(record))

    def shard(self) -> ShardRecord | None:
        """What a shard says of itself once it is done; None: it is not, or this is no shard."""
        path = self.path / SHARD_FILE
        return read_record(path, ShardRecord) if path.is_file() else None

    def shards(self) -> list[RunFolder]:
        """The shards of this run that were begun."""
        return [RunFolder(path.parent) for path in sorted(self.path.glob(f"{SHARDS}/*/{RUN_FILE}"))]

    def write_results(
        self, folder: str, results: Results, per_sample: bytes, figures: Iterable[tuple[str, bytes]] = ()
    ) -> Path:
        """Store a scoring: `results.json` last, so that it marks the others as whole."""
        self.hold()
        place = self.path / SCORES / folder
        write_atomic(place / "samples.parquet", per_sample)
        for name, content in figures:
            write_atomic(place / FIGURES / name, content)
        write_atomic(place / RESULTS_FILE, _as_json(results))
        return place / RESULTS_FILE

    def forget_results(self) -> None:
        """Remove every scoring: the predictions they rest on change."""
        self.hold()
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
    stream.seek(max(0, end - 1))
    if stream.read(1) in (b"", b"\n"):
        return end
    stream.seek(0)
    return stream.read().rfind(b"\n") + 1


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
    remedy = REMEDIES.get(kind, "")
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
