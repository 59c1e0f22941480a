"""Networks of diffusers from their folders, strictly: a file holds all that its network needs, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from unix_bench.errors import UserError
from unix_bench.models.plain_words import in_plain_words
from unix_bench.released import CONFIG, Shards, read_json
from unix_bench.weights import NOTHING, check_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"


def network_config(folder: Path, kind: Any, release: str) -> dict[str, Any]:
    """What config.json of a network says.

    Raises:
        UserError: It is missing, damaged, or that of another class.
    """
    stated = read_json(folder / CONFIG, release)
    if (named := stated.get("_class_name")) != kind.__name__:
        raise UserError(f"{folder / CONFIG} describes {named}, not {kind.__name__}: copy {release} to {folder}")
    return stated


def check_network(folder: Path, kind: Any, release: str, files: Sequence[str] = (WEIGHTS,)) -> Any:
    """The network without its weights, of whose files only the headers are read; raises as `load_network` does."""
    with _opened(folder, kind, release, files) as (network, _, _):
        return network


def load_network(
    folder: Path, kind: Any, release: str, dtype: torch.dtype, device: str, files: Sequence[str] = (WEIGHTS,)
) -> Any:
    """A network of diffusers from its folder.

    Args:
        folder: Where its configuration and its weights lie.
        kind: Its class.
        release: Where they come from, for messages.
        dtype: Of all its tensors.
        device: Where they go.
        files: What the file of its weights may be called; the first that is there is read.

    Raises:
        UserError: A file is missing or damaged, describes another model, or its tensors do not fit; all named.
    """
    with _opened(folder, kind, release, files) as (network, shards, names):
        tensors = {name: shards.read(filed).to(device, dtype) for name, filed in names.items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval()


@contextmanager
def _opened(
    folder: Path, kind: Any, release: str, files: Sequence[str]
) -> Iterator[tuple[Any, Shards, Mapping[str, str]]]:
    """A network without weights, the open files that have them, and what these call each of its tensors."""
    stated = network_config(folder, kind, release)
    with (
        in_plain_words(f"{folder / CONFIG} describes no {kind.__name__}", f"copy {release} there again"),
        torch.device("meta"),
    ):
        network = kind.from_config(stated)
    needed = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with Shards.open(folder, files, release) as shards:
        names = {name: name for name in shards.shapes}
        network._fix_state_dict_keys_on_load(names)  # diffusers still reads the names that it gave earlier
        found = {name: shards.shapes[filed] for name, filed in names.items()}
        check_tensors(shards.path, found, needed, _unused(network))
        yield network, shards, {name: names[name] for name in needed}


def _unused(network: Any) -> re.Pattern[str]:
    ignored = getattr(network, "_keys_to_ignore_on_load_unexpected", None) or []
    return re.compile("|".join(f".*{pattern}" for pattern in ignored)) if ignored else NOTHING
