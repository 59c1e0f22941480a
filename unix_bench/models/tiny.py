"""What the tiny stand-ins of several families have in common: words to train a tokenizer on, and tokenizers."""

from __future__ import annotations

import csv
import string
from collections.abc import Sequence
from pathlib import Path

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
