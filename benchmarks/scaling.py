"""What the machinery costs: microseconds a sample for each back-end against inline, and recording against a naive peer.

    python benchmarks/scaling.py [--samples 20000] [--batch-size 8] [--repeats 3] [--json]

The work itself is trivial (an integer doubled), so what is timed is the way of a batch to its worker and back;
start-up, until all workers are ready, stands apart. Recording: reports of 400 letters through `RunFolder.append`, a
batch at a time, against opening the file, appending and fsync for every batch. The median of interleaved repeats is
what to quote; the machine's load beforehand stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from unix_bench.execution import Crew, Executor, Scheduler, WorkerState, batch_plan, gather
from unix_bench.execution.stopping import Stop
from unix_bench.records import RunFolder, Sample

CREWS: tuple[tuple[Executor, int], ...] = (("inline", 1), ("process", 1), ("process", 2), ("ray", 1), ("ray", 2))
LETTERS = 400


def double(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def make() -> Callable[[Sequence[int]], list[int]]:
    return double


def seconds_with(crew: Crew, count: int, size: int) -> tuple[float, float]:
    """Start-up until every worker is ready, and the time of all batches."""
    states: list[WorkerState] = []
    outcomes: list[Any] = []

    def watch(now: Sequence[WorkerState]) -> None:
        states[:] = now

    start = time.perf_counter()
    with Scheduler(gather(crew, lambda device: make, count), watch=watch) as scheduler:
        warm: list[list[int]] = [[0]] * len(crew.devices)
        scheduler.run(warm, lambda found: None, True, Stop())
        while not states or any(state.doing == "loading" for state in states):
            scheduler.run([[0]], lambda found: None, True, Stop())
        ready = time.perf_counter()
        scheduler.run(batch_plan(range(count), size), outcomes.extend, True, Stop())
        end = time.perf_counter()
    assert len(outcomes) == count
    return ready - start, end - ready


def compare_crews(count: int, size: int, repeats: int) -> list[dict[str, Any]]:
    """Each back-end against inline, in turn within each repeat."""
    crews = [Crew(executor, ("cpu",) * workers) for executor, workers in CREWS]
    times = [[seconds_with(crew, count, size) for crew in crews] for _ in range(repeats)]
    rows = []
    for column, (executor, workers) in enumerate(CREWS):
        rows.append(
            {
                "executor": executor,
                "workers": workers,
                "start_s": round(statistics.median(row[column][0] for row in times), 2),
                "us_a_sample": round(statistics.median(row[column][1] for row in times) / count * 1e6, 1),
                "over_inline": round(statistics.median(row[column][1] / row[0][1] for row in times), 1),
            }
        )
    return rows


def record_ours(folder: Path, batches: Sequence[Sequence[Sample]]) -> None:
    with RunFolder(folder) as run:
        for batch in batches:
            run.append(batch)


def record_naively(folder: Path, batches: Sequence[Sequence[Sample]]) -> None:
    folder.mkdir()
    for batch in batches:
        with (folder / "samples.jsonl").open("a", encoding="utf-8") as stream:
            for sample in batch:
                stream.write(json.dumps({"id": sample.id, "report": sample.report}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def compare_recording(count: int, size: int, repeats: int, place: Path) -> dict[str, Any]:
    """Seconds for all samples; both sides write to the same disk, each first every other time."""
    words = "The heart is normal in size. "
    report = (words * (LETTERS // len(words) + 1))[:LETTERS]
    batches = batch_plan([Sample(id=f"s{index:08}", report=report) for index in range(count)], size)
    times: list[dict[str, float]] = []
    for repeat in range(repeats):
        sides = {"ours": record_ours, "naive": record_naively}
        taken: dict[str, float] = {}
        for name in sorted(sides, reverse=repeat % 2 == 0):
            start = time.perf_counter()
            sides[name](place / f"{name}-{repeat}", batches)
            taken[name] = time.perf_counter() - start
        times.append(taken)
    return {
        "samples": count,
        "ours_s": round(statistics.median(t["ours"] for t in times), 3),
        "naive_s": round(statistics.median(t["naive"] for t in times), 3),
        "naive_over_ours": round(statistics.median(t["naive"] / t["ours"] for t in times), 2),
        "ours_us_a_sample": round(statistics.median(t["ours"] for t in times) / count * 1e6, 1),
    }


def show(results: dict[str, Any]) -> None:
    load, cores, size = results["load"], results["processors"], results["batch_size"]
    print(f"{results['samples']} samples in batches of {size}; {cores} processors, load {load} beforehand\n")
    print(f"{'executor':<10}{'workers':>8}{'start s':>9}{'us/sample':>11}{'x inline':>10}")
    for row in results["crews"]:
        print("{executor:<10}{workers:>8}{start_s:>9}{us_a_sample:>11}{over_inline:>10}".format(**row))
    print(
        "\nrecording: {ours_s} s, naively {naive_s} s: {naive_over_ours} times as long".format(**results["recording"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--place", type=Path, default=Path(), help="folder on the disk to record to; default: here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = {
        "samples": options.samples,
        "batch_size": options.batch_size,
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    with TemporaryDirectory(dir=options.place) as folder:
        results["recording"] = compare_recording(options.samples, options.batch_size, options.repeats, Path(folder))
    results["crews"] = compare_crews(options.samples, options.batch_size, options.repeats)
    print(json.dumps(results)) if options.json else show(results)


if __name__ == "__main__":
    main()
