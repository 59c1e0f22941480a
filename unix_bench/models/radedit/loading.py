"""RadEdit's three parts from their folders, strictly: networks, their configurations, and whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from unix_bench.errors import UserError
from unix_bench.features.biovil_t.text import PROJECTION, TextNetwork, load_text_network
from unix_bench.features.places import BIOVIL_T
from unix_bench.released import CONFIG, CONFIG_ERRORS, read_json
from unix_bench.weights import TensorFile, check_tensors

UNET, VAE, TEXT = "unet", "vae", "text_encoder"
RADEDIT, SDXL_VAE = "microsoft/radedit", "stabilityai/sdxl-vae"
WEIGHTS = "diffusion_pytorch_model"
SUFFIXES = (".safetensors", ".bin")  # the first that is there
# What diffusers called the projections of a VAE's attention before 0.18, and still reads.
EARLIER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
NOTHING = re.compile(r"(?!)")

Network = TypeVar("Network", bound=nn.Module)


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
    unet = _config(directory / UNET, UNet2DConditionModel, RADEDIT)
    vae = _config(directory / VAE, AutoencoderKL, SDXL_VAE)
    text = read_json(directory / TEXT / CONFIG, BIOVIL_T)
    try:
        found = Described(
            latent_channels=int(vae["latent_channels"]),
            stride=2 ** (len(vae["block_out_channels"]) - 1),
            scaling=float(vae["scaling_factor"]),
            width=int(unet["cross_attention_dim"]),
            max_tokens=int(text["max_position_embeddings"]),
        )
        channels = {int(unet["in_channels"]), int(unet["out_channels"]), found.latent_channels}
        hidden = int(text["hidden_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{directory}: a config.json of {UNET}/, {VAE}/ or {TEXT}/ lacks or garbles {error}: copy it again"
        ) from error
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


def _config(folder: Path, kind: type[nn.Module], release: str) -> dict[str, Any]:
    stated = read_json(folder / CONFIG, release)
    if (named := stated.get("_class_name")) != kind.__name__:
        raise UserError(f"{folder / CONFIG} describes {named}, not {kind.__name__}: copy {release} to {folder}")
    return stated


def check_network(directory: Path, kind: type[Network], release: str) -> None:
    """See from its file's header whether a network of diffusers would load; raises as `load_network` does."""
    _fitted(directory, kind, release)[1].__exit__(None, None, None)


def load_network(directory: Path, kind: type[Network], release: str, dtype: torch.dtype, device: str) -> Network:
    """A network of diffusers from its folder.

    Raises:
        UserError: A file is missing or damaged, describes another model, or its tensors do not fit; all named.
    """
    network, file, keys = _fitted(directory, kind, release)
    with file:
        tensors = {name: file.read(key).to(device, dtype) for name, key in keys.items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _fitted(directory: Path, kind: type[Network], release: str) -> tuple[Network, TensorFile, dict[str, str]]:
    """A network without weights, the open file that has them, and what it calls each of them."""
    config = _config(directory, kind, release)
    try:
        with torch.device("meta"):
            network: Network = kind.from_config(config)  # type: ignore[attr-defined]
    except CONFIG_ERRORS as error:
        why = " ".join(str(error).split())
        raise UserError(f"{directory / CONFIG} describes no network ({why}): copy that of {release}") from error
    path = weights_file(directory, WEIGHTS)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    file = TensorFile.open(path)
    keys = {name: _as_filed(name, file.shapes) for name in shapes}
    check_tensors(path, file.shapes, {keys[name]: shape for name, shape in shapes.items()}, NOTHING)
    return network, file, keys


def _as_filed(name: str, filed: Mapping[str, Any]) -> str:
    """A tensor's name in a file, which may be diffusers' earlier one."""
    if name in filed:
        return name
    earlier = re.sub(r"\.(to_[qkv]|to_out\.0)\.", lambda found: f".{EARLIER[found[1]]}.", name)
    return earlier if earlier in filed else name


def weights_file(directory: Path, stem: str) -> Path:
    """The file of that name, in whichever format is there; where there is none, the name it should have."""
    places = [directory / f"{stem}{suffix}" for suffix in SUFFIXES]
    return next((path for path in places if path.is_file()), places[0])


def load_text(directory: Path) -> TextNetwork:
    """BioViL-T's text model, of which the `bert` alone is used.

    Raises:
        UserError: A file is missing or damaged, describes another model, or its tensors do not fit; all named.
    """
    projection = read_json(directory / CONFIG, BIOVIL_T).get("projection_size", PROJECTION)
    if not isinstance(projection, int):
        raise UserError(f"{directory / CONFIG} says projection_size {projection!r}: copy it from {BIOVIL_T} again")
    return load_text_network(directory, projection)
