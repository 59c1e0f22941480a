"""Tokenizers of the demo's pipelines, in the files that the released ones have: CLIP's, T5's and Gemma's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from unix_bench.models.tiny import demo_texts

CLIP_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"
SPACE = "\u2581"  # what sentencepiece writes for it


def write_clip(folder: Path) -> int:
    """`vocab.json` and `merges.txt`; returns how many tokens there are."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=[START, END, *sorted(alphabet), *(f"{letter}</w>" for letter in sorted(alphabet))],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(demo_texts(), trainer)
    folder.mkdir(parents=True)
    tokenizer.model.save(str(folder))
    _write(
        folder / "tokenizer_config.json",
        {
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": END,
            "model_max_length": CLIP_TOKENS,
            "tokenizer_class": "CLIPTokenizer",
        },
    )
    return tokenizer.get_vocab_size()


def write_t5(folder: Path) -> int:
    """`tokenizer.json` of a unigram model over the demo's words and letters; returns how many tokens there are."""
    words = sorted({SPACE + word for text in demo_texts() for word in text.split()})
    letters = sorted({SPACE, *(letter for word in words for letter in word)})
    whole = [word for word in words if word not in letters]
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *((one, -9.0) for one in letters),
        *((one, -6.0) for one in whole),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE)
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    _save_tokenizer(tokenizer, folder, "T5Tokenizer", {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"})
    return tokenizer.get_vocab_size()


def write_gemma(folder: Path) -> int:
    """`tokenizer.json` of a byte-pair model with sentencepiece's spaces; returns how many tokens there are."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"], show_progress=False
    )
    spaced = (text.replace("\n", " ") for text in demo_texts())
    tokenizer.train_from_iterator(spaced, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    _save_tokenizer(tokenizer, folder, "GemmaTokenizer", special)
    return tokenizer.get_vocab_size()


def _save_tokenizer(tokenizer: Tokenizer, folder: Path, kind: str, special: dict[str, str]) -> None:
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special.values()])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", {**special, "tokenizer_class": kind})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
