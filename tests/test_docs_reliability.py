"""The pages on reliability and clusters: the tests they name exist, their scripts are shell, their options are ours."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from unix_bench.cli import main

ROOT = Path(__file__).parents[1]
RELIABILITY, CLUSTER = ROOT / "docs" / "reliability.md", ROOT / "docs" / "cluster.md"


def scripts() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", CLUSTER.read_text(encoding="utf-8"), flags=re.S | re.M)


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", RELIABILITY.read_text(encoding="utf-8")))
    assert len(named) > 30
    files = (ROOT / "tests").rglob("test_*.py")
    there = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), flags=re.M)}
    assert named <= there, named - there


def test_every_row_of_the_table_names_a_test() -> None:
    table = RELIABILITY.read_text(encoding="utf-8").partition("| fault |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) > 20
    assert all(re.search(r"`test_\w+`[^|]*\|$", row) and row.count(" | ") == 3 for row in rows)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("script", scripts())
def test_scripts_are_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_their_commands_have_the_options() -> None:
    seen = 0
    for script in scripts():
        for words in re.findall(r"^(?:.*['\s])?unix-bench ([^#'&>\n]+)", script.replace("\\\n", " "), flags=re.M):
            command: click.Command = main
            for word in words.split():
                if isinstance(command, click.Group):
                    command = command.commands[word]
                elif word.startswith("--"):
                    assert any(word in option.opts for option in command.params), f"{words}: {word}"
                    seen += 1
    assert seen > 20


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_long_job_stops_after_its_batch_and_asks_to_be_put_back(tmp_path: Path) -> None:
    """With a small run in the place of its own, and a `scontrol` that notes what it is told."""
    (script,) = [script for script in scripts() if "--signal" in script and "ray start" not in script]
    stands_in = tmp_path / "bin"
    stands_in.mkdir()
    words = "run --model unix --task generation --limit 6 --batch-size 2 --set num_timesteps=200 --quiet"
    for name, does in (
        ("unix-bench", f"exec {sys.executable} -m unix_bench {words}"),
        ("scontrol", f'echo "$@" > {tmp_path}/told'),
    ):
        (stands_in / name).write_text(f"#!/bin/sh\n{does}\n")
        (stands_in / name).chmod(0o755)
    path = f"{stands_in}{os.pathsep}{os.environ['PATH']}"
    job = subprocess.Popen(["bash", "-c", script], env={**os.environ, "PATH": path, "SLURM_JOB_ID": "42"})
    while not list(tmp_path.glob("results/runs/*/samples-0.jsonl")):
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(300) == 130
    assert (tmp_path / "told").read_text() == "requeue 42\n"
    (samples,) = tmp_path.glob("results/runs/*/samples-0.jsonl")
    assert len(samples.read_text().splitlines()) in (2, 4)
