"""A LoRA file on a pipeline: all of it or none.

The library reads several spellings of a LoRA and leaves out, with a warning at most, what it cannot place. So what it
did place is compared with what the file holds, tensor by tensor.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unix_bench.errors import UserError
from unix_bench.models.diffusion.folder import silent
from unix_bench.models.diffusion.settings import EXTRA
from unix_bench.weights import TensorFile, check_floating, listed

ADAPTER = "card"  # its name in the pipeline
# Earlier spellings of the two matrices -> peft's, which the library itself turns them into.
SPELLINGS = (
    (re.compile(r"\.processor\.(to_q|to_k|to_v)_lora\."), r".\1.lora."),
    (re.compile(r"\.processor\.to_out_lora\."), r".to_out.0.lora."),
    (re.compile(r"\.(?:lora|lora_linear_layer)\.down\."), ".lora_A."),
    (re.compile(r"\.(?:lora|lora_linear_layer)\.up\."), ".lora_B."),
)
# CLIP's text model is wrapped in some classes and versions of transformers; the library finds its place in either.
WRAPPED = re.compile(r"^(text_encoder\w*)\.text_model\.")


def put_on(pipeline: Any, file: Path, scale: float) -> None:
    """Put a LoRA on a pipeline's networks.

    Args:
        pipeline: Of diffusers; its networks may be without weights, to see whether the file fits.
        file: Where it lies.
        scale: What its changes are multiplied by.

    Raises:
        UserError: It is missing, damaged or empty, peft is not installed, or some of its tensors match nothing; all
            named.
    """
    if find_spec("peft") is None:
        raise UserError(f"a LoRA ({file.name}) needs peft, which is not installed: {EXTRA}")
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(f"{type(pipeline).__name__} takes no LoRA: leave the setting lora empty")
    _check_numbers(file)
    told: set[str] = set()
    with silent():
        try:
            told = _spelt(pipeline, file)
            pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=ADAPTER, local_files_only=True)
        except Exception as error:  # what the library and peft raise over a file has no common class
            raise _does_not_fit(pipeline, file, told, str(error)) from error
        _compare(pipeline, file, told, _placed(pipeline))
        pipeline.set_adapters([ADAPTER], adapter_weights=[scale])


def _check_numbers(file: Path) -> None:
    with TensorFile.open(file) as opened:
        matrices = {key: shape for key, shape in opened.shapes.items() if not key.endswith(".alpha")}
        if not matrices:
            raise UserError(f"{file} holds no matrices, so it is no LoRA: copy or download it again")
        check_floating(file, matrices)
        broken = {key: "" for key in opened.shapes if not torch.isfinite(opened.read(key)).all()}
    if broken:
        raise UserError(f"{file} holds NaN or Inf in {', '.join(listed(broken))}: copy or download it again")


def _spelt(pipeline: Any, file: Path) -> set[str]:
    """Names of a file's matrices as peft has them, after the library's own conversion."""
    read = pipeline.lora_state_dict(file.parent, weight_name=file.name, local_files_only=True, use_safetensors=True)
    names = set(read[0] if isinstance(read, tuple) else read)
    for pattern, name in SPELLINGS:
        names = {pattern.sub(name, key) for key in names}
    return {WRAPPED.sub(r"\1.", key) for key in names if not key.endswith(".alpha")}  # a number that the library reads


def _placed(pipeline: Any) -> set[str]:
    """Names of the matrices that are on the pipeline's networks now."""
    from peft.utils import get_peft_model_state_dict

    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    return {
        WRAPPED.sub(r"\1.", f"{name}.{key}")
        for name, network in networks.items()
        if ADAPTER in getattr(network, "peft_config", {})
        for key in get_peft_model_state_dict(network, adapter_name=ADAPTER)
    }


def _compare(pipeline: Any, file: Path, told: set[str], placed: set[str]) -> None:
    unmatched, halves = sorted(told - placed), sorted(placed - told)
    if unmatched:
        raise _unmatched(pipeline, file, len(told), unmatched)
    if halves:  # peft would have made the other matrix up
        raise UserError(f"{file} lacks {', '.join(listed(dict.fromkeys(halves, '')))}: copy or download it again")


def _does_not_fit(pipeline: Any, file: Path, told: set[str], why: str) -> UserError:
    """The error for a file that the library refused: what no network has a place for, if it read the names and so."""
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    paths = [f"{name}.{path}" for name, network in networks.items() for path, _ in network.named_modules()]
    places = {WRAPPED.sub(r"\1.", path) for path in paths}
    homeless = [key for key in told if key.partition(".lora")[0].replace(".base_layer", "") not in places]
    if homeless:
        return _unmatched(pipeline, file, len(told), sorted(homeless))
    return UserError(f"{file} does not fit {type(pipeline).__name__} ({' '.join(why.split())[:300]})")


def _unmatched(pipeline: Any, file: Path, of: int, keys: list[str]) -> UserError:
    return UserError(
        f"{file} is no LoRA of this {type(pipeline).__name__}: {len(keys)} of its {of} tensors match nothing in it: "
        f"{', '.join(listed(dict.fromkeys(keys, '')))}"
    )
