"""The released directory: which tensor of which file is which rows of which parameter of ours, both ways.

    model.safetensors          everything but the VAE
    vae/*.safetensors          or vae/kl-f16d16.ckpt: the VAE under CompVis names (tensors bare or under `state_dict`)

The names come from `facts` read in the public code; they have not yet been confirmed on the released weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from unix_bench.errors import UserError
from unix_bench.models.unix.config import UniXConfig
from unix_bench.weights import TensorFile, check_tensors

MAIN_FILE = "model.safetensors"
VAE_FOLDER = "vae"
VAE_CHECKPOINT = "kl-f16d16.ckpt"

# Keys a released file may hold and inference never reads.
UNUSED_MAIN = re.compile(
    r"language_model\.model\.repa_loss_fn\.projectors\.|vit_pos_embed\.|vit_model\.vision_tower\.attn_pool\."
    r"|vision_model\.|aligner\.|gen_"
)
UNUSED_VAE = re.compile(r"loss\.")


@dataclass(frozen=True)
class Tie:
    """A file's tensor, or some of its rows, and the parameter of ours, or some of its rows, that hold the same."""

    key: str
    shape: tuple[int, ...]  # of the whole tensor in the file
    parameter: str
    key_rows: slice = field(default_factory=lambda: slice(None))
    parameter_rows: slice = field(default_factory=lambda: slice(None))


def main_ties(config: UniXConfig, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Tie]:
    """Ties of `model.safetensors`; `shapes` are those of our parameters by name."""
    language = config.language
    kv_width = language.num_key_value_heads * language.head_dim
    stacked = {
        "self_attn.q_proj": ("qkv_proj", 0, language.hidden_size),
        "self_attn.k_proj": ("qkv_proj", language.hidden_size, kv_width),
        "self_attn.v_proj": ("qkv_proj", language.hidden_size + kv_width, kv_width),
        "mlp.gate_proj": ("gate_up_proj", 0, language.intermediate_size),
        "mlp.up_proj": ("gate_up_proj", language.intermediate_size, language.intermediate_size),
    }
    alone = {
        "self_attn.o_proj": "o_proj",
        "self_attn.q_norm": "q_norm",
        "self_attn.k_norm": "k_norm",
        "mlp.down_proj": "down_proj",
        "input_layernorm": "input_norm",
        "post_attention_layernorm": "post_norm",
    }

    def same(key: str, parameter: str) -> Tie:
        return Tie(key, shapes[parameter], parameter)

    for branch, suffix in (("understanding", ""), ("generation", "_moe_gen")):
        yield same(f"language_model.model.norm{suffix}.weight", f"language.{branch}_norm.weight")
        for n in range(language.num_hidden_layers):
            theirs, ours = f"language_model.model.layers.{n}", f"language.{branch}.{n}"
            for name, parameter in alone.items():
                yield same(f"{theirs}.{_twin(name, suffix)}.weight", f"{ours}.{parameter}.weight")
            for name, (parameter, start, rows) in stacked.items():
                for kind in ("weight", "bias"):
                    if (target := f"{ours}.{parameter}.{kind}") in shapes:
                        shape = (rows, *shapes[target][1:])
                        key = f"{theirs}.{_twin(name, suffix)}.{kind}"
                        yield Tie(key, shape, target, parameter_rows=slice(start, start + rows))

    yield same("language_model.model.embed_tokens.weight", "language.embed_tokens.weight")
    yield same("language_model.lm_head.weight", "language.lm_head.weight")
    yield same("latent_pos_embed.pos_embed", "latent_positions")
    for kind in ("weight", "bias"):
        yield same(f"vae2llm.{kind}", f"latent_in.{kind}")
        yield same(f"llm2vae.{kind}", f"latent_out.{kind}")
        for theirs, ours in (("0", "fc1"), ("2", "fc2")):
            yield same(f"time_embedder.mlp.{theirs}.{kind}", f"time_embedder.{ours}.{kind}")
            yield same(f"connector.layers.{theirs}.{kind}", f"connector.{ours}.{kind}")
    yield from _vision_ties(config, shapes)


def _twin(name: str, suffix: str) -> str:
    """The generation branch's name of a module: the suffix follows the module that exists twice."""
    if name.startswith("mlp."):
        return name.replace("mlp.", f"mlp{suffix}.")
    return name + suffix


