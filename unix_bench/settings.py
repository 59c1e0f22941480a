"""Where weights, caches and results are: `unix-bench.toml`, then `UNIX_BENCH_*`, then flags; later wins."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from unix_bench.errors import UserError, unknown_name

FILE = "unix-bench.toml"
USER_FOLDER = Path("~/.config/unix-bench")
PREFIX = "UNIX_BENCH_"


class Settings(BaseModel):
    """Places the bench works with.

    Attributes:
        weights: Folder with one folder a model (`UniX/`, ...); None: demo weights.
        cache: Derived files that can be made again.
        results: Folder of the runs.
        origin: Setting -> where its value came from, for `unix-bench doctor`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None = None
    cache: Path = Path("~/.cache/unix-bench")
    results: Path = Path("results/runs")
    origin: dict[str, str] = {}


NAMES = tuple(name for name in Settings.model_fields if name != "origin")


def load_settings(**flags: Path | None) -> Settings:
    """Settings of this invocation.

    Args:
        flags: Values from the command line; None means not given.

    Raises:
        UserError: A settings file is malformed or holds an unknown name.
    """
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    layers: list[tuple[str, dict[str, object]]] = []
    # The working directory's file speaks for one project, the user's for all: the nearer one wins.
    for path in (USER_FOLDER.expanduser() / FILE, Path(FILE)):
        if path.is_file():
            layers.append((str(path), _read(path)))
    layers.append(("environment", {name: os.environ[PREFIX + name.upper()] for name in NAMES if _is_set(name)}))
    layers.append(("command line", {name: value for name, value in flags.items() if value is not None}))
    for source, layer in layers:
        values |= layer
        origin |= dict.fromkeys(layer, source)
    try:
        stated = Settings.model_validate({**values, "origin": origin})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise UserError(f"setting '{name}' from {origin.get(name)}: {error.errors()[0]['msg']}") from error
    expanded = {name: path.expanduser() for name in NAMES if (path := getattr(stated, name)) is not None}
    return stated.model_copy(update=expanded)


def _is_set(name: str) -> bool:
    return bool(os.environ.get(PREFIX + name.upper()))


def _read(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    for name in values:
        if name not in NAMES:
            raise UserError(f"{path}: {unknown_name('setting', name, NAMES)}")
    return values
