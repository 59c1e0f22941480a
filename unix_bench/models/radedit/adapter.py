"""RadEdit as the bench runs it: settings checked, requests turned into drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest
from unix_bench.models.networks import check_network, load_network
from unix_bench.models.radedit.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.radedit.loading import (
    FILES,
    RADEDIT,
    SDXL_VAE,
    TEXT,
    UNET,
    VAE,
    Described,
    described,
    load_text,
    load_words,
)
from unix_bench.models.settings import checked_settings

if TYPE_CHECKING:
    from unix_bench.models.base import ImageDrawer, Loadable

TRAINED_STEPS = 1000
# As the released card and the script of CheXGenBench set it up; what they leave to the library is written out.
SCHEDULE = {
    "num_train_timesteps": TRAINED_STEPS,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "set_alpha_to_one": True,
    "rescale_betas_zero_snr": False,
    "clip_sample": False,
    "thresholding": False,
}
ETA = 0.0  # no noise is added on the way


class DrawSettings(BaseModel):
    """How an image is drawn.

    Attributes:
        steps: Of DDIM.
        guidance_scale: 1 is no guidance.
        size: Pixels a side.
        max_tokens: Every prompt is padded or cut to so many, [CLS] and [SEP] included.
        negative_prompt: What guidance leads away from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    steps: Annotated[int, Field(ge=1, le=TRAINED_STEPS, description=f"a whole number from 1 to {TRAINED_STEPS}")]
    guidance_scale: Annotated[float, Field(ge=1.0, allow_inf_nan=False, description="a number of 1 or more")]
    size: Annotated[int, Field(ge=1, description="a whole number of pixels")]
    max_tokens: Annotated[int, Field(ge=2, description="a whole number of 2 or more")]
    negative_prompt: Annotated[str, Field(description="a text")]

    @classmethod
    def checked(cls, stated: Mapping[str, Any]) -> DrawSettings:
        """The settings as stated.

        Raises:
            UserError: A setting is missing, unknown, of another type or out of bounds.

        >>> DrawSettings.checked(
        ...     {"steps": 0, "guidance_scale": 7.5, "size": 512, "max_tokens": 128, "negative_prompt": ""}
        ... )
        Traceback (most recent call last):
            ...
        unix_bench.errors.UserError: RadEdit's setting steps must be a whole number from 1 to 1000, not 0
        """
        return checked_settings(cls, stated, "a RadEdit card's settings for generation", "RadEdit's setting")


class RadEdit:
    """Draws images with one loaded RadEdit."""

    demo_version = DEMO_VERSION

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        bert: Any,
        tokenizer: Any,
        shape: Described,
        settings: DrawSettings,
    ) -> None:
        self.unet, self.vae, self.bert, self.tokenizer = unet, vae, bert, tokenizer
        self.shape, self.settings = shape, settings
        self.device: torch.device = next(unet.parameters()).device
        self.dtype: torch.dtype = next(unet.parameters()).dtype

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings against each other and the weights; the bench only draws with RadEdit."""
        if kind != "generation":
            raise UserError(f"RadEdit draws images; it has no settings for {kind}")
        settings, shape = DrawSettings.checked(stated), described(directory)
        if settings.size % shape.stride:
            raise UserError(f"size must be a multiple of {shape.stride} for these weights, not {settings.size}")
        if settings.max_tokens > shape.max_tokens:
            raise UserError(
                f"max_tokens must be from 2 to {shape.max_tokens} for these weights, not {settings.max_tokens}"
            )
        if settings.negative_prompt and settings.guidance_scale == 1:
            raise UserError("RadEdit's setting negative_prompt does nothing at guidance_scale=1: leave it empty")
        return settings.model_dump()

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        shape, kind = described(directory), getattr(torch, dtype)
        bert = load_text(directory / TEXT).bert.to(device, kind)
        return cls(
            unet=load_network(directory / UNET, UNet2DConditionModel, RADEDIT, kind, device, FILES),
            # In half precision this VAE overflows; its configuration asks for float32 (force_upcast).
            vae=load_network(directory / VAE, AutoencoderKL, SDXL_VAE, torch.float32, device, FILES),
            bert=bert,
            tokenizer=load_words(directory / TEXT, bert),
            shape=shape,
            settings=DrawSettings.checked(settings),
        )

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See whether `load` would work; of the two big parts only the headers are read. Raises as it does."""
        described(directory)
        check_network(directory / UNET, UNet2DConditionModel, RADEDIT, FILES)
        check_network(directory / VAE, AutoencoderKL, SDXL_VAE, FILES)
        load_words(directory / TEXT, load_text(directory / TEXT).bert)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write a tiny stand-in in the layout of the real weights."""
        write_demo_weights(directory)

    @torch.inference_mode()
    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One RGB image a request. A sample depends on its own prompt and seed alone, not on its batch.

        Raises:
            ValueError: The model drew NaN or Inf.
        """
        if not requests:
            return []
        latents = self.latents(self.read([request.prompt for request in requests]), self.noise(requests))
        return [_to_image(self._decoded(latent)) for latent in latents]

    def read(self, texts: Sequence[str]) -> Tensor:
        """Hidden states of texts, [n, max_tokens, width].

        Padding is attended to, as in the published pipeline, whose text encoder is given no mask.
        """
        ids = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.settings.max_tokens,
            truncation=True,
            return_tensors="pt",
        )["input_ids"].to(self.device)
        hidden: Tensor = self.bert(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return hidden

    @cached_property
    def _unguided(self) -> Tensor:
        """Hidden states of the negative prompt, [1, max_tokens, width]."""
        return self.read([self.settings.negative_prompt])

    def noise(self, requests: Sequence[ImageRequest]) -> Tensor:
        """Where each walk begins, float32 [n, channels, size / stride, size / stride]."""
        side = self.settings.size // self.shape.stride
        shape = (self.shape.latent_channels, side, side)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(one.seed)) for one in requests]
        return torch.stack(drawn).to(self.device)

    def latents(self, words: Tensor, x: Tensor) -> Tensor:
        """Walk from noise to latents by DDIM with guidance, in float32 between the UNet's steps.

        Args:
            words: [n, max_tokens, width].
            x: [n, channels, height, width] of latents.
        """
        scheduler = DDIMScheduler(**SCHEDULE)
        scheduler.set_timesteps(self.settings.steps, device=self.device)
        both = torch.cat([self._unguided.expand_as(words), words])
        for t in scheduler.timesteps:
            twice = torch.cat([x, x]).to(self.dtype)
            without, given = self.unet(twice, t, encoder_hidden_states=both).sample.float().chunk(2)
            guided = without + self.settings.guidance_scale * (given - without)
            x = scheduler.step(guided, t, x, eta=ETA).prev_sample
        return x

    def _decoded(self, latent: Tensor) -> Tensor:
        """Pixels [3, H, W] about [-1, 1] of one latent; one at a time, which is what needs the memory."""
        pixels: Tensor = self.vae.decode(latent[None] / self.shape.scaling).sample
        return pixels[0]


def _to_image(pixels: Tensor) -> Image.Image:
    """Decoded [3, H, W] to 8-bit RGB, clamped and rounded as diffusers does."""
    if not torch.isfinite(pixels).all():
        raise ValueError("the model drew NaN or Inf")
    grey = ((pixels / 2 + 0.5).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(grey.cpu().numpy()))


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: RadEdit) -> tuple[type[Loadable], ImageDrawer]:
        return RadEdit, model
