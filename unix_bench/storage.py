"""What lies in the cache, and how to be rid of it: nothing there is more than time saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from unix_bench.errors import UserError, unknown_name
from unix_bench.settings import NAMES, Settings


class CacheRow(TypedDict):
    """One part of the cache, which is a folder right below it, or all of it (`total`)."""

    what: str
    files: int
    bytes: int
    path: str


def cache_info(settings: Settings) -> list[CacheRow]:
    """Number and size of the files of each part of the cache, by name, then of all.

    Raises:
        UserError: The cache's folder cannot be read.
    """
    rows: list[CacheRow] = []
    for part in _parts(settings.cache):
        sizes = []
        for path, folder in _walk(part):
            with suppress(FileNotFoundError):  # a run may be at work
                if not folder:
                    sizes.append(path.lstat().st_size)
        rows.append({"what": part.name, "files": len(sizes), "bytes": sum(sizes), "path": str(part)})
    files, size = sum(row["files"] for row in rows), sum(row["bytes"] for row in rows)
    return [*rows, {"what": "total", "files": files, "bytes": size, "path": str(settings.cache)}]


def clear_cache(settings: Settings, what: str | None) -> tuple[int, int]:
    """Remove one part of the cache, or all of them; a link is removed, never what it leads to.

    Args:
        settings: Say where the cache is.
        what: Name of a part, as `cache_info` gives it; None: every one.

    Returns:
        How many files went, and their bytes.

    Raises:
        UserError: There is no such part, a file cannot be removed, or the folder is no cache alone: the home folder,
            the working directory or a place that a setting names lies in it.
    """
    parts = {part.name: part for part in _parts(settings.cache)}
    if what is not None and what not in parts:
        raise unknown_name("part of the cache", what, parts)
    _refuse_more_than_a_cache(settings)
    return _remove(parts.values() if what is None else [parts[what]])


def _parts(cache: Path) -> list[Path]:
    try:
        return sorted(cache.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"the cache {cache} cannot be read ({error.strerror}): name another folder") from error


def _walk(part: Path) -> Iterator[tuple[Path, bool]]:
    """Everything in a part of the cache and itself, and whether it is a folder; a folder after what it holds."""
    if part.is_symlink() or not part.is_dir():
        yield part, False
        return
    for root, folders, files in os.walk(part, topdown=False):
        for name in (*files, *folders):
            path = Path(root, name)
            yield path, name in folders and not path.is_symlink()
    yield part, True


def _remove(parts: Iterable[Path]) -> tuple[int, int]:
    files = size = 0
    for part in parts:
        for path, folder in _walk(part):
            if folder:
                with suppress(OSError):  # a run may have put something new there
                    path.rmdir()
                continue
            try:
                own = path.lstat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UserError(f"{path} cannot be removed ({error.strerror}): remove it by hand") from error
            files, size = files + 1, size + own
    return files, size


def _refuse_more_than_a_cache(settings: Settings) -> None:
    cache = settings.cache.resolve()
    stated = {name: place for name in NAMES if name != "cache" and isinstance(place := getattr(settings, name), Path)}
    for name, place in {"home folder": Path.home(), "working directory": Path.cwd(), **stated}.items():
        if place.resolve().is_relative_to(cache):
            raise UserError(f"{settings.cache} is no cache alone: {place} ({name}) lies in it; name another folder")
