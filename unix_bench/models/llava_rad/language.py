"""The language model: Vicuna as transformers' Llama, with the release's LoRA (Hu et al., arXiv 2106.09685) merged."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from unix_bench.errors import UserError, unknown_name
from unix_bench.models.llava_rad.tower import RELEASE
from unix_bench.released import CONFIG, CONFIG_ERRORS, Shards, missing_readers, read_json
from unix_bench.weights import NOTHING, TensorFile, check_tensors

BASE, BASE_RELEASE = "vicuna-7b-v1.5", "lmsys/vicuna-7b-v1.5"
ADAPTER_CONFIG, ADAPTER = "adapter_config.json", "adapter_model"
IN_ADAPTER = "base_model.model."  # what PEFT puts before every name
BASE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin")
ROTARY = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$")  # kept by transformers before 4.32
# Variants of LoRA that would be merged otherwise, and what says that an adapter is none of them.
PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_rslora": (False, None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": ([], None),
    "layers_to_transform": ([], None),
}


@dataclass(frozen=True)
class Lora:
    """What an adapter's configuration says.

    Attributes:
        rank: Columns of B, rows of A.
        scale: W becomes W + scale B A.
        targets: Last parts of the names of the layers it changes.
    """

    rank: int
    scale: float
    targets: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Lora:
        """Read `adapter_config.json`.

        Raises:
            UserError: It is missing or damaged, or of a kind of LoRA that is merged otherwise.
        """
        stated = read_json(path, RELEASE)
        for key, admitted in PLAIN.items():
            if stated.get(key) not in admitted:
                raise UserError(
                    f"{path} says {key} {stated.get(key)!r}, which is no plain LoRA: copy it from {RELEASE}"
                )
        rank, alpha, targets = (stated.get(key) for key in ("r", "lora_alpha", "target_modules"))
        if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
            raise UserError(f"{path} says r {rank!r} and lora_alpha {alpha!r}, not two numbers: copy it from {RELEASE}")
        if not isinstance(targets, list) or not targets or not all(isinstance(one, str) for one in targets):
            raise UserError(f"{path} says target_modules {targets!r}, not a list of names: copy it from {RELEASE}")
        return cls(rank, alpha / rank, tuple(sorted(targets)))

    def layers(self, model: nn.Module, path: Path) -> dict[str, nn.Linear]:
        """The layers it changes, by name.

        Raises:
            UserError: A target is no layer of the model.
        """
        linear = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
        known = {name.rpartition(".")[2] for name in linear}
        for target in self.targets:
            if target not in known:
                raise UserError(f"{path}: {unknown_name('target module', target, known)}")
        return {name: layer for name, layer in linear.items() if name.rpartition(".")[2] in self.targets}


def merge(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """A layer's weight with its LoRA in it, float32.

    Args:
        weight: [out, in].
        a: [rank, in].
        b: [out, rank].
        scale: alpha / rank.
    """
    return weight.float() + scale * (b.float() @ a.float())


class LanguageFiles:
    """The files of base and adapter, opened and found to fit; a context, which closes them.

    Attributes:
        config: Of the base.
        model: Without weights.
    """

    def __init__(self, directory: Path) -> None:
        """Open the files.

        Raises:
            UserError: A file is missing or damaged, describes another model, or its tensors do not fit; all named.
        """
        self._stack = ExitStack()
        self.config = llama_config(directory / BASE)
        with torch.device("meta"):
            self.model = LlamaForCausalLM(self.config)
        adapter_config = directory / ADAPTER_CONFIG
        self._lora = Lora.read(adapter_config)
        self._changed = self._lora.layers(self.model, adapter_config)
        self._base = self._open_base(directory / BASE)
        self._adapter = self._open_adapter(directory)

    def __enter__(self) -> LanguageFiles:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def _open_base(self, folder: Path) -> Shards:
        shards = self._stack.enter_context(Shards.open(folder, BASE_WEIGHTS, BASE_RELEASE))
        needed = {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}
        check_tensors(shards.path, shards.shapes, needed, ROTARY)
        return shards

    def _open_adapter(self, directory: Path) -> TensorFile:
        places = [directory / f"{ADAPTER}{suffix}" for suffix in SUFFIXES]
        path = next((path for path in places if path.is_file()), places[-1])  # the release has the second
        needed: dict[str, tuple[int, ...]] = {}
        for name, layer in self._changed.items():
            needed[f"{IN_ADAPTER}{name}.lora_A.weight"] = (self._lora.rank, layer.in_features)
            needed[f"{IN_ADAPTER}{name}.lora_B.weight"] = (layer.out_features, self._lora.rank)
        file = self._stack.enter_context(TensorFile.open(path))
        check_tensors(path, file.shapes, needed, NOTHING, described_by=ADAPTER_CONFIG)
        return file

    def load(self, dtype: torch.dtype, device: str) -> LlamaForCausalLM:
        """The language model with its adapter merged, one tensor at a time."""
        tensors = {name: self._merged(name, device).to(device, dtype, copy=True) for name in self.model.state_dict()}
        self.model.load_state_dict(tensors, assign=True)
        # Not in the files, since it follows from the configuration; float32 whatever the weights are.
        self.model.model.rotary_emb = LlamaRotaryEmbedding(self.config).to(device)
        return self.model.eval()

    def _merged(self, name: str, device: str) -> Tensor:
        weight, layer = self._base.read(name), name.removesuffix(".weight")
        if layer not in self._changed:
            return weight
        a, b = (self._adapter.read(f"{IN_ADAPTER}{layer}.lora_{part}.weight") for part in "AB")
        return merge(weight.to(device), a.to(device), b.to(device), self._lora.scale)


def llama_config(folder: Path) -> LlamaConfig:
    """Configuration of the base.

    Raises:
        UserError: It is missing or damaged, or describes something else than a Llama.
    """
    path = folder / CONFIG
    stated = read_json(path, BASE_RELEASE)
    if stated.get("architectures") != [LlamaForCausalLM.__name__]:
        raise UserError(f"{path} describes {stated.get('architectures')}, not a Llama: copy {BASE_RELEASE} to {folder}")
    try:
        config = LlamaConfig.from_dict(stated)
        config._attn_implementation = "sdpa"
        with torch.device("meta"):
            LlamaForCausalLM(config)
    except CONFIG_ERRORS as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path} describes no network ({why}): copy that of {BASE_RELEASE}") from error
    return config


def load_tokenizer(folder: Path) -> Any:
    """Vicuna's tokenizer.

    Raises:
        UserError: Its files are missing or damaged, or need packages that are not installed.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise UserError(f"{folder / 'tokenizer.model'} is missing: copy it from {BASE_RELEASE}")
    if not (folder / "tokenizer.json").is_file() and (absent := missing_readers()):
        raise UserError(
            f"{folder / 'tokenizer.model'} needs {' and '.join(absent)} to be read: pip install {' '.join(absent)}"
        )
    try:
        tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer("words")
    except Exception as error:  # the libraries raise nothing more definite for a damaged file
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder} holds no tokenizer of Llama ({first}): copy it from {BASE_RELEASE} again") from error
    if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no start or end of text: copy it from {BASE_RELEASE} again")
    return tokenizer
