"""A release's folder: what its configuration says it is, and loading what it holds.

config.json                     class and sizes
model.safetensors               or model.safetensors.index.json and the shards that it names
generation_config.json          read for the tokens that end an answer, and for nothing else
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
from unix_bench.models.plain_words import in_plain_words, quiet
from unix_bench.released import CONFIG, read_json

WEIGHTS = "model.safetensors"  # or its index


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


def load_model(
    model: Any, config: Any, directory: Path | None, tensors: Mapping[str, Tensor] | None, dtype: str, device: str
) -> Any:
    """The model, its weights in it, for inference.

    Args:
        model: Class of transformers.
        config: Its configuration.
        directory: Where its files lie; None: `tensors` are given.
        tensors: By the names they would have on disk.
        dtype: "float32", "bfloat16" or "float16".
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
