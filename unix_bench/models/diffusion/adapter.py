"""Pipelines of diffusers as the bench runs them: settings checked, requests turned into drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest
from unix_bench.models.diffusion.bounds import check_bounds
from unix_bench.models.diffusion.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.diffusion.folder import PipelineFolder, silent
from unix_bench.models.diffusion.lora import put_on
from unix_bench.models.diffusion.pipelines import CLIP, Asked
from unix_bench.models.diffusion.settings import EXTRA, Settings
from unix_bench.models.plain_words import in_plain_words

if TYPE_CHECKING:
    from unix_bench.models.base import ImageDrawer, Loadable

NOT_FINITE = "the model drew NaN or Inf"


class DiffusionModel:
    """Draws images with one loaded pipeline."""

    demo_version = DEMO_VERSION

    def __init__(self, pipeline: Any, asked: Asked, settings: Settings) -> None:
        self.pipeline, self.asked, self.settings = pipeline, asked, settings

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings against the pipeline's class and configurations.

        A card that names no class leaves the class's own arguments open: what they then are is added.
        """
        if kind != "generation":
            raise UserError(f"{card.title} draws images; it has no settings for {kind}")
        folder = PipelineFolder.read(directory, card)
        asked = Asked.of(folder.name)
        settings = Settings.checked(stated, asked, card.title, complete=bool(card.architecture))
        with in_plain_words(f"{folder.folder} describes no {folder.name}", f"copy {folder.release} there again"):
            check_bounds(settings, asked, folder)
        return settings.dump()

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        folder = PipelineFolder.read(directory, card)
        asked = Asked.of(folder.name)
        checked = Settings.checked(settings, asked, card.title, complete=True)
        draw = checked.draw
        if draw.offload != "none" and torch.device(device).type == "cpu":
            raise UserError(
                f"offload={draw.offload} is for a GPU's memory and this run is on the CPU: --set offload=none"
            )
        if draw.offload != "none" and find_spec("accelerate") is None:
            raise UserError(f"offload={draw.offload} needs accelerate, which is not installed: {EXTRA}")
        folder.check()
        pipeline = folder.load(getattr(torch, dtype))
        if draw.lora:
            put_on(pipeline, directory / draw.lora, draw.lora_scale)
        _limit_clip(pipeline, checked)
        if draw.attention_slicing:
            pipeline.enable_attention_slicing("auto")
        place(pipeline, draw.offload, device)
        watch(pipeline)
        return cls(pipeline, asked, checked)

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See whether `load` would work; of the pipeline's weights only the headers are read. Raises as it does."""
        folder = PipelineFolder.read(directory, card)
        parts = folder.check()
        if lora := str(card.settings.get("generation", {}).get("lora", "")):
            put_on(folder.empty(parts), directory / lora, scale=1.0)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write a tiny stand-in in the layout of the real weights."""
        write_demo_weights(directory, card)

    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One RGB image a request. A sample's own seed makes its noise, whatever batch it is in.

        Raises:
            ValueError: The model drew NaN or Inf, or an image of another size.
        """
        if not requests:
            return []
        arguments = self.settings.arguments(self.asked, [request.prompt for request in requests])
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        with silent():
            drawn = self.pipeline(**arguments, generator=generators, output_type="np").images
        return [self._to_image(pixels) for pixels in np.asarray(drawn)]

    def _to_image(self, pixels: np.ndarray[Any, Any]) -> Image.Image:
        """Pixels [H, W, 3] from 0 to 1 as 8-bit RGB, rounded as diffusers does."""
        asked = (self.settings.draw.height, self.settings.draw.width)
        if pixels.shape[:2] != asked:
            raise ValueError(f"the pipeline drew {pixels.shape[:2]} pixels, not {asked}")
        if not np.isfinite(pixels).all():
            raise ValueError(NOT_FINITE)
        return Image.fromarray((pixels * 255).round().astype(np.uint8))


def place(pipeline: Any, offload: str, device: str) -> None:
    """Bring a pipeline to a device, or only the part that is at work.

    Args:
        pipeline: Of diffusers, on the CPU.
        offload: "none", "model" or "sequential".
        device: Such as "cuda:0".
    """
    with silent():
        if offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        else:
            pipeline.to(device)


def _limit_clip(pipeline: Any, settings: Settings) -> None:
    """Cut what CLIP reads where the card says, whatever length its tokenizer's files state."""
    if CLIP not in settings.own:
        return
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer: Any = getattr(pipeline, name, None)
        if "CLIP" in type(tokenizer).__name__:
            tokenizer.model_max_length = settings.own[CLIP]
    if hasattr(pipeline, "tokenizer_max_length"):  # taken from the tokenizer when the pipeline was made
        pipeline.tokenizer_max_length = settings.own[CLIP]


def watch(pipeline: Any) -> None:
    """Let a pipeline's VAE stop at NaN and Inf: in the image they would be clamped to black and white.

    Args:
        pipeline: Of diffusers; whatever decodes latents in it, under whichever name.
    """
    for part in pipeline.components.values():
        if isinstance(part, nn.Module) and hasattr(part, "decode"):
            part.decode = _finite(part.decode)


def _finite(decode: Any) -> Any:
    def decoded(*latents: Any, **options: Any) -> Any:
        found = decode(*latents, **options)
        if not torch.isfinite(found[0]).all():
            raise ValueError(NOT_FINITE)
        return found

    return decoded


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: DiffusionModel) -> tuple[type[Loadable], ImageDrawer]:
        return DiffusionModel, model
