"""LLM-CXR as the bench runs it: settings checked, requests turned into prompts, answers into reports and images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest, ReportRequest
from unix_bench.models.llm_cxr.decoding import continue_prompts
from unix_bench.models.llm_cxr.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.llm_cxr.release import Release
from unix_bench.models.llm_cxr.settings import AnswerSettings, DrawSettings, check_settings
from unix_bench.models.llm_cxr.vocabulary import IMAGE, Vocabulary
from unix_bench.models.llm_cxr.vqgan import VQGAN

if TYPE_CHECKING:
    from unix_bench.models.base import ImageDrawer, Loadable, ReportWriter


class LlmCxr:
    """Writes reports and draws images with one loaded LLM-CXR."""

    demo_version = DEMO_VERSION

    def __init__(self, language: Any, vqgan: VQGAN, vocabulary: Vocabulary, settings: AnswerSettings) -> None:
        self.language, self.vqgan, self.vocabulary, self.settings = language, vqgan, vocabulary, settings
        self.device: torch.device = next(vqgan.parameters()).device

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings against each other and the weights."""
        settings = check_settings(kind, stated)
        release = Release.described(directory)
        limit, codes = release.language.max_position_embeddings, release.vq.codes
        least = codes if kind == "generation" else 1
        if not least <= settings.max_new_tokens < limit:
            raise UserError(f"max_new_tokens must be {least} to {limit - 1} here, not {settings.max_new_tokens}")
        for token in (*release.vocabulary.control, *([IMAGE] if kind == "report" else [])):
            if token in settings.instruction:
                raise UserError(f"instruction must not hold {token!r}, which means something of its own to this model")
        return settings.model_dump()

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        release = Release.described(directory)
        return cls(
            language=release.load_language(getattr(torch, dtype), device),
            vqgan=release.load_vqgan(device),
            vocabulary=release.vocabulary,
            settings=check_settings("generation" if "attempts" in settings else "report", settings),
        )

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See from the files' headers whether `load` would work; raises as it does."""
        Release.described(directory).check_weights()

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write a tiny stand-in in the layout of the real weights."""
        write_demo_weights(directory)

    @torch.inference_mode()
    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """One report a request; it may be empty. The model takes an image and the card's question, no indication."""
        prompts = [self.vocabulary.about_image(self.settings.instruction, self.read(one.image)) for one in requests]
        generators = [_generator(one.seed) for one in requests]
        return [self.vocabulary.text_in(answer) for answer in self._answers(prompts, generators)]

    @torch.inference_mode()
    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One RGB image a request.

        Raises:
            ValueError: No answer to one of them held as many codes as an image has, or the model gave NaN.
        """
        assert isinstance(self.settings, DrawSettings)
        prompts = [self.vocabulary.about_text(self.settings.instruction, request.prompt) for request in requests]
        generators = [_generator(request.seed) for request in requests]
        drawn: dict[int, list[int]] = {}
        tried: list[list[int]] = [[] for _ in requests]
        for _ in range(self.settings.attempts):
            waiting = [index for index in range(len(requests)) if index not in drawn]
            answers = self._answers([prompts[i] for i in waiting], [generators[i] for i in waiting])
            for index, answer in zip(waiting, answers, strict=True):
                codes = self.vocabulary.codes_in(answer)
                tried[index].append(len(codes))
                if len(codes) == self.vqgan.config.codes:
                    drawn[index] = codes
        for index in range(len(requests)):
            if index not in drawn:
                raise ValueError(
                    f"none of {len(tried[index])} answers is an image of {self.vqgan.config.codes} codes; they hold "
                    f"{', '.join(map(str, tried[index]))}"
                )
        return [self.picture(drawn[index]) for index in range(len(requests))]

    def _answers(self, prompts: Sequence[list[int]], generators: Sequence[torch.Generator]) -> Iterator[list[int]]:
        """The model's answers, all at once or one by one, in order."""
        together = len(prompts) if self.settings.batched else 1
        for start in range(0, len(prompts), max(1, together)):
            part = slice(start, start + together)
            yield from continue_prompts(
                self.language,
                prompts[part],
                self.settings.sampling,
                generators[part],
                self.settings.max_new_tokens,
                self.vocabulary.end,
            )

    def read(self, image: Image.Image) -> list[int]:
        """The codes of an image; one at a time, so that no other image's rounding can change one."""
        pixels = prepare_image(image, self.vqgan.config.ddconfig.resolution)
        codes: list[int] = self.vqgan.encode(pixels[None].to(self.device))[0].tolist()
        return codes

    def picture(self, codes: Sequence[int]) -> Image.Image:
        """The image that codes stand for, 8-bit RGB, clamped and rounded."""
        pixels = self.vqgan.decode(torch.tensor([codes], device=self.device))[0]
        if not torch.isfinite(pixels).all():
            raise ValueError("the model drew NaN or Inf")
        grey = ((pixels / 2 + 0.5).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(grey.cpu().numpy()))


def prepare_image(image: Image.Image, size: int) -> Tensor:
    """Scale the shorter side, cut out the middle, as the public code does.

    Args:
        image: Any mode Pillow can turn into RGB; Lanczos, up or down.
        size: Side of the square in pixels.

    Returns:
        float32 [3, size, size] in [-1, 1].
    """
    scale = size / min(image.size)
    width, height = (round(scale * side) for side in image.size)
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    left, top = round((width - size) / 2), round((height - size) / 2)
    square = scaled.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255.0 * 2.0 - 1.0


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: LlmCxr) -> tuple[type[Loadable], ReportWriter, ImageDrawer]:
        return LlmCxr, model, model
