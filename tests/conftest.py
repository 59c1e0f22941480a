"""Fixtures of all tests: no network, no cache of the user's, golden values, demo weights made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_cache: Path) -> None:
    """Keep tests out of the user's settings, cache and working directory."""
    for name in [name for name in os.environ if name.startswith("UNIX_BENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UNIX_BENCH_CACHE", str(shared_cache))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(shared_cache / "matplotlib"))  # lists the fonts once, not once a process
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def demo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from unix_bench.models.unix.demo import write_demo_weights

    directory = tmp_path_factory.mktemp("weights") / "UniX"
    write_demo_weights(directory)
    return directory
