"""Files as models are released: configurations in JSON, and a network's tensors in one file or in shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError

from unix_bench.errors import UserError
from unix_bench.weights import Shapes, TensorFile

if TYPE_CHECKING:  # torch only when a tensor is read
    from torch import Tensor

CONFIG = "config.json"
# What transformers raises for a configuration that no network can have.
CONFIG_ERRORS = (ValueError, TypeError, KeyError, ZeroDivisionError, StrictDataclassError)
READERS = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}  # of a vocabulary in a .model
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")


@dataclass(frozen=True)
class Shards:
    """The open files that hold a network's tensors between them; a context, which closes them.

    Attributes:
        path: The file that names all tensors: the only one, or the index.
        files: Name of a tensor -> the file that holds it.
    """

    path: Path
    files: Mapping[str, TensorFile]

    @classmethod
    def open(cls, folder: Path, names: Sequence[str], release: str) -> Shards:
        """Open the first that is there, whole, or as an index `<name>.index.json` and the shards that it names.

        Args:
            folder: Where they lie, side by side.
            names: What the whole file may be called, such as "model.safetensors".
            release: Where they come from, for messages.

        Raises:
            UserError: A file is missing, damaged, a pickle where none is admitted, holds other tensors than the index
                says, or is there both whole and in shards.
        """
        for whole in (folder / name for name in names):
            index = whole.with_name(f"{whole.name}.index.json")
            if whole.is_file() and index.is_file():  # of the libraries that load them, each would take another
                raise UserError(f"{folder} holds both {whole.name} and {index.name}: leave only the one of {release}")
            if whole.is_file():
                file = TensorFile.open(whole)
                return cls(whole, dict.fromkeys(file.shapes, file))
            if index.is_file():
                return cls(index, _indexed(index, release))
        raise _absent(folder, names, release)

    @property
    def shapes(self) -> Shapes:
        """Shape of every tensor, by name."""
        return {name: file.shapes[name] for name, file in self.files.items()}

    def read(self, name: str) -> Tensor:
        """The tensor of that name, on the CPU."""
        return self.files[name].read(name)

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *raised: object) -> None:
        with ExitStack() as stack:
            for file in set(self.files.values()):
                stack.push(file)


def _indexed(index: Path, release: str) -> dict[str, TensorFile]:
    places, folder = read_json(index, release).get("weight_map"), index.parent
    if not isinstance(places, dict) or not places or any(Path(str(name)).name != name for name in places.values()):
        raise UserError(f"{index} does not say which files beside it hold what: copy it from {release} again")
    names = sorted(set(places.values()))
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise UserError(
            f"{folder} lacks {', '.join(absent)} of the {len(names)} shards of its index: copy them from {release}"
        )
    files = {name: TensorFile.open(folder / name) for name in names}
    found = {key: files[name] for key, name in places.items() if key in files[name].shapes}
    lost = [key for key in places if key not in found]
    stray = [key for name, file in files.items() for key in file.shapes if places.get(key) != name]
    if lost or stray:
        raise UserError(
            f"{index} does not fit its shards: {len(lost)} tensors are not where it says and {len(stray)} are not in "
            f"it, such as {(lost + stray)[0]}: copy index and shards of one revision"
        )
    return found


def _absent(folder: Path, names: Sequence[str], release: str) -> UserError:
    pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
    if pickles and all(name.endswith(".safetensors") for name in names):
        return UserError(
            f"{folder} holds {pickles[0]}, a pickle, which is not read: save it as {names[0]} (safetensors) or copy "
            f"that from {release}"
        )
    shards = sorted(folder.glob("*-of-*"))
    stem = next((name for name in names for path in shards if path.suffix == Path(name).suffix), None)
    absent = f"{folder / stem}.index.json, which says what the shards hold," if stem else folder / names[0]
    return UserError(f"{absent} is missing: copy it from {release}")


def missing_readers() -> list[str]:
    """Packages that reading a vocabulary in a `.model` lacks, by the names they are installed under."""
    return [package for module, package in READERS.items() if not _importable(module)]


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in is not there
        return False


def read_json(path: Path, release: str) -> dict[str, Any]:
    """The object that a JSON file of a release holds.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: copy it from {release}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): copy it from {release} again") from error
    if not isinstance(stated, dict):
        raise UserError(f"{path} holds no configuration: copy it from {release} again")
    return stated
