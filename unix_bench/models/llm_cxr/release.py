"""The released files: found, held against each other, loaded strictly.

    llm/       config.json, tokenizer.json, tokenizer_config.json, and the weights as transformers saves them:
               model.safetensors or pytorch_model.bin, or their parts with an index
    vqgan/     one .yaml and one .ckpt, of a taming-transformers project

The release is two archives, whose own folders are not known here: their files go into `llm` and `vqgan`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from unix_bench.errors import UserError
from unix_bench.models.llm_cxr.vocabulary import Vocabulary
from unix_bench.models.llm_cxr.vqgan import VQGAN, VQConfig
from unix_bench.released import CONFIG, CONFIG_ERRORS, Shards, read_json
from unix_bench.weights import TensorFile, check_tensors, stand_in_name

LLM, VQ = "llm", "vqgan"
RELEASE = "the LLM-CXR release"
ARCHITECTURE = "GPTNeoXForCausalLM"
RELEASED_SIZES = (50_281, 1_024)  # words and codes, which the public code asserts

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there, whole or in parts
# Buffers that older transformers stored with GPT-NeoX, and newer ones make themselves.
UNUSED_LLM = re.compile(r"gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$")
# Losses that training alone needs, the discriminator among them.
UNUSED_VQ = re.compile(r"(loss|discriminator)\.")


@dataclass(frozen=True)
class Release:
    """What the configurations of a directory say, once they fit together."""

    directory: Path
    language: GPTNeoXConfig
    vq: VQConfig
    vocabulary: Vocabulary

    @classmethod
    def described(cls, directory: Path) -> Release:
        """Read the configurations and the tokenizer.

        Raises:
            UserError: One is missing or damaged, describes another model, or they do not fit together.
        """
        language, vq = _language_config(directory / LLM), _vq_config(_only(directory / VQ, "*.yaml"))
        vocabulary = Vocabulary.from_directory(directory / LLM, vq.n_embed, RELEASE)
        sizes = vocabulary.first_code, vocabulary.codes
        if language.vocab_size != sum(sizes):
            raise UserError(
                f"{directory / LLM / CONFIG} has vocab_size {language.vocab_size}, but the tokenizer beside it has "
                f"{sizes[0]} tokens and the VQ-GAN {sizes[1]} codes: copy all of {RELEASE} there"
            )
        if stand_in_name(directory) is None and sizes != RELEASED_SIZES:
            raise UserError(
                f"{directory} holds a tokenizer of {sizes[0]} tokens and a VQ-GAN of {sizes[1]} codes, and {RELEASE} "
                f"has {RELEASED_SIZES[0]} and {RELEASED_SIZES[1]}: copy its files there"
            )
        return cls(directory, language, vq, vocabulary)

    def check_weights(self) -> None:
        """See from the weights' headers whether they would load; raises as loading does."""
        _fitted_language(self.directory / LLM, self.language)
        _fitted_vqgan(self.directory / VQ, self.vq)

    def load_language(self, dtype: torch.dtype, device: str) -> Any:
        """The GPT-NeoX of transformers.

        Raises:
            UserError: A file is missing or damaged, or its tensors do not fit; all are named.
        """
        model, shards = _fitted_language(self.directory / LLM, self.language)
        with shards:
            tensors = {name: shards.read(_as_filed(name)).to(device, dtype) for name in model.state_dict()}
        model.load_state_dict(tensors, assign=True)
        # No file holds the frequencies of the positions, and a model made without weights has none.
        model.gpt_neox.rotary_emb = type(model.gpt_neox.rotary_emb)(model.config).to(device)
        return model.eval()

    def load_vqgan(self, device: str) -> VQGAN:
        """The VQ-GAN, in float32 as it was released; raises as `load_language` does."""
        vqgan, file = _fitted_vqgan(self.directory / VQ, self.vq)
        tensors = {name: file.read(name).to(device, torch.float32) for name in vqgan.state_dict()}
        vqgan.load_state_dict(tensors, assign=True)
        return vqgan.eval()


def _language_config(folder: Path) -> GPTNeoXConfig:
    path, stated = folder / CONFIG, read_json(folder / CONFIG, RELEASE)
    if (named := stated.get("architectures")) != [ARCHITECTURE]:
        raise UserError(f"{path} describes {named}, not {ARCHITECTURE}: copy the language model of {RELEASE}")
    try:
        return GPTNeoXConfig.from_dict(stated, attn_implementation="sdpa")
    except CONFIG_ERRORS as error:
        raise _describes_none(path, error) from error


def _describes_none(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} describes no GPT-NeoX ({' '.join(str(error).split())}): copy that of {RELEASE}")


def _vq_config(path: Path) -> VQConfig:
    """`model.params` of a project's file."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return VQConfig.model_validate(document["model"]["params"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "params"
        raise UserError(f"{path}: {where}: {first['msg']}: copy the file of {RELEASE}") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} has no model.params: copy the project's file of {RELEASE}") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({why}): copy it from {RELEASE} again") from error


def _only(folder: Path, pattern: str) -> Path:
    """The one file of its kind in a folder."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{folder} must hold one {pattern} (there: {there}): put the VQ-GAN of {RELEASE} there")
    return found[0]


def _fitted_language(folder: Path, config: GPTNeoXConfig) -> tuple[Any, Shards]:
    """A model without weights, and the open files that have them."""
    try:
        with torch.device("meta"):
            model = GPTNeoXForCausalLM(config)
    except CONFIG_ERRORS as error:
        raise _describes_none(folder / CONFIG, error) from error
    shards = Shards.open(folder, WEIGHTS, RELEASE)
    expected = {_as_filed(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_tensors(shards.path, shards.shapes, expected, UNUSED_LLM)
    return model, shards


def _as_filed(name: str) -> str:
    """A tensor's name in the files; transformers 5 renamed the last layer in memory alone."""
    return re.sub(r"^lm_head\.", "embed_out.", name)


def _fitted_vqgan(folder: Path, config: VQConfig) -> tuple[VQGAN, TensorFile]:
    """A VQ-GAN without weights, and the open file that has them."""
    with torch.device("meta"):
        vqgan = VQGAN(config)
    path = _only(folder, "*.ckpt")
    file = TensorFile.open(path)
    expected = {name: tuple(tensor.shape) for name, tensor in vqgan.state_dict().items()}
    check_tensors(path, file.shapes, expected, UNUSED_VQ, described_by="the .yaml beside it")
    return vqgan, file
