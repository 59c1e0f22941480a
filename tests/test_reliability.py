"""Runs to which something happens end as an undisturbed one does, byte for byte; docs/reliability.md lists them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killed
import pytest
from bench import bench, refused

from unix_bench import registry
from unix_bench.data import open_data
from unix_bench.settings import load_settings

RUN = ("run", "--model", "unix", "--task", "generation", "--limit", "6", "--batch-size", "2", "--set",
       "num_timesteps=20", "--deterministic", "--quiet")  # fmt: skip
KILLS = 20


def result(results: Path) -> bytes:
    """The one `results.json` below a folder."""
    (path,) = results.glob("*/scores/*/results.json")
    return path.read_bytes()


def run_folder(results: Path) -> Path:
    (path,) = results.iterdir()
    return path


def places(cache: Path) -> dict[str, str]:
    """What `conftest` sets for each test, for a fixture that stands before them."""
    return {"UNIX_BENCH_CACHE": str(cache), "MPLCONFIGDIR": str(cache / "matplotlib")}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    code, said = killed.run([*RUN, "--results", "runs"], folder, places(shared_cache))
    assert code == 0, said
    return result(folder / "runs")


def finish(folder: Path, results: str = "runs") -> bytes:
    code, said = killed.run([*RUN, "--results", results], folder)
    assert code == 0, said
    return result(folder / results)


def test_killed_at_any_instant_it_goes_on_to_the_same_result(undisturbed: bytes, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    moments = random.Random(seed)
    before = time.monotonic()
    finish(tmp_path, "timed")
    whole = time.monotonic() - before
    kills = 0
    while kills < KILLS:
        process = killed.start([*RUN, "--results", f"runs-{kills // 5}"], tmp_path)
        process.join(moments.uniform(0, whole))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            kills += 1
        process.join()
    for number in range(KILLS // 5):
        assert finish(tmp_path, f"runs-{number}") == undisturbed, f"seed {seed}, folder {number}"
        # A kill within a write leaves a `*.partial`, as `records.atomic` says.
        left = {path.name for path in run_folder(tmp_path / f"runs-{number}").iterdir() if path.suffix != ".partial"}
        assert left == {"run.json", "samples-0.jsonl", "images", "phases.jsonl", "scores"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_finishes_the_batch_and_says_how_to_go_on(
    number: signal.Signals, undisturbed: bytes, tmp_path: Path
) -> None:
    process = killed.start([*RUN[:-1], "--set", "num_timesteps=200", "--results", "runs"], tmp_path)
    while not list(tmp_path.glob("runs/*/samples-0.jsonl")):
        assert process.is_alive()
        time.sleep(0.02)
    os.kill(process.pid or 0, number)
    process.join(300)
    assert process.exitcode == 130
    said = killed.said(tmp_path)
    assert "stopping when the batches at work are done" in said
    assert said.strip().endswith("interrupted; the same command goes on from here")
    assert "Traceback" not in said
    samples = (run_folder(tmp_path / "runs") / "samples-0.jsonl").read_text().splitlines()
    assert len(samples) in (2, 4), "whole batches"
    assert not (run_folder(tmp_path / "runs") / "lease.json").exists()


def test_a_second_process_says_so_and_stops(undisturbed: bytes, tmp_path: Path) -> None:
    first = killed.start([*RUN, "--set", "num_timesteps=400", "--results", "runs"], tmp_path)
    while not list(tmp_path.glob("runs/*/lease.json")):
        assert first.is_alive()
        time.sleep(0.02)
    second = bench(*RUN, "--set", "num_timesteps=400", "--results", "runs")
    refused(second, "is being worked on by process", str(first.pid), "unix-bench show")
    os.kill(first.pid or 0, signal.SIGSTOP)  # a process that does nothing is still one
    refused(bench(*RUN, "--set", "num_timesteps=400", "--results", "runs"), "is being worked on by process")
    status = json.loads(bench("show", "unix-demo", "--results", "runs", "--json").stdout)
    assert (status["state"], status["pid"]) == ("at work", first.pid)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    assert json.loads(bench("show", "unix-demo", "--results", "runs", "--json").stdout)["state"] == "died"


def test_a_finished_run_is_printed_again_and_not_touched(undisturbed: bytes, tmp_path: Path) -> None:
    assert finish(tmp_path) == undisturbed
    first = killed.said(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    assert finish(tmp_path) == undisturbed
    assert killed.said(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before


def test_a_finished_run_keeps_no_lease_of_a_dead_process(undisturbed: bytes, tmp_path: Path) -> None:
    """Killed in the instant after the results were there."""
    code = "from pathlib import Path; from unix_bench.records.lease import Lease; import os, sys\n"
    code += "Lease(Path(sys.argv[1])).take(); os.kill(os.getpid(), 9)"
    assert finish(tmp_path) == undisturbed
    run = run_folder(tmp_path / "runs")
    subprocess.run([sys.executable, "-c", code, str(run)])
    assert (run / "lease.json").is_file()
    assert finish(tmp_path) == undisturbed
    assert not (run / "lease.json").exists()


def cut_last_line(run: Path) -> None:
    """As a power cut leaves it."""
    file = run / "samples-0.jsonl"
    file.write_bytes(file.read_bytes()[:-7])


def lose_lines(run: Path) -> None:
    file = run / "samples-0.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])


def empty_images(run: Path) -> None:
    for image in (run / "images").iterdir():
        image.write_bytes(b"")


def empty_lease(run: Path) -> None:
    (run / "lease.json").write_bytes(b"")
    os.utime(run / "lease.json", (0, 0))


@pytest.mark.parametrize("damage", [cut_last_line, lose_lines, empty_images, empty_lease])
def test_damaged_files_are_made_again(
    damage: Callable[[Path], None], undisturbed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unix_bench.records.lease.WATCH_S", 0.1)
    assert finish(tmp_path) == undisturbed
    damage(run_folder(tmp_path / "runs"))
    again = bench(*RUN, "--results", tmp_path / "runs")
    assert again.exit_code == 0, again.output
    assert result(tmp_path / "runs") == undisturbed


def test_files_that_are_truncated_under_a_run_are_made_again(undisturbed: bytes, tmp_path: Path) -> None:
    process = killed.start([*RUN, "--results", "runs"], tmp_path)
    cut = False
    while process.is_alive():
        for file in tmp_path.glob("runs/*/samples-0.jsonl"):
            if not cut and file.stat().st_size:
                os.truncate(file, 40)
                cut = True
        time.sleep(0.005)
    process.join()
    assert cut
    assert process.exitcode == 0, killed.said(tmp_path)
    assert result(tmp_path / "runs") == undisturbed


def test_a_worker_that_is_killed_costs_nothing(undisturbed: bytes, tmp_path: Path) -> None:
    words = [*RUN, "--results", "runs", "--executor", "process"]
    process = killed.start(words, tmp_path)
    kills = 0
    while process.is_alive():
        if list(tmp_path.glob("runs/*/run.json")) and kills < 2:
            for child in children(process.pid or 0):
                os.kill(child, signal.SIGKILL)
                kills += 1
                time.sleep(1.0)
        time.sleep(0.02)
    process.join()
    said = killed.said(tmp_path)
    assert process.exitcode == 0, said
    assert kills, "it was too quick to be killed"
    assert "ended by SIGKILL" in said
    assert result(tmp_path / "runs") == undisturbed


def children(pid: int) -> list[int]:
    """Workers of a process, without multiprocessing's resource tracker."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("--executor", "process"), ("--workers", "2"), *(("--executor", "ray", "--workers", str(n)) for n in (1, 2, 3))],
)
def test_every_executor_gives_the_same_bytes(
    words: tuple[str, ...], undisturbed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    done = bench(*RUN, *words, "--results", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert result(tmp_path / "runs") == undisturbed


def shard(name: str, folder: Path) -> None:
    code, said = killed.run([*RUN, "--results", f"part-{name[0]}", "--shard", name], folder)
    assert code == 0, said


def test_shards_are_merged_to_the_same_bytes(undisturbed: bytes, tmp_path: Path) -> None:
    for name in ("0/3", "1/3"):
        shard(name, tmp_path)
    refused(bench("merge", "part-0", "part-1"), "no shard 2/3")
    refused(bench("score", "unix-demo", "--results", "part-0"), "no run 'unix-demo'")
    shard("2/3", tmp_path)
    merged = bench("merge", "part-0", "part-1", "part-2", "--results", "runs", "--quiet")
    assert merged.exit_code == 0, merged.output
    assert result(tmp_path / "runs") == undisturbed
    again = bench("merge", "part-2", "part-1", "part-0", "--results", "runs", "--quiet")
    assert (again.exit_code, again.stdout) == (0, merged.stdout)
    assert finish(tmp_path) == undisturbed, "and the run is finished for `run` as well"


def test_shards_that_do_not_fit_together(tmp_path: Path, undisturbed: bytes) -> None:
    shard("1/2", tmp_path)
    folder = next(tmp_path.glob("part-1/*/shards/1-of-2"))
    refused(bench("merge", tmp_path / "nothing"), "holds no shard")
    shutil.copytree(tmp_path / "part-1", tmp_path / "copy")
    refused(bench("merge", "part-1", "copy"), "are the same shard: give only one")
    shutil.rmtree(tmp_path / "copy")
    other = folder.with_name("0-of-2")
    shutil.copytree(folder, other)

    def say(**changes: object) -> None:
        stated = json.loads((folder / "shard.json").read_text())
        (other / "shard.json").write_text(json.dumps({**stated, "index": 0, **changes}))

    say(of=3)
    refused(bench("merge", "part-1"), "are of 3 and 2 shards")
    say(scoring={**json.loads((folder / "shard.json").read_text())["scoring"], "per_pathology": True})
    refused(bench("merge", "part-1"), "told to score differently")
    (other / "shard.json").unlink()
    refused(bench("merge", "part-1"), "is unfinished: give its `unix-bench run --shard` command again")
    say()
    refused(bench("merge", "part-1", "--results", "runs"), "is unfinished, 4 of 6 predictions are missing")
    for image in (folder / "images").iterdir():
        image.write_bytes(b"")
    refused(bench("merge", "part-1", "--results", "again"), "is gone or damaged: run that shard again")
    for wrong in ("3/2", "a", "1/0", "-1/2", "1"):
        refused(bench(*RUN, "--shard", wrong), f"--shard {wrong}: write I/N")
    refused(bench(*RUN, "--shard", "0/2", "--seeds", "2"), "--shard and --seeds do not go together")


def test_a_full_disk_is_said_and_nothing_is_lost(undisturbed: bytes, tmp_path: Path, shared_cache: Path) -> None:
    """On a disk of 60 kB of its own, which then becomes larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = " ".join([sys.executable, "-m", "unix_bench", *RUN, "--results", str(disk / "runs")])
    script = (
        f"mount -t tmpfs -o size=60k none {disk} || exit 77\n"
        f"{command} > first 2>&1; echo $? > code\n"
        f"mount -o remount,size=20m {disk}\n"
        f"{command} > second 2>&1 || exit 1\n"
        f"cp {disk}/runs/*/scores/*/results.json results.json\n"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=tmp_path)
    if done.returncode == 77:
        pytest.skip("no disk can be mounted here")
    first = (tmp_path / "first").read_text()
    assert (tmp_path / "code").read_text() == "2\n", first
    assert "No space left on device: free space there or choose another folder" in first
    assert "Traceback" not in first
    assert done.returncode == 0, (tmp_path / "second").read_text()
    assert (tmp_path / "results.json").read_bytes() == undisturbed


def test_a_disk_that_is_read_only_is_said_and_still_read(undisturbed: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = " ".join([sys.executable, "-m", "unix_bench", *RUN, "--results", str(disk)])
    script = (
        f"mount -t tmpfs -o size=20m none {disk} || exit 77\n"
        f"{command} > first 2>&1 || exit 1\n"
        f"mount -o remount,ro {disk}\n"
        f"{command} > again 2>&1 || exit 2\n"
        f"{command} --seed 1 > refused 2>&1\n"
        "echo $? > code\n"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=tmp_path)
    if done.returncode == 77:
        pytest.skip("no disk can be mounted here")
    assert done.returncode == 0
    assert "6 predicted, 0 failed" in (tmp_path / "again").read_text(), "a finished run is printed from there"
    said = (tmp_path / "refused").read_text()
    assert (tmp_path / "code").read_text() == "2\n", said
    assert "Read-only file system" in said
    assert "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_results_on_another_file_system(undisturbed: bytes, tmp_path: Path) -> None:
    place = Path("/dev/shm") / f"unix-bench-test-{os.getpid()}"
    try:
        assert finish(tmp_path, str(place)) == undisturbed
    finally:
        shutil.rmtree(place, ignore_errors=True)


CRASHING = """
import os
from unix_bench.models.unix.adapter import UniXAdapter

class Crashing(UniXAdapter):
    def draw(self, requests):
        for request in requests:
            if request.id == os.environ["POISON"]:
                os._exit(9)
        return super().draw(requests)
"""


def test_a_poison_sample_is_given_up_and_the_others_are_there(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    (installed / "crashing-1.0.dist-info").mkdir(parents=True)
    (installed / "crashing.py").write_text(CRASHING)
    (installed / "crashing-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: crashing\nVersion: 1.0\n"
    )
    (installed / "crashing-1.0.dist-info" / "entry_points.txt").write_text(
        "[unix_bench.models]\ncrashing = crashing:Crashing\n"
    )
    cards = tmp_path / "unix-bench" / "baselines"
    cards.mkdir(parents=True)
    card = (Path(__file__).parents[1] / "baselines" / "unix.toml").read_text()
    (cards / "crashing.toml").write_text(card.replace('"unix"', '"crashing"', 2))
    ids = [study.id for study in open_data("demo", registry.task("generation").sets, load_settings()).studies][:6]
    words = ["run", "--model", "crashing", *RUN[3:], "--executor", "process", "--max-failed", "0.5"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "POISON": ids[3]}
    command = [sys.executable, "-m", "unix_bench", *words, "--results", "runs"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    samples = {
        sample["id"]: sample
        for sample in map(json.loads, (run_folder(tmp_path / "runs") / "samples-0.jsonl").read_text().splitlines())
    }
    assert set(samples) == set(ids)
    assert {name for name, sample in samples.items() if "error" in sample} == {ids[3]}
    assert "given up: 2 workers were lost with this sample alone" in samples[ids[3]]["error"]
    assert "exited with code 9" in samples[ids[3]]["error"]


def test_progress_for_programs_and_for_whoever_looks(tmp_path: Path) -> None:
    words = [*RUN[:-1], "--progress", "json", "--workers", "2", "--set", "num_timesteps=100", "--results", "runs"]
    process = killed.start(words, tmp_path)
    seen: list[dict[str, Any]] = []
    while process.is_alive():
        shown = bench("show", "unix-demo", "--results", tmp_path / "runs", "--json")
        if shown.exit_code == 0 and "state" in json.loads(shown.stdout):
            seen.append(json.loads(shown.stdout))
        time.sleep(0.2)
    process.join()
    assert process.exitcode == 0, killed.said(tmp_path)
    assert any(status["state"] == "at work" for status in seen)
    lines = [json.loads(line) for line in killed.said(tmp_path).splitlines() if line.startswith("{")]
    drawing = [line for line in lines if line["phase"] == "unix-demo, generation"]
    assert (drawing[-1]["done"], drawing[-1]["total"], drawing[-1]["failed"]) == (6, 6, 0)
    assert {worker["name"] for line in drawing for worker in line["workers"]} == {"worker 0 (cpu)", "worker 1 (cpu)"}
    assert drawing[-1]["rate"] > 0
