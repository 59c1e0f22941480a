"""The cache's parts: counted as they were written, removed without touching what lies outside."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from unix_bench.errors import UserError
from unix_bench.settings import Settings
from unix_bench.storage import cache_info, clear_cache
from unix_bench.weights import made_once

SIZES = {"features/ab/1": 160, "features/ab/2": 160, "features/cd/3": 7, "digests/x": 40, "texts/a/b/c": 0, "loose": 5}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for name, size in SIZES.items():
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return tmp_path / "cache"


def test_every_part_is_counted(cache: Path) -> None:
    (cache / "empty").mkdir()
    rows = {row["what"]: row for row in cache_info(Settings(cache=cache))}
    counted = {name: (row["files"], row["bytes"]) for name, row in rows.items()}
    assert counted == {
        "digests": (1, 40),
        "empty": (0, 0),
        "features": (3, 327),
        "loose": (1, 5),
        "texts": (1, 0),
        "total": (6, 372),
    }
    assert rows["features"]["path"] == str(cache / "features")
    assert rows["total"]["path"] == str(cache)


def test_one_part_goes(cache: Path) -> None:
    settings = Settings(cache=cache)
    assert clear_cache(settings, "features") == (3, 327)
    assert not (cache / "features").exists()
    assert sorted(path.name for path in cache.iterdir()) == ["digests", "loose", "texts"]
    with pytest.raises(UserError, match="unknown part of the cache 'text': did you mean 'texts'"):
        clear_cache(settings, "text")
    for name in ("features", "..", ".", "", "digests/x", str(cache)):
        with pytest.raises(UserError, match="unknown part of the cache"):
            clear_cache(settings, name)


def test_all_parts_go_and_the_cache_stays(cache: Path) -> None:
    assert clear_cache(Settings(cache=cache), None) == (6, 372)
    assert list(cache.iterdir()) == []
    assert clear_cache(Settings(cache=cache), None) == (0, 0)


def test_a_cache_that_is_not_there(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "none")
    assert [(row["what"], row["files"]) for row in cache_info(settings)] == [("total", 0)]
    assert clear_cache(settings, None) == (0, 0)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file cannot be read"):
        cache_info(Settings(cache=tmp_path / "file"))


def test_links_go_and_what_they_lead_to_stays(cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(bytes(1000))
    (cache / "linked").symlink_to(outside)
    (cache / "features" / "folder").symlink_to(outside)
    (cache / "features" / "file").symlink_to(outside / "precious")
    (cache / "features" / "broken").symlink_to(outside / "nothing")
    settings = Settings(cache=cache)
    assert max(row["bytes"] for row in cache_info(settings)) < 1000
    assert clear_cache(settings, "linked")[0] == 1
    assert clear_cache(settings, None)[0] == len(SIZES) + 3
    assert (outside / "precious").stat().st_size == 1000
    assert list(cache.iterdir()) == []


def test_a_cache_behind_a_link_is_emptied(cache: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(cache)
    assert clear_cache(Settings(cache=link), None) == (6, 372)
    assert link.is_symlink()
    assert cache.is_dir()


def test_a_folder_that_holds_more_than_a_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="home folder"):
        clear_cache(Settings(cache=tmp_path), None)
    with pytest.raises(UserError, match=r"texts \(weights\) lies in it"):
        clear_cache(Settings(cache=cache, weights=cache / "texts"), "features")
    monkeypatch.chdir(cache / "features")
    with pytest.raises(UserError, match="working directory"):
        clear_cache(Settings(cache=cache), None)
    assert sum(len(files) for _, _, files in os.walk(cache)) == len(SIZES)


def test_files_that_vanish_and_files_that_come(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process clears and fills the cache meanwhile."""
    lstat = Path.lstat

    def vanishing(path: Path) -> os.stat_result:
        if path.name == "1":
            path.unlink(missing_ok=True)
            path.with_name("new").touch()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanishing)
    assert clear_cache(Settings(cache=cache), "features") == (2, 167)
    assert [path.name for path in cache.rglob("new")] == ["new"]
    rows = {row["what"]: row["files"] for row in cache_info(Settings(cache=cache))}
    assert rows["features"] == 1


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space there"),
        (errno.EDQUOT, "free space there"),
        (errno.EROFS, "name a folder that can be written to"),
        (errno.ENOENT, "name a folder that can be written to"),
    ],
)
def test_what_cannot_be_made_says_what_to_do(tmp_path: Path, number: int, remedy: str) -> None:
    def make(place: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=f"^cannot write to {tmp_path}: {os.strerror(number)}: {remedy}$"):
        made_once(tmp_path / "made", make)
