"""A release's folder: what its configuration says it is, its shards, and a strict fit of the one to the other.

    config.json                     class and sizes
    model.safetensors               or model.safetensors.index.json and the shards that it names
    generation_config.json          read for the tokens that end an answer, and for nothing else

Names of tensors differ from the parameters' by transformers' own rules (`language_model.model.x` on disk is
`model.language_model.x` in memory), which change with its versions; so it is asked, with tensors that hold nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig

from unix_bench.cards import ModelCard, Part, Released
from unix_bench.errors import UserError
from unix_bench.models.plain_words import in_plain_words, quiet
from unix_bench.weights import Shapes, TensorFile, check_tensors

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# Buffers that older versions saved and newer ones compute.
UNUSED = re.compile(r".*(rotary_emb\.inv_freq|embeddings\.position_ids)$")


def read_config(directory: Path, card: Released | Part) -> dict[str, Any]:
    """What config.json holds, of a card's repository or of a part of it.

    Raises:
        UserError: It is missing or damaged.
    """
    path = directory / CONFIG
    if not path.is_file():
        gate = f", gated: {card.gate}" if card.gate else ""
        raise UserError(f"{path} is missing: copy the files of {card.hub_id} there{gate}")
    return _json_object(path)


def built_config(directory: Path, card: ModelCard) -> Any:
    """The configuration as transformers reads it.

    Raises:
        UserError: It is missing, damaged, or of another class than the card's.
    """
    stated = read_config(directory, card)
    if stated.get("architectures") != [card.architecture]:
        raise UserError(
            f"{directory / CONFIG} says architectures {stated.get('architectures')} (model_type "
            f"{stated.get('model_type')}), not {card.architecture}: copy {card.hub_id} there"
        )
    with in_plain_words(f"{directory / CONFIG} describes no {card.architecture}"):
        return AutoConfig.from_pretrained(directory, local_files_only=True)


def open_shards(directory: Path) -> dict[str, TensorFile]:
    """Every tensor's name -> the file that holds it.

    Raises:
        UserError: A shard is missing, damaged, or holds other tensors than the index says.
    """
    if not (directory / INDEX).is_file():
        file = TensorFile.open(directory / SINGLE)
        return dict.fromkeys(file.shapes, file)
    places = _json_object(directory / INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{directory / INDEX} holds no weight_map: copy it again")
    names = sorted(set(places.values()))
    strays = [name for name in names if Path(name).name != name]
    if strays:
        raise UserError(f"{directory / INDEX} names {strays[0]}, which is not a file beside it: copy it again")
    absent = [name for name in names if not (directory / name).is_file()]
    if absent:
        raise UserError(
            f"{directory} lacks {', '.join(absent)} of the {len(names)} shards of its index: copy them there"
        )
    files = {name: TensorFile.open(directory / name) for name in names}
    found = {key: files[name] for key, name in places.items() if key in files[name].shapes}
    lost = [key for key in places if key not in found]
    extra = [key for file in files.values() for key in file.shapes if key not in places]
    if lost or extra:
        raise UserError(
            f"{directory / INDEX} does not fit its shards: {len(lost)} tensors are not where it says and {len(extra)} "
            f"are not in it, such as {(lost + extra)[0]}: copy index and shards of one revision"
        )
    return found


def check_fit(model: Any, config: Any, shapes: Shapes, directory: Path) -> None:
    """See whether tensors of these names and shapes are all that a model needs, and nothing else.

    Args:
        model: Class of transformers.
        config: Its configuration.
        shapes: Of the tensors, by the names they have on disk.
        directory: For the message.

    Raises:
        UserError: Names every tensor that is missing, unknown or of another shape.
    """
    with in_plain_words(f"{directory / CONFIG} describes no {model.__name__}"), torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in model(config).state_dict().items()}
    held, needed = (sum(map(_size, sizes.values())) for sizes in (shapes, wanted))
    if 2 * held < needed:  # to name what is missing would take memory for it
        raise UserError(
            f"{directory} holds {held:,} numbers where its config.json describes {needed:,}: copy the whole release"
        )
    empty = torch.zeros((), dtype=torch.bfloat16)
    nothing = {name: empty.expand(shape) for name, shape in shapes.items()}
    with in_plain_words(f"{directory} cannot be read as a {model.__name__}"), quiet():
        _, said = model.from_pretrained(
            None,
            config=config,
            state_dict=nothing,
            dtype=torch.bfloat16,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    expected = {name: wanted[name] for name in said["missing_keys"] if name in wanted}
    found = {name: shapes.get(name, ()) for name in sorted(said["unexpected_keys"])}
    for name, on_disk, in_memory in said["mismatched_keys"]:
        found[name], expected[name] = tuple(on_disk), tuple(in_memory)
    check_tensors(directory, found, dict(sorted(expected.items())), UNUSED)


def load_model(
    model: Any, config: Any, directory: Path | None, tensors: Mapping[str, Tensor] | None, dtype: str, device: str
) -> Any:
    """The model, its weights in it, for inference.

    Args:
        model: Class of transformers.
        config: Its configuration.
        directory: Where its files lie; None: `tensors` are given.
        tensors: By the names they would have on disk.
        dtype: "float32" or "bfloat16".
        device: Such as "cpu" or "cuda:0".
    """
    # Straight to the device where accelerate is there for it; else the whole model goes through the host's memory.
    place = {"": device} if find_spec("accelerate") is not None else None
    with quiet():
        loaded = model.from_pretrained(
            directory,
            config=config,
            state_dict=tensors,
            dtype=getattr(torch, dtype),
            device_map=place,
            local_files_only=True,
            use_safetensors=True,
        )
    return loaded.eval().to(device)


def model_class(architecture: str) -> Any:
    """The class of transformers of that name."""
    return getattr(transformers, architecture)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _json_object(path: Path) -> dict[str, Any]:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): copy it again") from error
    if not isinstance(stated, dict):
        raise UserError(f"{path} holds no JSON object: copy it again")
    return stated
