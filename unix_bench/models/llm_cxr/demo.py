"""Demo weights: a tiny LLM-CXR with seeded weights, in the layout of the release.

With random weights alone no answer would ever hold just the codes of one image. So some channels of the language
model are wired by hand, and all others are random: it counts codes, it knows whether its prompt holds an image, and
it ends what it says. What it says and draws means nothing.

Channels of a token's vector, which every layer passes on:
    0 to CODES     one-hot: how many codes of an image have been said; 0 is the token where an answer begins
    WORD           this token is a word
    CODE           this token is a code
    IMAGE          how much of the text so far is codes; written by the first layer's first head, which takes the mean
    the others     random
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from unix_bench.models.llm_cxr.release import ARCHITECTURE, LLM, VQ
from unix_bench.models.llm_cxr.vocabulary import END, RESPONSE, TOKENIZER, TOKENIZER_CONFIG
from unix_bench.models.llm_cxr.vqgan import VQGAN, VQConfig
from unix_bench.models.tiny import byte_level_bpe
from unix_bench.released import CONFIG
from unix_bench.weights import fill_seeded

DEMO_VERSION = "1"  # raise it when the bytes change: made weights are cached under it
SEED = 2305_11490
WIDTH, LAYERS, HEADS = 64, 2, 4
HEAD = WIDTH // HEADS
BOOK, CODES = 64, 16  # codes there are, and of an image
CHOICE = BOOK // CODES  # codes that may stand at a place of an image
WORD, CODE, IMAGE, RANDOM = CODES + 1, CODES + 2, CODES + 3, CODES + 4  # RANDOM: the first random channel
MARK = 12.0  # what a wired channel holds; random ones hold about 1
SURE, MANY, WIRED = 4.0, 12.0, 14.0  # found by trying: answers then are as the docstring says
FOCUS, TASTE = 2.0, 2.0  # how much what was said before decides what is said, and which code stands at a place

SPECIAL = ("<|endoftext|>", END, "### Instruction:", RESPONSE)


def write_demo_weights(directory: Path) -> None:
    """Make the demo's weights: a few hundred thousand parameters, 32 x 32 images, the same bytes every time."""
    (directory / LLM).mkdir(parents=True)
    (directory / VQ).mkdir()
    words = _tokenizer()
    words.save(str(directory / LLM / TOKENIZER))
    _write_json(directory / LLM / TOKENIZER_CONFIG, {"tokenizer_class": "GPTNeoXTokenizer"})
    stated = _language_config(words.get_vocab_size() + BOOK)
    _write_json(directory / LLM / CONFIG, stated)
    torch.save(_language_tensors(stated, words), directory / LLM / "pytorch_model.bin")
    _write_vqgan(directory / VQ)


def _tokenizer() -> Tokenizer:
    tokenizer = byte_level_bpe(SPECIAL)
    tokenizer.add_tokens(["image"])  # a word of its own, as among the 50 thousand of the release
    return tokenizer


def _language_config(rows: int) -> dict[str, Any]:
    """As transformers 4.28 wrote it."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "gpt_neox",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": 2048,
        "vocab_size": rows,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }


def _language_tensors(stated: dict[str, Any], words: Tokenizer) -> dict[str, Tensor]:
    model = GPTNeoXForCausalLM(GPTNeoXConfig.from_dict(stated))
    fill_seeded(model, SEED)
    model.requires_grad_(False)
    tensors: dict[str, Tensor] = model.state_dict()
    table, scores = tensors["gpt_neox.embed_in.weight"], tensors["lm_head.weight"]
    first_code = words.get_vocab_size()
    _wire_tokens(table, first_code, words.get_vocab()[RESPONSE])
    _wire_layers(tensors)
    _wire_scores(scores, words)
    return {
        name.replace("lm_head.", "embed_out."): tensor.to(torch.bfloat16) for name, tensor in sorted(tensors.items())
    }


def _wire_tokens(table: Tensor, first_code: int, response: int) -> None:
    """What each token's vector begins as: [rows, WIDTH]."""
    table *= WIDTH**0.5
    table[:, :RANDOM] = 0.0
    table[:first_code, WORD] = MARK
    table[first_code:, CODE] = MARK
    table[response, WORD], table[response, 0] = 0.0, MARK
    for code in range(BOOK):
        table[first_code + code, 1 + code // CHOICE] = MARK


def _wire_layers(tensors: dict[str, Tensor]) -> None:
    """Keep the wired channels as they are, but for IMAGE, which the first head of the first layer writes."""
    for layer in range(LAYERS):
        tensors[f"gpt_neox.layers.{layer}.attention.query_key_value.weight"] *= FOCUS
        for module in ("attention.dense", "mlp.dense_4h_to_h"):
            for kind in ("weight", "bias"):
                tensors[f"gpt_neox.layers.{layer}.{module}.{kind}"][:RANDOM] = 0.0
    first = "gpt_neox.layers.0.attention"
    for kind in ("weight", "bias"):  # queries, keys and values of a head lie together
        tensors[f"{first}.query_key_value.{kind}"][: 3 * HEAD] = 0.0
    tensors[f"{first}.query_key_value.weight"][2 * HEAD, CODE] = 1.0
    tensors[f"{first}.dense.weight"][IMAGE, 0] = WIRED


def _wire_scores(scores: Tensor, words: Tokenizer) -> None:
    """What makes each token likely: [rows, WIDTH]."""
    first_code = words.get_vocab_size()
    scores *= 2.0
    scores[:, :RANDOM] = 0.0
    scores[first_code:] *= TASTE
    rows = words.get_vocab()
    for token, row in rows.items():
        if len(token) < 4 or not token.startswith("\u0120"):  # how a tokenizer of bytes writes a space
            scores[row, WORD], scores[row, 0] = -SURE, -SURE
    scores[rows[END], WORD], scores[rows[END], CODES] = 0.5, SURE
    for code in range(BOOK):
        likes = scores[first_code + code]
        likes[: CODES + 1], likes[WORD] = -SURE, -SURE
        likes[code // CHOICE] = SURE
        if code < CHOICE:
            likes[IMAGE] = -MANY  # where there is an image already, words follow


def _write_vqgan(folder: Path) -> None:
    """A project of taming-transformers: its file, and a checkpoint as Lightning keeps it, with a loss beside."""
    params = {
        "embed_dim": 16,
        "n_embed": BOOK,
        "ddconfig": {
            "double_z": False,
            "z_channels": 16,
            "resolution": 32,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 32,
            "ch_mult": [1, 1, 1, 1],
            "num_res_blocks": 1,
            "attn_resolutions": [4],
            "dropout": 0.0,
        },
        "lossconfig": {"target": "taming.modules.losses.vqperceptual.DummyLoss"},
    }
    document = {"model": {"target": "taming.models.vqgan.VQModel", "params": params}}
    (folder / "demo-project.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    vqgan = VQGAN(VQConfig.model_validate(params))
    fill_seeded(vqgan, SEED + 1)
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in sorted(vqgan.state_dict().items())}
    tensors["loss.discriminator.main.0.weight"] = torch.zeros(1)
    torch.save({"epoch": 4, "global_step": 0, "state_dict": tensors}, folder / "demo.ckpt")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
