"""What the tiny stand-ins of several families have in common: words to train a tokenizer on, and tokenizers."""

from __future__ import annotations

import csv
import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = Path(__file__).parents[1] / "demo_cxr" / "manifest.csv"


def demo_texts() -> list[str]:
    """Prompts and reports of the demo, and every printable character, in a fixed order."""
    with WORDS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [*sorted({row[column] for row in rows for column in ("prompt", "report")}), string.printable]


def byte_level_bpe(special_tokens: Sequence[str], vocab_size: int = 512) -> Tokenizer:
    """Byte-level BPE over the demo's texts; any text can be encoded, and training gives the same every time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(demo_texts(), trainer)
    return tokenizer


def llama_tokenizer(special_tokens: Sequence[str] = ("<unk>", "<s>", "</s>"), vocab_size: int = 640) -> Any:
    """Llama's and Mistral's kind of BPE over the demo's texts: what is no word is spelt in bytes."""
    from transformers import LlamaTokenizer

    trained = Tokenizer(models.BPE(unk_token=special_tokens[0], fuse_unk=True, byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[*special_tokens, *spelt], show_progress=False)
    trained.train_from_iterator(demo_texts(), trainer)
    made = json.loads(trained.to_str())["model"]
    return LlamaTokenizer(vocab=made["vocab"], merges=[tuple(pair) for pair in made["merges"]])


def tiny_unet(token_width: int, **options: Any) -> Any:
    """A UNet in the form of Stable Diffusion's, of two stages, that attends to tokens of this width."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=token_width,
        attention_head_dim=4,
        norm_num_groups=4,
        **options,
    )
