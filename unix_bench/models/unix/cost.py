"""What UniX costs: floating-point operations of images and reports.

A multiplication with its addition counts as two operations. Products of matrices and attention are counted; norms and
activations are a small part of a percent of them at the released sizes, and are not.
"""

from __future__ import annotations

from unix_bench.models.unix.config import LanguageConfig, UniXConfig
from unix_bench.models.unix.parts import BORDER


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
