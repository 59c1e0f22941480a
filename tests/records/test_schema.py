"""The schema of the records: published, of a version, and what another JSON Schema validator says of real records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from bench import bench

from unix_bench.errors import UserError
from unix_bench.records import (
    Code,
    NewerRecord,
    PhaseLog,
    Results,
    RunFolder,
    RunRecord,
    describe_code,
    json_schemas,
    load,
    read_phases,
    read_record,
)
from unix_bench.records import code as code_module

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema"
OLD = Path(__file__).parent / "version_1"  # written by commit c9b1d47, the metrics thinned out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of the command, as a process of its own."""
    place = tmp_path_factory.mktemp("run")
    words = ["run", "--model", "unix", "--task", "report", "--limit", "4", "--set", "max_new_tokens=6", "--quiet"]
    environment = {**os.environ, "UNIX_BENCH_CACHE": str(place / "cache"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", "unix_bench", *words], cwd=place, env=environment, check=True)
    return next((place / "results" / "runs").iterdir())


def validator(name: str) -> Any:
    schema = json.loads((PUBLISHED / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_published_schemas_are_those_of_the_code() -> None:
    assert {path.name: path.read_bytes() for path in PUBLISHED.iterdir()} == json_schemas(), (
        "write them again: python -c 'from unix_bench.records import *; from pathlib import Path; "
        'write_json_schemas(Path("docs/schema"))\''
    )


def test_real_records_are_valid_by_another_validator(run: Path) -> None:
    validator("run.json").validate(json.loads((run / "run.json").read_text()))
    results = json.loads(next(run.glob("scores/*/results.json")).read_text())
    validator("results.json").validate(results)
    for file, name in (("samples-0.jsonl", "sample.json"), ("phases.jsonl", "phase.json")):
        lines = (run / file).read_text().splitlines()
        assert lines
        for line in lines:
            validator(name).validate(json.loads(line))
    for change in ({"demo": "yes"}, {"host": "here"}, {"schema_version": 1}, {"metrics": [{"name": "x"}]}):
        assert not validator("results.json").is_valid({**results, **change}), change
    lacking = {name: value for name, value in results["score_spec"].items() if name != "uncertain"}
    assert not validator("results.json").is_valid({**results, "score_spec": lacking})


def test_a_real_shard_is_valid_by_another_validator(tmp_path: Path) -> None:
    words = ("--task", "report", "--limit", 2, "--set", "max_new_tokens=4", "--quiet", "--shard", "0/2")
    assert bench("run", "--model", "unix", *words, "--batch-size", 1, "--results", tmp_path / "runs").exit_code == 0
    (path,) = tmp_path.glob("runs/*/shards/0-of-2/shard.json")
    stated = json.loads(path.read_text())
    validator("shard.json").validate(stated)
    assert not validator("shard.json").is_valid({**stated, "index": "0"})
    assert not validator("shard.json").is_valid({name: value for name, value in stated.items() if name != "scoring"})


def test_a_run_says_where_it_comes_from(run: Path) -> None:
    record = RunFolder(run).record()
    asked = ["git", "-C", str(PUBLISHED), "rev-parse", "HEAD"]
    head = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    assert record.code is not None
    assert record.code.commit == (head or None)
    assert record.weights_path is not None
    assert (Path(record.weights_path) / "config.json").is_file()
    assert record.command[1:3] == ["run", "--model"]
    assert record.environment["torch"]
    assert record.environment["processor"]
    results = next(run.glob("scores/*/results.json")).read_text()
    for private in (str(run.parent), "seconds", "peak_", head or "commit"):
        assert private not in results


def test_phases_are_told_with_time_and_memory(run: Path) -> None:
    phases = read_phases(run)
    assert [(one.name, one.state, one.items) for one in phases] == [
        ("checking images", "done", 4),
        ("loading weights", "done", 0),
        ("predicting", "done", 4),
        ("scoring", "done", 4),
    ]
    assert all(20 < one.peak_rss_mb < 20_000 and one.peak_cuda_mb is None for one in phases)
    assert phases[3].protocol == "sound"


def test_a_phase_measures_its_own_memory_and_time(tmp_path: Path) -> None:
    log = PhaseLog()
    with log.phase("greedy"):
        block = b"x" * 150_000_000
        time.sleep(0.05)
        del block
    with log.phase("modest"):
        pass
    assert not list(tmp_path.iterdir())
    log.open(tmp_path)
    greedy, modest = read_phases(tmp_path)
    assert 0.05 <= greedy.seconds < 5
    if sys.platform == "linux":
        assert greedy.peak_rss_mb - modest.peak_rss_mb > 100


def test_a_kill_leaves_the_last_sign_of_life_and_a_resumed_run_adds_to_it(tmp_path: Path) -> None:
    script = """
import os, sys, signal
from pathlib import Path
from unix_bench.records import PhaseLog, phases
phases.SIGN_OF_LIFE_S = 0.0
with PhaseLog(Path(sys.argv[1])).phase("predicting") as phase:
    phase.advance(7)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    with (tmp_path / "phases.jsonl").open("ab") as stream:
        stream.write(b'{"name": "predic')  # and a line that was cut off

    def interrupted() -> None:
        with PhaseLog(tmp_path).phase("predicting") as phase:
            phase.advance(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with PhaseLog(tmp_path).phase("predicting", 5):
        pass
    lines = (tmp_path / "phases.jsonl").read_bytes().splitlines()
    assert [line for line in lines if not line.endswith(b"}")] == [b'{"name": "predic'], "and it took no other with it"
    assert sum(line.startswith(b'{"name":"predicting"') for line in lines) == 6
    found = [(one.state, one.items) for one in read_phases(tmp_path)]
    assert found == [("at work", 7), ("stopped", 2), ("done", 5)]


def test_code_without_git_or_outside_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = describe_code().version
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_code.__wrapped__() == Code(version=version)
    monkeypatch.undo()
    monkeypatch.setattr(code_module, "CHECKOUT", tmp_path)
    assert describe_code.__wrapped__() == Code(version=version)
    (tmp_path / ".git").mkdir()  # a broken one
    assert describe_code.__wrapped__() == Code(version=version)
    (tmp_path / ".git").rmdir()
    (tmp_path / "unix_bench").mkdir()
    (tmp_path / "unix_bench" / "a.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    assert describe_code.__wrapped__().dirty is False
    (tmp_path / "notes.txt").write_text("decides no number")
    assert describe_code.__wrapped__().dirty is False
    (tmp_path / "unix_bench" / "a.py").write_text("changed = True\n")
    assert describe_code.__wrapped__().dirty is True


def test_records_of_version_1_are_read(tmp_path: Path) -> None:
    record = read_record(OLD / "run.json", RunRecord)
    assert (record.schema_version, record.code, record.weights_path) == (2, None, None)
    results = read_record(OLD / "results.json", Results)
    stored = json.loads((OLD / "results.json").read_text())
    assert stored["schema_version"] == 1
    assert "sd" not in stored["metrics"][0]
    assert results.schema_version == 2
    assert [one.value for one in results.metrics] == [one["value"] for one in stored["metrics"]]
    assert {key: results.score_spec[key] for key in ("absent", "training", "uncertain")} == {
        "absent": {}, "training": None, "uncertain": "negative",
    }  # fmt: skip
    assert {**results.score_spec, **stored["score_spec"]} == results.score_spec
    validator("results.json").validate(results.model_dump(mode="json"))
    validator("run.json").validate(record.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"schema_version": 3}, NewerRecord, r"version 3, and this unix-bench reads up to 2: upgrade unix-bench"),
        ({"schema_version": None}, UserError, "states none"),
        ({"schema_version": "2"}, UserError, "states none"),
        ({"schema_version": 1, "metrics": 4}, UserError, "no record of schema version 1"),
        ({"schema_version": 1, "score_spec": None}, UserError, "no record of schema version 1"),
        ({"counts": {}}, UserError, r"counts\.total"),
    ],
)
def test_what_is_no_record_of_this_version(tmp_path: Path, change: dict[str, Any], kind: type, said: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps({**json.loads((OLD / "results.json").read_text()), **change}))
    with pytest.raises(kind, match=said):
        read_record(file, Results)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 5000, b'{"schema_version": NaN}', b"null"])
def test_what_is_no_record_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UserError, match=r"results\.json is damaged"):
        read_record(tmp_path / "results.json", Results)


def test_runs_load_into_pandas(run: Path) -> None:
    table = load(run.parent)
    stored = json.loads(next(run.glob("scores/*/results.json")).read_text())
    assert len(table) == len(stored["metrics"])
    row = table.set_index("name").loc["rouge_l"]
    metric = next(one for one in stored["metrics"] if one["name"] == "rouge_l")
    assert (row["value"], row["ci_low"], row["ci_high"], row["n"]) == (metric["value"], *metric["ci"], 4)
    assert (row["model"], row["task"], row["protocol"], row["seed"]) == ("unix-demo", "report", "sound", 0)
    assert table["value"].isna().sum() == sum(one["value"] is None for one in stored["metrics"])
    pd.testing.assert_frame_equal(load(run), table)
    pd.testing.assert_frame_equal(load(next(run.glob("scores/*"))), table)


def test_what_cannot_be_loaded(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        load(tmp_path / "nowhere")
    empty = load(tmp_path)
    assert len(empty) == 0
    assert list(empty.columns) == list(load(run).columns)
    place = tmp_path / "bad" / "scores" / "sound-1"
    place.mkdir(parents=True)
    (place / "results.json").write_text("{")
    with pytest.warns(UserWarning, match="damaged"):
        assert len(load(tmp_path)) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(run)
