"""Files of weights: where they are, what they hold, strictly and without running code from them.

This room does not know what a tensor means; the models do.
"""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from unix_bench.errors import UserError
from unix_bench.notes import read_note, write_note

if TYPE_CHECKING:  # torch only when a tensor is read
    from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]
# Frameworks whose bookkeeping objects lie beside the tensors of public checkpoints.
BOOKKEEPING = re.compile(r"(pytorch_lightning|lightning|lightning_fabric|omegaconf)\.")

STAND_IN = "unix-bench-demo.json"  # marks stand-ins in layouts that have no config.json of their own
LISTED = 40  # more tensors than these are folded by their layer numbers when listed
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a disk or an account without room says
NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
NOTHING = re.compile(r"(?!)")  # for `check_tensors`: no name may be there or not
FLOATING = {"F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16"}  # safetensors' names, torch's
COARSE = "not of floating numbers of 16 bits or more"
COUNTERS = re.compile(r"(.*\.)?(position_ids|relative_position_index|num_batches_tracked)$")  # whole numbers by right


class StoredShape(tuple[int, ...]):
    """Shape of a tensor in a file, and what its numbers are (`dtype`), as the file calls it."""

    dtype: str

    @classmethod
    def of(cls, shape: Iterable[int], dtype: str) -> StoredShape:
        """The shape of a tensor of this dtype."""
        made = cls(shape)
        made.dtype = dtype
        return made


class TensorFile:
    """The tensors of one file, `.safetensors` or a torch `.ckpt` / `.pth`, read one at a time.

    Attributes:
        shapes: Shape of every tensor, by name; each is a `StoredShape`.
    """

    def __init__(self, path: Path, shapes: dict[str, tuple[int, ...]], source: Any) -> None:
        self.path = path
        self.shapes = shapes
        self._source = source

    @classmethod
    def open(cls, path: Path) -> TensorFile:
        """Open a file.

        Raises:
            UserError: It is absent, truncated, or holds something else than tensors.
        """
        if not path.is_file():
            raise UserError(f"{path} is missing: copy the released weights there (see `unix-bench doctor`)")
        return cls._open_safetensors(path) if path.suffix == ".safetensors" else cls._open_torch(path)

    @classmethod
    def _open_safetensors(cls, path: Path) -> TensorFile:
        from safetensors import SafetensorError, safe_open

        try:
            source = safe_open(path, framework="pt")
            slices = {key: source.get_slice(key) for key in source.keys()}  # noqa: SIM118
            shapes = {key: StoredShape.of(part.get_shape(), part.get_dtype()) for key, part in slices.items()}
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from error
        return cls(path, {**shapes}, source)

    @classmethod
    def _open_torch(cls, path: Path) -> TensorFile:
        import torch

        try:
            # torch before 1.6 wrote no archive, which can be neither mapped nor looked through beforehand.
            archive = zipfile.is_zipfile(path)
            # A Lightning checkpoint names its callback classes; they become empty shells, and none of their code runs.
            named = torch.serialization.get_unsafe_globals_in_checkpoint(path) if archive else []
            shells: list[Any] = [(_shell(name), name) for name in named if BOOKKEEPING.match(name)]
            with torch.serialization.safe_globals(shells):
                stored = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        except pickle.UnpicklingError as error:
            raise UserError(
                f"{path} holds more than tensors or is no checkpoint at all, and code from a checkpoint is never run: "
                f"copy or download it again{_unpickler_says(error)}"
            ) from error
        except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{path} is not a whole torch checkpoint ({_first_line(error)}): copy or download it again"
            ) from error
        inner = _state_dict(stored)
        if inner is None:
            raise UserError(f"{path} holds no state_dict")
        tensors = {key: value for key, value in inner.items() if isinstance(value, torch.Tensor)}
        kinds = {key: str(value.dtype).removeprefix("torch.") for key, value in tensors.items()}
        return cls(path, {key: StoredShape.of(value.shape, kinds[key]) for key, value in tensors.items()}, tensors)

    def read(self, key: str) -> Tensor:
        """The tensor called `key`, on the CPU."""
        tensor: Tensor = self._source[key] if isinstance(self._source, dict) else self._source.get_tensor(key)
        return tensor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source = None


def _state_dict(stored: Any) -> dict[str, Any] | None:
    """The tensors of what a file holds, which training code wraps in bookkeeping."""
    if not isinstance(stored, dict):
        return None
    for wrapper in ("state_dict", "model_state_dict"):
        if wrapper in stored:
            return stored[wrapper] if isinstance(stored[wrapper], dict) else None
    return stored


def _shell(name: str) -> type:
    """An inert stand-in for a class that a checkpoint names: it takes whatever state it is given."""
    return type(name.rpartition(".")[2], (), {"__init__": lambda self, *args, **kwargs: None})


