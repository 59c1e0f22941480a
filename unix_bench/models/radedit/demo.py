"""Demo weights: a tiny RadEdit with seeded random weights, in the folders and formats of the three releases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from tokenizers import normalizers, pre_tokenizers
from transformers import BertConfig, BertForMaskedLM

from unix_bench.features.biovil_t.text import TextNetwork
from unix_bench.models.radedit.loading import TEXT, UNET, VAE
from unix_bench.models.tiny import demo_texts, tiny_unet
from unix_bench.released import CONFIG
from unix_bench.weights import fill_seeded

DEMO_VERSION = "1"  # raise it when the bytes change: made weights are cached under it
SEED = 2312_12865
WIDTH = 32  # of a token
PROJECTION = 8
TOKENS = 128
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_demo_weights(directory: Path) -> None:
    """Make the demo's weights: a few hundred thousand parameters, the same bytes every time."""
    unet = tiny_unet(WIDTH)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=512,
        scaling_factor=0.13025,
    )
    for seed, (name, network) in enumerate(((UNET, unet), (VAE, vae)), start=SEED):
        fill_seeded(network, seed)
        network.save_pretrained(directory / name)
    _write_text_model(directory / TEXT)


def _write_text_model(folder: Path) -> None:
    """CXR-BERT's files: the whole model in a pickle of tensors, as the release has it."""
    words = _vocabulary()
    stated: dict[str, Any] = {
        "architectures": ["CXRBertModel"],
        "model_type": "cxr-bert",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": TOKENS,
        "vocab_size": len(words),
        "projection_size": PROJECTION,
    }
    config = BertConfig(**{key: value for key, value in stated.items() if key not in ("architectures", "model_type")})
    guesser, network = BertForMaskedLM(config), TextNetwork(config, PROJECTION)
    fill_seeded(guesser, SEED + 2, scale=2.0)
    fill_seeded(network, SEED + 3, scale=2.0)
    guesses = {name: tensor for name, tensor in guesser.state_dict().items() if name.startswith("cls.")}
    folder.mkdir()
    _save({**network.state_dict(), **guesses}, folder / "pytorch_model.bin")
    (folder / CONFIG).write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}\n', encoding="utf-8")


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save({name: tensor.detach().clone() for name, tensor in sorted(tensors.items())}, path)


def _vocabulary() -> list[str]:
    """Words of the demo's texts as BERT splits them, and every character of them, so that all can be spelt."""
    lower, split = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = {word for text in demo_texts() for word, _ in split.pre_tokenize_str(lower.normalize_str(text))}
    letters = {letter for word in words for letter in word}
    return [*SPECIAL, *sorted(letters), *sorted(f"##{letter}" for letter in letters), *sorted(words - letters)]
