"""What a card sets of a pipeline: what every class has, and the class's own arguments; nothing is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from unix_bench.errors import UserError
from unix_bench.models.diffusion.pipelines import COMMON, NEGATIVE, OFF, Asked
from unix_bench.models.settings import checked_settings

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
CLEANERS = {"bs4": "beautifulsoup4", "ftfy": "ftfy"}  # without them a pipeline would silently not clean
EXTRA = "pip install 'unix-bench[diffusers]'"


class DrawSettings(BaseModel):
    """What every pipeline is told.

    Attributes:
        steps: Of the scheduler, which is the one shipped with the weights.
        guidance_scale: As the pipeline means it; at 1 or below most are not guided at all.
        height: Pixels.
        width: Pixels.
        negative_prompt: What guidance leads away from.
        lora: LoRA file below the weights' folder; empty: none.
        lora_scale: What its changes are multiplied by.
        offload: Which parts wait in the CPU's memory: none, whole models, or every layer for itself.
        attention_slicing: Attention head by head: slower, in less memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    steps: Annotated[int, Field(ge=1, description="a whole number from 1")]
    guidance_scale: Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")]
    height: Annotated[int, Field(ge=1, description="a whole number of pixels")]
    width: Annotated[int, Field(ge=1, description="a whole number of pixels")]
    negative_prompt: Annotated[str, Field(description="a text")]
    lora: Annotated[str, Field(description="a .safetensors file below the weights' folder")]
    lora_scale: Annotated[float, Field(allow_inf_nan=False, description="a number")]
    offload: Annotated[Literal["none", "model", "sequential"], Field(description="none, model or sequential")]
    attention_slicing: Annotated[bool, Field(description="true or false")]

    @field_validator("lora")
    @classmethod
    def _below_the_folder(cls, lora: str) -> str:
        place = PurePosixPath(lora)
        if place.is_absolute() or ".." in place.parts or (lora and place.suffix != ".safetensors"):
            raise ValueError("it is elsewhere, or a pickle")
        return lora


@dataclass(frozen=True)
class Settings:
    """Settings of a run, complete.

    Attributes:
        draw: What every class has.
        own: What this class has beside: the tokens it reads, and arguments of its call.
    """

    draw: DrawSettings
    own: Mapping[str, bool | int | float | str]

    @classmethod
    def checked(cls, stated: Mapping[str, Any], asked: Asked, title: str, complete: bool) -> Settings:
        """The settings as stated, if a class of pipelines has just these.

        Args:
            stated: Name -> value.
            asked: What the class takes.
            title: What the model is called.
            complete: Its own arguments must all be stated; False: those that are not have the class's value.

        Raises:
            UserError: One is missing, unknown, of another type, out of bounds, or does not go with another.
        """
        names, of_title = [*DrawSettings.model_fields, *asked.own], f"{title}'s setting"
        wrong = {name for name in stated if name not in names}
        wrong |= {name for name in names if name not in stated and (complete or name not in asked.own)}
        if wrong:
            raise UserError(f"{title}'s settings are {', '.join(names)}: see to {', '.join(sorted(wrong))}")
        own = {name: _of_kind(stated.get(name, example), example, name, title) for name, example in asked.own.items()}
        shared = {name: stated[name] for name in DrawSettings.model_fields}
        settings = cls(checked_settings(DrawSettings, shared, f"{of_title}s", of_title), own)
        settings._go_together(asked, title)
        return settings

    def dump(self) -> dict[str, Any]:
        """All by name."""
        return {**self.draw.model_dump(), **self.own}

    def arguments(self, asked: Asked, prompts: list[str]) -> dict[str, Any]:
        """Arguments of the pipeline's call for some prompts, but for the generators."""
        common = {argument: getattr(self.draw, name) for name, argument in COMMON.items()}
        own = {name: value for name, value in self.own.items() if name in asked.called}
        switched = {name: value for name, value in OFF.items() if own.get(name) is False}
        plain = {name: value for name, value in own.items() if name not in OFF}
        # Without one SDXL is guided away from zeros, not from an empty text: a class that is not known decides itself.
        said = asked.negative and (self.draw.negative_prompt or asked.guided_by is not None)
        negative = {NEGATIVE: [self.draw.negative_prompt] * len(prompts)} if said else {}
        return {"prompt": prompts, **negative, **common, **plain, **switched}

    def _go_together(self, asked: Asked, title: str) -> None:
        for side in ("height", "width"):
            if (pixels := getattr(self.draw, side)) % asked.multiple:
                raise UserError(f"{title}'s setting {side} must be a multiple of {asked.multiple}, not {pixels}")
        if self.draw.negative_prompt and not asked.negative:
            raise UserError(f"{title}'s pipeline takes no negative_prompt: leave it empty")
        self._do_something(asked, title)
        tokens = self.own.get("max_sequence_length", 1)
        if asked.most_tokens and not 1 <= int(tokens) <= asked.most_tokens:
            raise UserError(
                f"{title}'s setting max_sequence_length must be from 1 to {asked.most_tokens}, not {tokens}"
            )
        lost = [package for module, package in CLEANERS.items() if find_spec(module) is None]
        if self.own.get("clean_caption") and lost:
            raise UserError(
                f"clean_caption needs what is not installed: pip install {' '.join(lost)}, or --set clean_caption=false"
            )

    def _do_something(self, asked: Asked, title: str) -> None:
        """Raise `UserError` for a setting that changes nothing: it would make another run of the same images."""
        if self.draw.lora_scale != 1.0 and not self.draw.lora:
            raise UserError(f"{title}'s setting lora_scale does nothing without a LoRA: name one, or leave it at 1")
        by = asked.guided_by
        if by is None or float(self.dump()[by]) > 1.0:
            return
        idle = [key for key in (NEGATIVE, "guidance_rescale") if self.dump().get(key)]
        if idle:
            raise UserError(
                f"{title}'s setting {idle[0]} does nothing while {by} is 1 or less: raise that, or leave it as it was"
            )


def _of_kind(value: Any, example: bool | int | float | str, name: str, title: str) -> bool | int | float | str:
    if type(value) is type(example) and not (isinstance(value, float) and value - value != 0):  # NaN and infinities
        return value
    raise UserError(f"{title}'s setting {name} must be {KINDS[type(example)]}, not {value!r}")
