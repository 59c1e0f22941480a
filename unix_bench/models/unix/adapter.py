"""UniX as the bench runs it: settings checked, requests turned into calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from PIL import Image

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest, PairLosses, ProbePair, ReportRequest
from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.unix.flow import SamplerSettings
from unix_bench.models.unix.model import UniX, has_tokenizer
from unix_bench.models.unix.probe import flow_losses, report_losses
from unix_bench.models.unix.settings import check_settings

if TYPE_CHECKING:
    from unix_bench.models.base import ImageDrawer, Loadable, Probe, ReportWriter

NOT_SAMPLER = ("rotary_bf16", "size")  # settings of the model and of the image, not of the walk to it


class UniXAdapter:
    """Writes reports, draws images and weighs pairs with one loaded UniX."""

    demo_version = DEMO_VERSION

    def __init__(self, model: UniX, settings: Mapping[str, Any]) -> None:
        self.model = model
        self.settings = {name: value for name, value in settings.items() if name not in NOT_SAMPLER}
        self.size = settings.get("size", 0)

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings; size 0 becomes the largest square the weights have positions for."""
        config = UniXConfig.from_directory(directory)
        settings = check_settings(kind, stated)
        if kind == "report":
            limit = config.language.max_position_embeddings
            if not 1 <= settings["max_new_tokens"] <= limit:
                raise UserError(f"max_new_tokens must be 1 to {limit}, not {settings['max_new_tokens']}")
            return settings
        stride = config.vae.ddconfig.stride
        largest = config.max_latent_size * stride
        size = settings["size"] = settings["size"] or largest
        if not 0 < size <= largest or size % stride:
            raise UserError(f"size must be a multiple of {stride} up to {largest} for these weights, not {size}")
        if kind == "generation":
            try:
                SamplerSettings(**{name: value for name, value in settings.items() if name not in NOT_SAMPLER})
            except ValueError as error:
                raise UserError(f"UniX cannot draw so: {error}") from error
        return settings

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
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
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See from the files' headers whether `load` would work; raises as it does."""
        UniX.check_pretrained(directory)
        cls.check_tokenizer(directory)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write a tiny stand-in in the layout of the real weights, under a name of its own."""
        write_demo_weights(directory)

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

    def losses(self, pairs: Sequence[ProbePair], seeds: Sequence[int]) -> list[PairLosses]:
        """Losses of each pair, those it has the text for."""
        found = [PairLosses() for _ in pairs]
        read = [index for index, pair in enumerate(pairs) if pair.report is not None]
        if read:
            chosen = [pairs[index] for index in read]
            images, instructions = [pair.image for pair in chosen], [pair.instruction for pair in chosen]
            losses = report_losses(self.model, images, instructions, [pair.report or "" for pair in chosen])
            for index, loss in zip(read, losses, strict=True):
                found[index] = PairLosses(report_nats=loss.double().sum().item(), report_tokens=len(loss))
        drawn = [index for index, pair in enumerate(pairs) if pair.prompt is not None]
        if drawn:
            images, prompts = [pairs[index].image for index in drawn], [pairs[index].prompt or "" for index in drawn]
            own = [seeds[index] for index in drawn]
            errors = flow_losses(self.model, images, prompts, own, self.size, self.settings["timesteps"])
            for index, error in zip(drawn, errors.double().mean(dim=1).tolist(), strict=True):
                found[index] = replace(found[index], flow_mse=error)
        return found


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: UniXAdapter) -> tuple[type[Loadable], ReportWriter, ImageDrawer, Probe]:
        return UniXAdapter, model, model, model
