"""UniX as the bench runs it: settings checked, requests turned into calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest, ReportRequest
from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.unix.flow import SamplerSettings
from unix_bench.models.unix.model import UniX, has_tokenizer

NOT_SAMPLER = ("rotary_bf16", "size")  # settings of the model and of the image, not of the walk to it
SETTINGS = {
    "report": ("max_new_tokens", "rotary_bf16"),
    "generation": (*(field.name for field in fields(SamplerSettings)), *NOT_SAMPLER),
}


class UniXAdapter:
    """Writes reports and draws images with one loaded UniX."""

    demo_version = DEMO_VERSION

    def __init__(self, model: UniX, settings: Mapping[str, Any]) -> None:
        self.model = model
        self.settings = {name: value for name, value in settings.items() if name not in NOT_SAMPLER}
        self.size = settings.get("size", 0)

    @classmethod
    def complete_settings(cls, directory: Path, kind: str, stated: Mapping[str, Any]) -> dict[str, Any]:
        """Check the settings; size 0 becomes the largest square the weights have positions for."""
        config = UniXConfig.from_directory(directory)
        settings = dict(stated)
        wrong = sorted(set(settings) ^ set(SETTINGS[kind]))
        if wrong:
            raise UserError(
                f"a UniX card's settings for {kind} are {', '.join(SETTINGS[kind])}: see to {', '.join(wrong)}"
            )
        if kind == "report":
            limit = config.language.max_position_embeddings
            if not isinstance(settings["max_new_tokens"], int) or not 1 <= settings["max_new_tokens"] <= limit:
                raise UserError(f"max_new_tokens must be 1 to {limit}, not {settings['max_new_tokens']}")
            return settings
        stride = config.vae.ddconfig.stride
        largest = config.max_latent_size * stride
        size = settings["size"] = settings["size"] or largest
        if not 0 < size <= largest or size % stride:
            raise UserError(f"size must be a multiple of {stride} up to {largest} for these weights, not {size}")
        try:
            SamplerSettings(**{name: value for name, value in settings.items() if name not in NOT_SAMPLER})
        except ValueError as error:
            raise UserError(f"UniX cannot draw so: {error}") from error
        return settings

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], dtype: str, device: str) -> UniXAdapter:
        rotary_bf16 = bool(settings["rotary_bf16"])
        model = UniX.from_pretrained(directory, getattr(torch, dtype), device, rotary_bf16)
        cls.check_tokenizer(directory)
        return cls(model, settings)

    @staticmethod
    def check_tokenizer(directory: Path) -> None:
        """The bench speaks to UniX in words."""
        if not has_tokenizer(directory):
            raise UserError(f"{directory} holds no tokenizer: copy tokenizer.json and tokenizer_config.json there")

    @classmethod
    def check_weights(cls, directory: Path) -> None:
        """See from the files' headers whether `load` would work; raises as it does."""
        UniX.check_pretrained(directory)
        cls.check_tokenizer(directory)

    write_demo_weights = staticmethod(write_demo_weights)

    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """One report a request. The released UniX reads an image and an instruction, no indication."""
        images = [request.image for request in requests]
        return self.model.write_reports(images, [request.instruction for request in requests], **self.settings)

    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One RGB image a request."""
        prompts, seeds = [request.prompt for request in requests], [request.seed for request in requests]
        images = self.model.draw(prompts=prompts, seeds=seeds, size=(self.size, self.size), **self.settings)
        assert isinstance(images, list)
        return images
