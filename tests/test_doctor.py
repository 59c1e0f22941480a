"""`unix-bench doctor`: what it says of weights that a lock speaks of, and of what is not there."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from bench import bench

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def says() -> dict[str, dict[str, str]]:
    """Its rows by their subject."""
    return {row["subject"]: row for row in json.loads(bench("doctor", "--json").stdout)}


def write_lock(name: str, folder: Path, hub_id: str) -> None:
    """`weights.lock` as `weights fetch` would have left it after fetching this folder."""
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in folder.rglob("*")
        if path.is_file()
    }
    entry = {"folder": folder.name, "hub_id": hub_id, "revision": "main", "patterns": [], "commit": COMMIT}
    lock = folder.parent / "weights.lock"
    lock.write_text(json.dumps({"version": 1, "weights": {name: {**entry, "files": files}}}))


def pass_for_real(stand_in: Path) -> None:
    config = json.loads((stand_in / "config.json").read_text())
    del config["unix_bench_demo"]
    (stand_in / "config.json").write_text(json.dumps(config))


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(folder))
    return folder


def test_weights_that_are_as_fetched_and_that_are_not(weights: Path, demo_weights: Path) -> None:
    shutil.copytree(demo_weights, weights / "UniX")
    row = says()["weights of UniX"]
    assert row["state"] == "--"
    assert row["finding"].startswith(
        f"{weights}/UniX (stand-in: unix-demo): move it away and put the files of ZrH42/UniX"
    )
    pass_for_real(weights / "UniX")
    assert "weights.lock" not in says()["weights of UniX"]["finding"]
    write_lock("unix", weights / "UniX", "ZrH42/UniX")
    files = sum(path.is_file() for path in (weights / "UniX").rglob("*"))
    row = says()["weights of UniX"]
    assert row["state"] == "ok"
    assert row["finding"].endswith(
        f"weights.lock: 01234567, {files} files, sizes as fetched (`unix-bench weights fetch --check unix` reads them)"
    )
    (weights / "UniX" / "config.json").write_bytes((weights / "UniX" / "config.json").read_bytes() + b" ")
    (weights / "UniX" / "extra.txt").write_text("")
    row = says()["weights of UniX"]
    size = (weights / "UniX" / "config.json").stat().st_size
    assert row["state"] == "--"
    assert f"config.json is {size} bytes instead of {size - 1}" in row["finding"]
    assert "`unix-bench weights fetch unix` mends that" in row["finding"]


def test_a_judge_that_is_as_fetched_and_that_is_not(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = weights / "rad-dino"
    place.mkdir()
    (place / "config.json").write_text("{}")
    assert says()["weights of RAD-DINO"]["finding"] == (
        "found; released ones are untested: `unix-bench weights check rad-dino`"
    )
    write_lock("rad-dino", place, "microsoft/rad-dino")
    assert "weights.lock: 01234567, 1 file, sizes as fetched" in says()["weights of RAD-DINO"]["finding"]
    (place / "config.json").write_text("{ }")
    row = says()["weights of RAD-DINO"]
    assert row["state"] == "--"
    assert "config.json is 3 bytes instead of 2" in row["finding"]
    monkeypatch.setenv("UNIX_BENCH_RAD_DINO", str(place))  # then it is the user's own, of which the lock says nothing
    assert says()["weights of RAD-DINO"]["state"] == "ok"


@pytest.mark.parametrize("configured", [True, False])
def test_what_is_missing_can_be_fetched(
    configured: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if configured:
        request.getfixturevalue("weights")
    monkeypatch.setenv("UNIX_BENCH_RADGRAPH_MODEL", "radgraph-xl")
    found = says()
    wanted = {
        "UniX": "unix",
        "CheXbert": "chexbert bert-base-uncased",
        "RadGraph": "radgraph-xl",
        "RAD-DINO": "rad-dino",
        "BioViL-T": "biovil-t",
        "MedSigLIP": "medsiglip",
    }
    for title, names in wanted.items():
        row = found[f"weights of {title}"]
        assert row["state"] == "--"
        assert row["finding"].endswith(f", or `unix-bench weights fetch {names}` on a machine with internet")


def test_the_executors_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert says()["executors"]["finding"] == "inline, process, ray"
    monkeypatch.setattr("unix_bench.doctor.find_spec", lambda name: None)
    row = says()["executors"]
    assert (row["state"], row["finding"]) == (
        "--",
        "inline, process; not ray, which is not installed: pip install 'unix-bench[ray]'",
    )
