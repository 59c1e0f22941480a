"""Which run, and which scoring of it, a reference of the command line means."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from unix_bench.errors import UserError
from unix_bench.records.lease import LEASE_FILE
from unix_bench.records.run_folder import RESULTS_FILE, RUN_FILE, SHARDS, RunFolder, read_record
from unix_bench.records.schema import Results
from unix_bench.settings import expand

CHOSEN_POLICIES = ("fail", "score-zero")  # for failed predictions, that no protocol has unless a user says so


def all_runs(results: Path) -> Iterator[RunFolder]:
    """Every run below a results folder."""
    for path in sorted(results.glob(f"*/{RUN_FILE}")):
        yield RunFolder(path.parent)


def find_shards(folder: Path) -> list[RunFolder]:
    """Every shard of a run in a folder, which may be one itself or hold them however deep.

    Raises:
        UserError: It holds none.
    """
    folder = expand(folder)
    if folder.parent.name == SHARDS and (folder / RUN_FILE).is_file():
        return [RunFolder(folder)]
    found = [RunFolder(path.parent) for path in sorted(folder.glob(f"**/{SHARDS}/*/{RUN_FILE}"))]
    if not found:
        raise UserError(f"{folder} holds no shard of a run: give what `unix-bench run --shard I/N` wrote")
    return found


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


def find_begun(reference: str, results: Path) -> RunFolder | None:
    """The run that RUN names, one among them that is only being begun or exists in shards; None: there is none.

    Raises:
        UserError: Several runs fit.
    """
    path = expand(Path(reference))
    if path.is_dir() and _is_begun(path):
        return RunFolder(path)
    prefix = reference.partition(":")[0]
    begun = {path.name: RunFolder(path) for path in sorted(results.glob("*")) if _is_begun(path)}
    return begun.get(_fitting_name(prefix, begun) or "")


def _is_begun(path: Path) -> bool:
    return any((path / name).exists() for name in (RUN_FILE, LEASE_FILE, SHARDS))


def _fitting_name(prefix: str, names: Collection[str]) -> str | None:
    """The name that a prefix means.

    Raises:
        UserError: Several fit.
    """
    fitting = [prefix] if prefix in names else [name for name in names if name.startswith(prefix)]
    if len(fitting) > 1:
        raise UserError(f"'{prefix}' fits {len(fitting)} runs: {', '.join(fitting)}")
    return fitting[0] if fitting else None


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
    name = _fitting_name(prefix, runs)
    if name is None:
        raise UserError(f"no run '{prefix}' in {results}: `unix-bench list runs` shows those that are there")
    return runs[name], protocol or None
