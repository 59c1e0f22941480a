"""Joining the shards of a run, which other processes or machines predicted, into the whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unix_bench.data import check_images
from unix_bench.errors import UserError
from unix_bench.execution import ProgressLine, batch_plan
from unix_bench.records import Results, RunFolder, RunRecord, find_shards
from unix_bench.reopen import Reopened, reopened
from unix_bench.score import ScoreOptions, score
from unix_bench.settings import Settings
from unix_bench.spec import Shard


@dataclass(frozen=True)
class Part:
    """A shard that is done."""

    folder: RunFolder
    record: RunRecord
    shard: Shard
    scoring: dict[str, Any]


def gather_parts(folders: Sequence[Path]) -> list[list[Part]]:
    """All shards in some folders or below them, those of one run together and in order.

    Raises:
        UserError: There are none; or of a run one is missing, unfinished or there twice, or they do not fit together.
    """
    runs: dict[str, list[RunFolder]] = {}
    for folder in folders:
        for shard in find_shards(folder):
            runs.setdefault(shard.record().id, []).append(shard)
    return [_complete(run, shards) for run, shards in sorted(runs.items())]


def merge(parts: Sequence[Part], settings: Settings) -> Results:
    """Make one run of all its shards, and score it as they were told.

    Args:
        parts: Of one run, as `gather_parts` gives them.
        settings: Where the run goes, and where the data is.

    Raises:
        UserError: A prediction is damaged, the data is not here or changed, or another process is at work on the run.
    """
    record = parts[0].record
    source = reopened(record, settings)
    pixels = check_images(source.eligible, settings.cache).pixel_digest
    for part in parts:
        _compare_pixels(part, source, settings)
    with RunFolder(settings.results / record.id) as run:
        _join(run, parts, record.model_copy(update={"pixel_digest": pixels}))
        return score(run, scoring_of(parts), settings)


def scoring_of(parts: Sequence[Part]) -> ScoreOptions:
    """How the shards were told to score their run."""
    return ScoreOptions(**{**parts[0].scoring, "require": tuple(parts[0].scoring["require"])})


def _complete(run: str, shards: Sequence[RunFolder]) -> list[Part]:
    """The parts of a run in order, if all are there, once."""
    parts: dict[Shard, Part] = {}
    for folder in shards:
        noted = folder.shard()
        if noted is None:
            raise UserError(f"{folder.path} is unfinished: give its `unix-bench run --shard` command again to go on")
        part = Part(folder, folder.record(), Shard(noted.index, noted.of), noted.scoring)
        before = parts.setdefault(part.shard, part)
        if before.folder.path.resolve() != folder.path.resolve():
            raise UserError(f"{before.folder.path} and {folder.path} are the same shard: give only one of them")
    first = next(iter(parts.values()))
    _agree(run, first, list(parts.values()))
    of = first.shard.of
    missing = [f"{index}/{of}" for index in range(of) if Shard(index, of) not in parts]
    if missing:
        raise UserError(
            f"{run} is not complete: there is no shard {', '.join(missing)} in what was given; give its folder as "
            "well, or run it with --shard"
        )
    return [parts[shard] for shard in sorted(parts, key=lambda shard: shard.index)]


def _agree(run: str, first: Part, parts: Sequence[Part]) -> None:
    for part in parts:
        both = f"{first.folder.path} and {part.folder.path}"
        if part.shard.of != first.shard.of:
            raise UserError(f"{both} are of {first.shard.of} and {part.shard.of} shards: merge those of one division")
        if part.record.predict_spec != first.record.predict_spec:
            raise UserError(f"{both} call themselves {run}, but were made from different specs: see their run.json")
        if part.scoring != first.scoring:
            raise UserError(f"{both} were told to score differently: give their commands again, with the same options")


def _compare_pixels(part: Part, source: Reopened, settings: Settings) -> None:
    """Say so where a shard saw other images than lie here."""
    batches = part.shard.part(batch_plan(source.eligible, int(part.record.predict_spec["batch_size"])))
    studies = [study for batch in batches for study in batch]
    if check_images(studies, settings.cache).pixel_digest != part.record.pixel_digest:
        print(f"WARNING: the images differ from those that {part.folder.path} was made with", file=sys.stderr)


def _join(run: RunFolder, parts: Sequence[Part], record: RunRecord) -> None:
    """Take over what the run does not have yet."""
    known = run.whole_samples()
    with ProgressLine(f"merging {run.id}", len(parts)) as line:
        for part in parts:
            samples = part.folder.samples()
            damaged = next((sample for sample in samples.values() if not part.folder.is_whole(sample)), None)
            if damaged is not None:
                raise UserError(
                    f"{part.folder.path}: image of {damaged.id} is gone or damaged: run that shard again, then merge"
                )
            new = [sample for identity, sample in samples.items() if known.get(identity) != sample]
            if new:
                run.begin(record)
                run.forget_results()
                for sample in new:
                    if sample.image is not None:
                        path = part.folder.path / sample.image
                        run.add_image(path.read_bytes(), path.suffix)
                run.append(new)
            line.advance(1)
