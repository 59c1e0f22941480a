"""Demo weights: a tiny UniX with seeded random weights, in the released layout, under the name `unix-demo`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from unix_bench.models.tiny import byte_level_bpe
from unix_bench.models.unix.config import (
    AutoencoderConfig,
    LanguageConfig,
    SpecialTokens,
    UniXConfig,
    VAEConfig,
    VisionConfig,
)
from unix_bench.models.unix.model import UniX
from unix_bench.weights import fill_seeded

NAME = "unix-demo"
DEMO_VERSION = "1"  # raise it when the bytes change: made weights are cached under it
SEED = 2601_11522
BOS, EOS, IMAGE_START, IMAGE_END = "<bos>", "<eos>", "<begin_of_image>", "<end_of_image>"


def write_demo_weights(directory: Path) -> None:
    """Make the demo's weights: a few hundred thousand parameters, 128 x 128 images, the same bytes every time."""
    tokenizer = _tokenizer()
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (BOS, EOS, IMAGE_START, IMAGE_END)}
    config = UniXConfig(
        language=LanguageConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            vocab_size=len(tokenizer),
            max_position_embeddings=2048,
        ),
        vision=VisionConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64),
        vae=VAEConfig(ddconfig=AutoencoderConfig(ch=32, ch_mult=(1, 1, 1, 1, 1), num_res_blocks=1)),
        special_tokens=SpecialTokens(
            bos_token_id=ids[BOS], eos_token_id=ids[EOS], start_of_image=ids[IMAGE_START], end_of_image=ids[IMAGE_END]
        ),
        max_latent_size=8,
    )
    model = UniX(config)
    fill_seeded(model, SEED)
    model.tokenizer = tokenizer
    model.save_pretrained(directory, torch.bfloat16, unix_bench_demo=NAME)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_level_bpe([BOS, EOS, IMAGE_START, IMAGE_END])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)
