"""What is asked of LLaVA-Rad, and how an image is made ready for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from unix_bench.errors import UserError
from unix_bench.models.settings import checked_settings

IMAGE, QUESTION, INDICATION = "<image>", "{question}", "{indication}"
Three = Annotated[list[float], Field(min_length=3, max_length=3, description="three numbers")]


class ReportSettings(BaseModel):
    """How a report is asked for and written.

    Attributes:
        max_new_tokens: A report ends after so many at the latest.
        template: The conversation, with one place for the image and one for the question.
        question: What is asked where no indication is known.
        question_with_indication: What is asked where one is, with one place for it.
        use_indication: False: the indication is never told.
        image_mean: Of red, green and blue, taken off pixels in 0..1.
        image_std: What they are then divided by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_new_tokens: Annotated[int, Field(ge=1, description="a whole number of 1 or more")]
    template: Annotated[str, Field(description="a text")]
    question: Annotated[str, Field(min_length=1, description="a text")]
    question_with_indication: Annotated[str, Field(description="a text")]
    use_indication: Annotated[bool, Field(description="true or false")]
    image_mean: Three
    image_std: Three

    @classmethod
    def checked(cls, stated: Mapping[str, Any]) -> ReportSettings:
        """The settings as stated.

        Raises:
            UserError: A setting is missing, unknown, of another type, or lacks a place.
        """
        settings = checked_settings(cls, stated, "a LLaVA-Rad card's settings for report", "LLaVA-Rad's setting")
        settings._check_places()
        return settings

    def _check_places(self) -> None:
        for name, place in (
            ("template", IMAGE),
            ("template", QUESTION),
            ("question_with_indication", INDICATION),
        ):
            if getattr(self, name).count(place) != 1:
                raise UserError(f"LLaVA-Rad's setting {name} must hold {place} once")
        if self.template.index(IMAGE) > self.template.index(QUESTION):
            raise UserError(f"LLaVA-Rad's setting template must have {IMAGE} before {QUESTION}")
        if not all(value > 0 for value in self.image_std) or not np.isfinite([*self.image_mean, *self.image_std]).all():
            raise UserError("LLaVA-Rad's settings image_mean and image_std must be finite, and image_std above 0")

    def conversation(self, indication: str | None) -> tuple[str, str]:
        """What is said before the image and after it."""
        told = (indication or "").strip() if self.use_indication else ""
        question = self.question_with_indication.replace(INDICATION, told) if told else self.question
        before, after = self.template.split(IMAGE)
        return before, after.replace(QUESTION, question)


def prepare_image(image: Image.Image, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale the shorter side to `size`, cut the middle square out, and normalise.

    Args:
        image: Mode L or RGB, any size; bicubic.
        size: Pixels a side.
        mean: Of the three channels, in 0..1.
        std: Of the three channels.

    Returns:
        float32 [3, size, size].
    """
    shorter = min(image.size)
    width, height = (size if side == shorter else int(size * side / shorter) for side in image.size)
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    square = scaled.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255.0
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
