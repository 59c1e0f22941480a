"""How many samples are worked on side by side: what fits into memory, in parts of equal sizes."""

from __future__ import annotations

import sys
from itertools import pairwise

import torch

from unix_bench.models.unix.config import LanguageConfig, UniXConfig
from unix_bench.models.unix.parts import BORDER

LARGEST_BLOCK = 32 << 20  # bytes of a product on a CPU
RESERVE = 0.85  # of a GPU's free memory; the rest is for libraries, the VAE, and what is rounded up


def images_at_once(config: UniXConfig, tokens: int, prompt: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many images are drawn side by side, at least one.

    On a GPU as many as its free memory holds, but all in a deterministic run, whose digits must not follow from what
    others do there; on a CPU as `samples_at_once` says.
    """
    language = config.language
    rows = 2 * (tokens + BORDER)  # of an image with and without its prompt
    if device.type == "cpu":
        return samples_at_once(language, rows, dtype, device)
    if torch.are_deterministic_algorithms_enabled():
        return sys.maxsize
    widest = rows * _widest(language, dtype)
    slots = language.num_hidden_layers * (prompt + BORDER + tokens) * _slot_bytes(language, dtype)
    working = 2 * widest + 8 * rows * language.hidden_size * dtype.itemsize
    return max(1, int(RESERVE * _free(device)) // (slots + working))


def samples_at_once(language: LanguageConfig, rows: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many samples of so many rows pass the layers together, at least one; on a GPU there is no bound.

    On a CPU more are slower: what a layer leaves for the next operation no longer lies in the caches.
    """
    return max(1, LARGEST_BLOCK // (rows * _widest(language, dtype))) if device.type == "cpu" else sys.maxsize


def answers_at_once(config: UniXConfig, slots: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many answers of so many slots each are written side by side, at least one.

    On a CPU, and in a deterministic run, there is no bound.
    """
    if device.type == "cpu" or torch.are_deterministic_algorithms_enabled():
        return sys.maxsize
    language = config.language
    store = language.num_hidden_layers * slots * _slot_bytes(language, dtype)
    reading = (config.vision.num_patches + BORDER) * 4 * language.intermediate_size * dtype.itemsize
    scores = 4 * language.vocab_size * dtype.itemsize
    return max(1, int(RESERVE * _free(device)) // (store + reading + scores))


def rounded_up(count: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-count // step) * step


def even_parts(count: int, most: int) -> list[slice]:
    """Parts of so many things, of equal sizes as far as that goes, none larger than `most`.

    >>> even_parts(8, 5)
    [slice(0, 4, None), slice(4, 8, None)]
    """
    parts = -(-count // most)
    ends = [count * part // parts for part in range(parts + 1)] if parts else [0]
    return [slice(start, end) for start, end in pairwise(ends)]


def _widest(config: LanguageConfig, dtype: torch.dtype) -> int:
    """Bytes of a row of the largest product."""
    return 2 * config.intermediate_size * dtype.itemsize


def _slot_bytes(config: LanguageConfig, dtype: torch.dtype) -> int:
    """Of a token's keys and values in a layer."""
    return 2 * config.num_key_value_heads * config.head_dim * dtype.itemsize


def _free(device: torch.device) -> int:
    """Bytes of a GPU that nobody uses, those counted that torch holds for nothing."""
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]