def _vision_ties(config: UniXConfig, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Tie]:
    """Timm's names of a vision transformer against transformers'."""
    tower, ours = "vit_model.vision_tower", "vision"
    position = f"{ours}.embeddings.position_embedding.weight"
    yield Tie(f"{tower}.pos_embed", (1, *shapes[position]), position)
    modules = {"patch_embed.proj": "embeddings.patch_embedding", "norm": "post_layernorm"}
    for n in range(config.vision.num_hidden_layers):
        modules |= {
            f"blocks.{n}.{theirs}": f"encoder.layers.{n}.{mine}"
            for theirs, mine in {
                "norm1": "layer_norm1",
                "norm2": "layer_norm2",
                "attn.proj": "self_attn.out_proj",
                "mlp.fc1": "mlp.fc1",
                "mlp.fc2": "mlp.fc2",
            }.items()
        }
    width = config.vision.hidden_size
    for kind in ("weight", "bias"):
        for theirs, mine in modules.items():
            parameter = f"{ours}.{mine}.{kind}"
            yield Tie(f"{tower}.{theirs}.{kind}", shapes[parameter], parameter)
        for n in range(config.vision.num_hidden_layers):
            for index, letter in enumerate("qkv"):
                parameter = f"{ours}.encoder.layers.{n}.self_attn.{letter}_proj.{kind}"
                shape = (3 * width, *shapes[parameter][1:])
                rows = slice(index * width, (index + 1) * width)
                yield Tie(f"{tower}.blocks.{n}.attn.qkv.{kind}", shape, parameter, key_rows=rows)


def vae_ties(config: UniXConfig, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Tie]:
    """Ties of the VAE file: CompVis names against diffusers'."""
    top = len(config.vae.ddconfig.ch_mult) - 1
    for parameter, shape in shapes.items():
        name = parameter.removeprefix("network.")
        name = re.sub(r"\.up_blocks\.(\d+)\.", lambda m: f".up.{top - int(m[1])}.", name)
        for pattern, replacement in (
            (r"\.down_blocks\.", ".down."),
            (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
            (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
            (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
            (r"\.resnets\.", ".block."),
            (r"\.attentions\.", ".attn."),
            (r"\.(down|up)samplers\.0\.", r".\1sample."),
            (r"\.conv_shortcut\.", ".nin_shortcut."),
            (r"\.conv_norm_out\.", ".norm_out."),
            (r"\.group_norm\.", ".norm."),
            (r"\.to_([qkv])\.", r".\1."),
            (r"\.to_out\.0\.", ".proj_out."),
        ):
            name = re.sub(pattern, replacement, name)
        is_attention_projection = ".attn" in name and ".norm." not in name and name.endswith(".weight")
        yield Tie(name, (*shape, 1, 1) if is_attention_projection else shape, parameter)


def check(ties: list[Tie], path: Path, unused: re.Pattern[str]) -> TensorFile:
    """Open a file whose tensors fit the ties.

    Raises:
        UserError: The file cannot be read, or lacks a tensor, or holds one too many or of another shape; all named.
    """
    file = TensorFile.open(path)
    check_tensors(path, file.shapes, {tie.key: tie.shape for tie in ties}, unused)
    return file


def load(module: nn.Module, ties: list[Tie], path: Path, unused: re.Pattern[str]) -> None:
    """Fill every parameter of `module` from the file, in the parameters' own dtype; raises as `check` does."""
    parameters = dict(module.named_parameters())
    with check(ties, path, unused) as file, torch.no_grad():
        for tie in ties:
            target = parameters[tie.parameter][tie.parameter_rows]
            target.copy_(file.read(tie.key)[tie.key_rows].reshape(target.shape))


def save(module: nn.Module, ties: list[Tie], path: Path, dtype: torch.dtype) -> None:
    """Write the parameters of `module` under the file's names; `load` reads them back. Raises OSError."""
    parameters = dict(module.named_parameters())
    tensors: dict[str, Tensor] = {}
    for tie in ties:
        rows = parameters[tie.parameter].detach()[tie.parameter_rows]
        whole = tensors.setdefault(tie.key, torch.empty(tie.shape, dtype=dtype))
        whole[tie.key_rows] = rows.reshape(whole[tie.key_rows].shape).to(dtype)
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:  # how the library says that the disk is full
        raise OSError(str(error)) from error


def parameter_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of a module's parameters by name."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def find_vae_file(directory: Path) -> Path:
    """The VAE's file: the only safetensors in `vae/`, else the released checkpoint.

    Raises:
        UserError: There is none, or several safetensors.
    """
    folder = directory / VAE_FOLDER
    candidates = sorted(folder.glob("*.safetensors"))
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise UserError(f"{folder} holds several VAE files ({names}): leave only the one that belongs to this model")
    path = candidates[0] if candidates else folder / VAE_CHECKPOINT
    if not path.is_file():
        raise UserError(f"{folder} holds no VAE: put {VAE_CHECKPOINT} of the UniX release (or a .safetensors) there")
    return path
