"""What UniX costs: floating-point operations of images and reports, and how many fit into memory side by side.

A multiplication with its addition counts as two operations. Products of matrices and attention are counted; norms and
activations are a small part of a percent of them at the released sizes, and are not.
"""

from __future__ import annotations

import sys
from itertools import pairwise

import torch

from unix_bench.models.unix.config import LanguageConfig, UniXConfig

BORDER = 2  # start and end of an image
LARGEST_BLOCK = 64 << 20  # bytes of a product on a CPU
RESERVE = 0.85  # of a GPU's free memory; the rest is for libraries and what they round up


def layer_weights(config: LanguageConfig) -> tuple[int, int]:
    """Multiplications of a row in one layer: in all, and for its keys and values alone."""
    width, queries = config.hidden_size, config.num_attention_heads * config.head_dim
    kept = 2 * config.num_key_value_heads * config.head_dim * width
    return kept + 2 * queries * width + 3 * config.intermediate_size * width, kept


def pass_flops(config: UniXConfig, tokens: int, prompt: int) -> int:
    """One evaluation of the velocity of an image of so many latents; prompt 0: without a prompt.

    The border tokens end with the last layer's keys and values. Embedding the latents, which evaluations of the same
    state share, is left out.
    """
    language, z = config.language, config.vae.ddconfig.z_channels
    layers, (whole, kept) = language.num_hidden_layers, layer_weights(config.language)
    products = layers * tokens * whole + (layers - 1) * BORDER * whole + BORDER * kept
    queries = layers * tokens + (layers - 1) * BORDER
    attention = 2 * queries * (prompt + BORDER + tokens) * language.num_attention_heads * language.head_dim
    return 2 * (products + attention + tokens * z * language.hidden_size)


def kept_flops(config: LanguageConfig, rows: int, keys: int) -> int:
    """Reading rows that see so many keys each, for their own keys and values alone."""
    whole, kept = layer_weights(config)
    products = rows * ((config.num_hidden_layers - 1) * whole + kept)
    attention = 2 * (config.num_hidden_layers - 1) * rows * keys * config.num_attention_heads * config.head_dim
    return 2 * (products + attention)


def image_flops(config: UniXConfig, tokens: int, prompt: int, steps: int, guided: int) -> int:
    """An image from its prompt to its latents, in so many steps of which some are guided; the VAE apart.

    The times, which a batch embeds once, are left out.
    """
    embedding = 2 * tokens * config.vae.ddconfig.z_channels * config.language.hidden_size
    evaluations = steps * pass_flops(config, tokens, prompt) + guided * pass_flops(config, tokens, 0)
    return kept_flops(config.language, prompt, prompt) + steps * embedding + evaluations


def report_flops(config: UniXConfig, question: int, words: int) -> int:
    """A report of so many new tokens from the patches of its image; the vision tower and the connector apart."""
    language, image = config.language, config.vision.num_patches + BORDER
    read = kept_flops(language, image, image) + kept_flops(language, question, image + question)
    products = layer_weights(language)[0] * language.num_hidden_layers + language.hidden_size * language.vocab_size
    keys = sum(image + question + 1 + word for word in range(words))
    attention = 2 * language.num_hidden_layers * keys * language.num_attention_heads * language.head_dim
    return read + 2 * (words * products + attention)


def images_at_once(config: UniXConfig, tokens: int, prompt: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many images are drawn side by side, at least one.

    On a GPU as many as its free memory holds; on a CPU as `samples_at_once` says.
    """
    language = config.language
    rows = 2 * (tokens + BORDER)  # of an image with and without its prompt
    if device.type == "cpu":
        return samples_at_once(language, rows, dtype, device)
    widest = rows * _widest(language, dtype)
    slots = language.num_hidden_layers * (prompt + BORDER + tokens) * _slot_bytes(language, dtype)
    working = 2 * widest + 8 * rows * language.hidden_size * dtype.itemsize
    return max(1, int(RESERVE * _free(device)) // (slots + working))


def samples_at_once(language: LanguageConfig, rows: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many samples of so many rows pass the layers together, at least one; on a GPU there is no bound.

    On a CPU more gain nothing, and take memory.
    """
    return max(1, LARGEST_BLOCK // (rows * _widest(language, dtype))) if device.type == "cpu" else sys.maxsize


def answers_at_once(config: UniXConfig, slots: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many answers of so many slots each are written side by side, at least one; on a CPU there is no bound."""
    if device.type == "cpu":
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
    """Bytes of a GPU that nobody uses, those counted that torch holds and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