def _unpickler_says(error: Exception) -> str:
    """What torch stumbled over, without its advice to run the code after all."""
    said = re.search(r"WeightsUnpickler error: (.+)", str(error))
    return f" ({said[1].strip()})" if said else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def check_tensors(
    path: Path, found: Shapes, expected: Shapes, unused: re.Pattern[str], described_by: str = "its config.json"
) -> None:
    """Compare what a file holds with what a model needs.

    Args:
        path: The file, for the message.
        found: What it holds.
        expected: What the model needs.
        unused: Matches names that may be there or not.
        described_by: What the model was made from, for the message.

    Raises:
        UserError: Names every tensor that is missing, of another shape, of whole numbers or fewer than 16 bits, or not
            known.
    """
    missing = {key: f" {list(shape)}" for key, shape in expected.items() if key not in found}
    wrong = {
        key: f" {list(found[key])} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    }
    unknown = {key: "" for key in found if key not in expected and not unused.match(key)}
    problems = [
        f"{len(keys)} {label}: {', '.join(listed(keys))}"
        for label, keys in (
            ("missing", missing),
            ("of the wrong shape", wrong),
            (COARSE, _coarse({key: shape for key, shape in found.items() if key in expected})),
            ("unknown", unknown),
        )
        if keys
    ]
    if problems:
        raise UserError(f"{path} does not fit {described_by}: tensors {'; '.join(problems)}")


def check_floating(path: Path, found: Shapes) -> None:
    """See that a file's tensors are floating numbers of 16 bits or more, but for counters; a cast would hide it.

    Raises:
        UserError: Names every tensor that is not.
    """
    if coarse := _coarse(found):
        raise UserError(
            f"{path} has tensors of whole numbers or 8 bits: {', '.join(listed(coarse))}: copy the release itself"
        )


def _coarse(found: Shapes) -> dict[str, str]:
    return {
        key: f" {shape.dtype}"
        for key, shape in found.items()
        if isinstance(shape, StoredShape) and shape.dtype not in FLOATING and not COUNTERS.match(key)
    }


def listed(keys: Mapping[str, str]) -> list[str]:
    """Every key with its note; where they are many, keys that differ in numbers alone become one entry."""
    if len(keys) <= LISTED:
        return [key + note for key, note in keys.items()]
    folded: dict[str, list[str]] = {}
    for key, note in keys.items():
        folded.setdefault(NUMBER.sub("*", key) + note, []).append(".".join(NUMBER.findall(key)))
    return [entry if len(numbers) == 1 else f"{entry} (* = {', '.join(numbers)})" for entry, numbers in folded.items()]


@dataclass(frozen=True)
class WeightsIdentity:
    """Whose weights a directory holds.

    Attributes:
        name: What the model is called in tables: a stand-in's own name, never the real one.
        digest: sha256 over the names and contents of all its files.
        demo: True for stand-ins made by `unix-bench weights demo`.
    """

    name: str
    digest: str
    demo: bool


def identify(directory: Path, name: str, cache: Path) -> WeightsIdentity:
    """Digest a weights directory and see whether it is a stand-in, which it then says itself."""
    stand_in = stand_in_name(directory)
    return WeightsIdentity(stand_in or name, digest_directory(directory, cache), demo=stand_in is not None)


def stand_in_name(directory: Path) -> str | None:
    """The stand-in's name: what its mark holds, or its config.json under `unix_bench_demo`; None for real weights."""
    for file in (STAND_IN, "config.json"):
        with suppress(OSError, ValueError):
            stated = json.loads((directory / file).read_text(encoding="utf-8"))
            name = stated.get("unix_bench_demo") if isinstance(stated, dict) else None
            if isinstance(name, str):
                return name
    return None


def mark_stand_in(directory: Path, name: str) -> None:
    """Say of weights that they are a stand-in of this name."""
    (directory / STAND_IN).write_text(json.dumps({"unix_bench_demo": name}) + "\n", encoding="utf-8")


def digest_directory(directory: Path, cache: Path) -> str:
    """sha256 over the relative names and contents of every file below a directory; hidden ones do not count."""
    total = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in path.relative_to(directory).parts):
            continue
        total.update(f"{path.relative_to(directory).as_posix()} {digest_file(path, cache)}\n".encode())
    return total.hexdigest()


def digest_file(path: Path, cache: Path) -> str:
    """sha256 of a file; a big one is hashed once for each size and modification time, kept in `cache`."""
    state = path.stat()
    small = state.st_size < 1 << 20
    note = cache / "digests" / hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    stamp = f"{state.st_size} {state.st_mtime_ns} {state.st_ino}"
    known = None if small else read_note(note)
    if known is not None and known.startswith(f"{stamp} "):
        return known.removeprefix(f"{stamp} ")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not small:
        write_note(note, f"{stamp} {digest}")
    return digest


def fill_seeded(module: nn.Module, seed: int, scale: float = 1.0) -> None:
    """Give a module random parameters that depend on the seed and on the parameters' names and shapes alone.

    Matrices have rows of about `scale` length; a one-dimensional weight is a norm's and lies near 1, a bias near 0.
    """
    import torch

    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            own = hashlib.sha256(f"{seed} {name}".encode()).digest()
            noise = torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(int.from_bytes(own[:7], "big"))
            )
            if parameter.dim() > 1:
                noise = noise * scale / parameter[0].numel() ** 0.5
            else:
                noise = 0.02 * noise + (1.0 if name.endswith("weight") else 0.0)
            parameter.copy_(noise)


def made_once(directory: Path, make: Callable[[Path], None]) -> Path:
    """A cached directory, made where it is absent; safe when two processes make it at once.

    Raises:
        UserError: The cache cannot be written to.
    """
    if directory.is_dir():
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory.parent) as scratch:
            make(Path(scratch) / "made")
            try:
                (Path(scratch) / "made").rename(directory)
            except OSError:
                if not directory.is_dir():  # another process was first
                    raise
    except OSError as error:
        remedy = "free space there" if error.errno in FULL else "name a folder that can be written to"
        raise UserError(f"cannot write to {directory.parent}: {error.strerror or error}: {remedy}") from error
    return directory
