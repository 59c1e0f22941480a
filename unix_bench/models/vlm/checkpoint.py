"""A release's folder: what its configuration says it is, and loading what it holds.

config.json                     class and sizes
model.safetensors               or model.safetensors.index.json and the shards that it names
generation_config.json          read for the tokens that end an answer, and for nothing else

Tensors are handed to transformers by name, never the folder: so what is loaded is what was checked, and no
adapter_config.json, second file of weights or file that config.json names is picked up beside it.
"""

from __future__ import annotations

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
from unix_bench.models.fit import refuse_misfits
from unix_bench.models.plain_words import in_plain_words, quiet
from unix_bench.released import CONFIG, Shards, read_json

WEIGHTS = "model.safetensors"  # or its index
GENERATION = "generation_config.json"


def read_config(directory: Path, card: Released | Part) -> dict[str, Any]:
    """What config.json holds, of a card's repository or of a part of it.

    Raises:
        UserError: It is missing or damaged.
    """
    path = directory / CONFIG
    if not path.is_file():
        gate = f", gated: {card.gate}" if card.gate else ""
        raise UserError(f"{path} is missing: copy the files of {card.hub_id} there{gate}")
    return read_json(path, card.hub_id or "its release")


def built_config(directory: Path, card: ModelCard) -> Any:
    """The configuration as transformers reads it.

    Raises:
        UserError: It is missing, damaged, of another class than the card's, or of quantised weights.
    """
    stated = read_config(directory, card)
    if stated.get("architectures") != [card.architecture]:
        raise UserError(
            f"{directory / CONFIG} says architectures {stated.get('architectures')} (model_type "
            f"{stated.get('model_type')}), not {card.architecture}: copy {card.hub_id} there"
        )
    if stated.get("quantization_config"):
        raise UserError(
            f"{directory / CONFIG} describes quantised weights, which are not read: copy {card.hub_id} there"
        )
    with in_plain_words(f"{directory / CONFIG} describes no {card.architecture}"):
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
    if type(config) is not model_class(card.architecture).config_class:  # the class would fill in what is not there
        raise UserError(
            f"{directory / CONFIG} says model_type {stated.get('model_type')}, which is not that of "
            f"{card.architecture}: copy {card.hub_id} there"
        )
    return config


def read_tensors(directory: Path, card: ModelCard) -> dict[str, Tensor]:
    """The release's tensors by name, on the CPU; mapped from their files, so that opening them takes no memory.

    Raises:
        UserError: A file is missing or damaged.
    """
    with Shards.open(directory, [WEIGHTS], card.hub_id or "its release") as shards:
        return {name: shards.read(name) for name in shards.files}


def answer_ends(directory: Path, card: ModelCard, tokenizer: Any, stated_apart: bool) -> list[int]:
    """Tokens that end an answer: those of generation_config.json, else those of config.json, and the tokenizer's.

    Args:
        directory: Of the weights.
        card: Whose they are.
        tokenizer: Of the model.
        stated_apart: Must generation_config.json be there? Of some releases it alone knows the end of a turn, without
            which the model goes on to ask and answer questions of its own.

    Raises:
        UserError: The file is missing or damaged, or no file says it.
    """
    path, release = directory / GENERATION, card.hub_id or "its release"
    apart = read_json(path, release) if stated_apart or path.is_file() else {}
    stated, where = apart.get("eos_token_id"), path
    if stated is None:
        config, where = read_config(directory, card), directory / CONFIG
        text = config.get("text_config")
        inner = text.get("eos_token_id") if isinstance(text, dict) else None
        stated = config.get("eos_token_id", inner)
    found = stated if isinstance(stated, list) else [] if stated is None else [stated]
    if not all(type(end) is int for end in found):
        raise UserError(f"{where} says eos_token_id {stated}, which is no number of a token: copy it from {release}")
    own = tokenizer.eos_token_id
    ends = list(dict.fromkeys([*found, *([] if own is None else [own])]))
    if not ends:
        raise UserError(f"neither {path} nor the tokenizer says which token ends an answer: copy both from {release}")
    return ends


def load_model(model: Any, config: Any, tensors: Mapping[str, Tensor], directory: Path, dtype: str, device: str) -> Any:
    """The model, its weights in it, for inference.

    On a CPU, in the precision of the files, its parameters are the mapped tensors themselves; elsewhere each is copied
    for itself. So there is never a second model in memory.

    Args:
        model: Class of transformers.
        config: Its configuration.
        tensors: By the names they have on disk.
        directory: Where they are from, for the message.
        dtype: "float32", "bfloat16" or "float16".
        device: Such as "cpu" or "cuda:0".

    Raises:
        UserError: A tensor was missing, unknown or of another shape.
    """
    # Straight to the device where accelerate is there for it; else the whole model goes through the host's memory.
    place = {"": device} if find_spec("accelerate") is not None else None
    with quiet():
        loaded, said = model.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            dtype=getattr(torch, dtype),
            device_map=place,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to be refused by name below
        )
    refuse_misfits(said, _shapes(tensors), _shapes(loaded.state_dict()), directory)
    return loaded.eval().to(device)


def model_class(architecture: str) -> Any:
    """The class of transformers of that name."""
    return getattr(transformers, architecture)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
