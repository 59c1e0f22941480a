"""Where weights, caches and results are: `unix-bench.toml`, then `UNIX_BENCH_*`, then flags; later wins."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
        mimic_root: MIMIC-CXR-JPG, or MIMIC-CXR with its index files beside it.
        mimic_reports: Folder or zip of the reports; None: below `mimic_root`.
        mimic_images: Pattern of the images' paths with `{dicom_id}`, for resized copies; None: the official layout.
        mimic_exceptions: TOML of reports whose sections need their own treatment.
        mimic_unix_json: UniX's test_data.json; the following are the annotation files of the other protocols.
        iu_root: Indiana University chest X-rays in the Kaggle layout.
        chexbert: chexbert.pth, or its folder; None: `chexbert/` below `weights`. So the next two.
        bert: Configuration and vocabulary of bert-base-uncased.
        radgraph: Folder of RadGraph's archives, or one of them.
        radgraph_model: Which archive protocol `sound` uses: radgraph, radgraph-xl or modern-radgraph-xl.
        rad_dino: Folder of RAD-DINO; None: `rad-dino/` below `weights`, or the hub's cache. So the next two.
        biovil_t: Folder of BioViL-T, its image model and its text model.
        medsiglip: Folder of MedSigLIP.
        encoder_dtype: Precision of the image encoders.
        training_data: Name or folder of the images that the models were trained on, for what is compared with them.
        ray_address: Cluster for --executor ray, as `ray.init` takes it; "local": one of this machine, for a run alone.
        cache_limit: Gigabytes of features that the cache may hold; those not used for longest go first.
        origin: Setting -> where its value came from, for `unix-bench doctor`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None = None
    cache: Path = Path("~/.cache/unix-bench")
    results: Path = Path("results/runs")
    mimic_root: Path | None = None
    mimic_reports: Path | None = None
    mimic_images: str | None = None
    mimic_exceptions: Path | None = None
    mimic_unix_json: Path | None = None
    mimic_llava_rad: Path | None = None
    mimic_chexgenbench: Path | None = None
    iu_root: Path | None = None
    chexbert: Path | None = None
    bert: Path | None = None
    radgraph: Path | None = None
    radgraph_model: Literal["radgraph", "radgraph-xl", "modern-radgraph-xl"] = "radgraph"
    rad_dino: Path | None = None
    biovil_t: Path | None = None
    medsiglip: Path | None = None
    encoder_dtype: Literal["float32", "bfloat16"] = "float32"
    training_data: str | None = None
    ray_address: str = "local"
    cache_limit: float = Field(default=20.0, gt=0.0)
    origin: dict[str, str] = {}


NAMES = tuple(name for name in Settings.model_fields if name != "origin")


def load_settings(**flags: Path | str | None) -> Settings:
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
    expanded = {name: expand(path) for name in NAMES if isinstance(path := getattr(stated, name), Path)}
    return stated.model_copy(update=expanded)


def expand(path: Path) -> Path:
    """The path with `~` written out.

    Raises:
        UserError: `~somebody` is nobody here.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: {error}") from error


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
