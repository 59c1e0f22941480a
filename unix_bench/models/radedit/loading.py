"""RadEdit's three parts from their folders, strictly: networks, their configurations, and whether they fit together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel

from unix_bench.errors import UserError
from unix_bench.features.biovil_t import load_tokenizer
from unix_bench.features.biovil_t.text import PROJECTION, TextNetwork, load_text_network
from unix_bench.features.places import BIOVIL_T
from unix_bench.models.networks import network_config
from unix_bench.released import CONFIG, read_json

UNET, VAE, TEXT = "unet", "vae", "text_encoder"
RADEDIT, SDXL_VAE = "microsoft/radedit", "stabilityai/sdxl-vae"
FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")  # the first that is there


@dataclass(frozen=True)
class Described:
    """What the configurations say of the parts.

    Attributes:
        latent_channels: Of the VAE, which the UNet takes and gives.
        stride: Pixels along each side of one latent.
        scaling: What the VAE's latents are multiplied by before the UNet sees them.
        width: Of a token that the UNet attends to.
        max_tokens: What the text encoder has positions for.
    """

    latent_channels: int
    stride: int
    scaling: float
    width: int
    max_tokens: int


def described(directory: Path) -> Described:
    """Read the three configurations.

    Raises:
        UserError: One is missing or damaged, is that of another class, or they do not fit together.
    """
    unet = network_config(directory / UNET, UNet2DConditionModel, RADEDIT)
    vae = network_config(directory / VAE, AutoencoderKL, SDXL_VAE)
    text = read_json(directory / TEXT / CONFIG, BIOVIL_T)
    ups = vae.get("block_out_channels")
    if not isinstance(ups, list) or not ups:
        raise UserError(f"{directory / VAE / CONFIG} says block_out_channels {ups!r}: copy {SDXL_VAE} there again")
    found = Described(
        latent_channels=_whole(vae, "latent_channels", directory / VAE),
        stride=2 ** (len(ups) - 1),
        scaling=_above_0(vae, "scaling_factor", directory / VAE),
        width=_whole(unet, "cross_attention_dim", directory / UNET),
        max_tokens=_whole(text, "max_position_embeddings", directory / TEXT),
    )
    hidden = _whole(text, "hidden_size", directory / TEXT)
    channels = {_whole(unet, name, directory / UNET) for name in ("in_channels", "out_channels")}
    channels.add(found.latent_channels)
    if len(channels) > 1:
        raise UserError(
            f"{directory}: UNet and VAE do not share one number of latent channels (in_channels {unet['in_channels']}, "
            f"out_channels {unet['out_channels']}, latent_channels {found.latent_channels}): copy {RADEDIT} to {UNET}/ "
            f"and {SDXL_VAE} to {VAE}/"
        )
    if hidden != found.width:
        raise UserError(
            f"{directory}: the UNet attends to tokens of width {found.width} and the text encoder gives {hidden}: copy "
            f"{RADEDIT} to {UNET}/ and the text model of {BIOVIL_T} to {TEXT}/"
        )
    return found


def _whole(stated: Mapping[str, Any], key: str, folder: Path) -> int:
    value = stated.get(key)
    if type(value) is not int or value < 1:
        raise UserError(f"{folder / CONFIG} says {key} {value!r}, not a whole number from 1: copy it again")
    return value


def _above_0(stated: Mapping[str, Any], key: str, folder: Path) -> float:
    value: Any = stated.get(key)
    if type(value) not in (int, float) or not 0 < float(value) < math.inf:
        raise UserError(f"{folder / CONFIG} says {key} {value!r}, not a number above 0: copy it again")
    return float(value)


def load_words(directory: Path, bert: Any) -> Any:
    """The tokenizer of BioViL-T's text model, each of whose embeddings is a word of it.

    Raises:
        UserError: The vocabulary is missing, damaged, or of another length.
    """
    tokenizer, rows = load_tokenizer(directory), bert.config.vocab_size
    if len(tokenizer) != rows:  # of a cut one the lost words would all be read as unknown
        raise UserError(
            f"{directory} has a vocabulary of {len(tokenizer)} words and the text model embeddings for {rows}: copy "
            f"both from {BIOVIL_T} again"
        )
    return tokenizer


def load_text(directory: Path) -> TextNetwork:
    """BioViL-T's text model, of which the `bert` alone is used.

    Raises:
        UserError: A file is missing or damaged, describes another model, or its tensors do not fit; all named.
    """
    projection = read_json(directory / CONFIG, BIOVIL_T).get("projection_size", PROJECTION)
    if not isinstance(projection, int):
        raise UserError(f"{directory / CONFIG} says projection_size {projection!r}: copy it from {BIOVIL_T} again")
    return load_text_network(directory, projection)
