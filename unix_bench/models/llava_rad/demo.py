"""Demo weights: a tiny LLaVA-Rad with seeded random weights, in the files and names of the release and of its base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from unix_bench.models.llava_rad import language, projector, tower
from unix_bench.models.tiny import llama_tokenizer
from unix_bench.released import CONFIG
from unix_bench.weights import fill_seeded

DEMO_VERSION = "1"  # raise it when the bytes change: made weights are cached under it
SEED = 2403_08002
SHAPE = tower.TowerShape(width=64, depth=3, patch=14, grid=4)
WIDTH = 64  # of the language model
RANK, ALPHA = 4, 8
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SHARDS = 2


def write_demo_weights(directory: Path) -> None:
    """Make the demo's weights: a few hundred thousand parameters, the same bytes every time."""
    base = directory / language.BASE
    base.mkdir(parents=True)
    tokenizer = llama_tokenizer()
    tokenizer.save_pretrained(base)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["LlamaForCausalLM"],
    )
    _write_base(base, config)
    _write_adapter(directory, config)
    _write_projector(directory)
    _write_tower(directory)
    _write_json(directory / CONFIG, {**projector.JOINED, "mm_hidden_size": SHAPE.width, "hidden_size": WIDTH})


def _write_base(folder: Path, config: LlamaConfig) -> None:
    """Vicuna's weights, in two files and an index."""
    network = LlamaForCausalLM(config)
    fill_seeded(network, SEED, scale=2.0)
    tensors = _half(network.state_dict())
    names = sorted(tensors)
    parts: dict[str, str] = {}
    for shard in range(SHARDS):
        file = f"pytorch_model-{shard + 1:05d}-of-{SHARDS:05d}.bin"
        torch.save({name: tensors[name] for name in names[shard::SHARDS]}, folder / file)
        parts |= dict.fromkeys(names[shard::SHARDS], file)
    _write_json(folder / f"{language.BASE_WEIGHTS[-1]}.index.json", {"metadata": {}, "weight_map": parts})
    _write_json(folder / CONFIG, config.to_dict())


def _write_adapter(directory: Path, config: LlamaConfig) -> None:
    with torch.device("meta"):
        layers = language.Lora(RANK, ALPHA / RANK, TARGETS).layers(LlamaForCausalLM(config), directory)
    tensors: dict[str, Tensor] = {}
    for number, (name, layer) in enumerate(sorted(layers.items())):
        pair = nn.ModuleDict(
            {
                "lora_A": nn.Linear(layer.in_features, RANK, bias=False),
                "lora_B": nn.Linear(RANK, layer.out_features, bias=False),
            }
        )
        fill_seeded(pair, SEED + 1 + number, scale=0.3)
        tensors |= {f"{language.IN_ADAPTER}{name}.{key}": tensor for key, tensor in pair.state_dict().items()}
    torch.save(_half(tensors), directory / f"{language.ADAPTER}.bin")
    stated = {"peft_type": "LORA", "bias": "none", "r": RANK, "lora_alpha": ALPHA, "target_modules": list(TARGETS)}
    _write_json(directory / language.ADAPTER_CONFIG, stated)


def _write_projector(directory: Path) -> None:
    network = nn.Sequential(nn.Linear(SHAPE.width, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
    fill_seeded(network, SEED - 1, scale=4.0)
    named = {f"base_model.model.model.{projector.NAMED}{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(_half(named), directory / projector.WEIGHTS)


def _write_tower(directory: Path) -> None:
    """A training checkpoint of open_clip, of whose text tower one tensor stands for all."""
    network = tower.Tower(SHAPE)
    fill_seeded(network, SEED - 2, scale=2.0)
    tensors = {tower.PREFIXES[0] + name: tensor.detach() for name, tensor in network.state_dict().items()}
    tensors |= {f"{tower.PREFIXES[0]}norm.{name}": torch.ones(SHAPE.width) for name in ("weight", "bias")}
    tensors["module.logit_scale"] = torch.tensor(4.6)
    torch.save({"epoch": 1, "name": "demo", "state_dict": tensors}, directory / tower.CHECKPOINT)
    vision = {"timm_model_name": "vit_tiny_patch14_dinov2", "image_size": SHAPE.pixels}
    _write_json(directory / tower.CONFIG, {"embed_dim": 32, "vision_cfg": vision})


def _half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as the release stores them."""
    return {name: tensor.detach().half() for name, tensor in tensors.items()}


def _write_json(path: Path, stated: dict[str, Any]) -> None:
    path.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
