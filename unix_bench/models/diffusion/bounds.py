"""Whether a pipeline's weights can do what its settings ask: read from configurations, before anything is drawn."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from unix_bench.errors import UserError
from unix_bench.models.diffusion.folder import Part, PipelineFolder
from unix_bench.models.diffusion.pipelines import CLIP, Asked
from unix_bench.models.diffusion.scheduler import written_before
from unix_bench.models.diffusion.settings import Settings
from unix_bench.released import CONFIG

SCALING, SHIFT = "scaling_factor", "shift_factor"
SCALING_SINCE = "0.13"  # of diffusers; before, every VAE's was 0.18215, which the library still takes it for


def check_bounds(settings: Settings, asked: Asked, folder: PipelineFolder) -> None:
    """Compare settings with what configurations say.

    Raises:
        UserError: They do not fit, or the VAE does not say how its latents are scaled.
    """
    parts = {part.name: part for part in folder.parts}
    if CLIP in settings.own:
        _check_clips(settings, folder)
    if vae := parts.get("vae"):
        _check_vae(vae, asked, folder)
    network = parts.get("unet") or parts.get("transformer")
    if settings.draw.attention_slicing and not hasattr(network and network.kind, "set_attention_slice"):
        raise UserError(f"attention_slicing does nothing in {folder.name}: --set attention_slicing=false")
    if network is not None:
        _check_places(settings, network, folder)
    scheduler = parts.get("scheduler")
    if settings.own.get("eta") and scheduler and "eta" not in inspect.signature(scheduler.kind.step).parameters:
        raise UserError(f"eta does nothing with {scheduler.kind.__name__}, these weights' scheduler: --set eta=0")


def _check_clips(settings: Settings, folder: PipelineFolder) -> None:
    clips = [folder.built_config(part) for part in folder.parts if part.kind.__name__.startswith("CLIPText")]
    if not clips:
        raise UserError(f"{folder.folder} has no text encoder of CLIP, which {CLIP} is about: copy {folder.release}")
    positions = min(config.max_position_embeddings for config in clips)
    if not 2 <= int(settings.own[CLIP]) <= positions:
        raise UserError(f"{CLIP} must be from 2 to {positions} for these weights, not {settings.own[CLIP]}")


def _check_vae(vae: Part, asked: Asked, folder: PipelineFolder) -> None:
    stated, place = folder.config(vae.name), folder.folder / vae.name
    stride = _stride(stated)
    if asked.stride not in (None, stride):
        raise UserError(
            f"{place} has {stride} pixels a latent where {folder.name} counts on {asked.stride}: images "
            "would have another size than asked for; copy the VAE of its own release"
        )
    needed = [SCALING] if SCALING in inspect.signature(vae.kind.__init__).parameters else []
    for key in [*needed, *([SHIFT] if asked.shifted else [])]:
        if key == SCALING and key not in stated and written_before(stated, SCALING_SINCE):
            continue
        value: Any = stated.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (key == SCALING and value <= 0):
            raise UserError(f"{place / CONFIG} says {key} {value!r}, which is none: copy {folder.release} there again")


def _check_places(settings: Settings, network: Part, folder: PipelineFolder) -> None:
    """Raise `UserError` where an image or a prompt has more patches or tokens than the network has places for."""
    stated = folder.config(network.name)
    sides = {side: getattr(settings.draw, side) for side in ("height", "width")}
    if folder.name == "StableDiffusion3Pipeline":
        pixels = _stride(folder.config("vae")) * _value(network, stated, "patch_size")
        most = dict.fromkeys(sides, pixels * _value(network, stated, "pos_embed_max_size"))
    elif folder.name == "Lumina2Pipeline":
        tokens, *places = _value(network, stated, "axes_lens")
        pixels = _stride(folder.config("vae")) * _value(network, stated, "patch_size")
        most = {side: pixels * place for side, place in zip(sides, places, strict=True)}
        # The image's own tokens stand one place behind the prompt's.
        most["max_sequence_length"], sides["max_sequence_length"] = tokens - 1, settings.own["max_sequence_length"]
    else:
        return
    for name, value in sides.items():
        if value > most[name]:
            raise UserError(f"{name} must be at most {most[name]} for these weights, not {value}")


def _stride(vae: Mapping[str, Any]) -> int:
    """Pixels along each side of one latent; a VAE that does not say has one stage."""
    return int(2 ** (len(vae.get("block_out_channels", [0])) - 1))


def _value(part: Part, stated: Mapping[str, Any], key: str) -> Any:
    """What a configuration says, else its class's default."""
    return stated.get(key, inspect.signature(part.kind.__init__).parameters[key].default)
