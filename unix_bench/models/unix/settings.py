"""What a card may set of UniX, and of which type: checked where a user's words come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from unix_bench.models.settings import checked_settings

Flag = Annotated[bool, Field(description="true or false")]
Whole = Annotated[int, Field(description="a whole number")]
Number = Annotated[float, Field(description="a number")]
Time = Annotated[float, Field(gt=0.0, le=1.0)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rotary_bf16: Flag


class ReportSettings(_Settings):
    """How a report is written; how long it may be the weights say."""

    max_new_tokens: Whole


class _PictureSettings(_Settings):
    size: Whole  # pixels; 0: the largest the weights were made for


class DrawSettings(_PictureSettings):
    """How an image is drawn; `SamplerSettings` says what the numbers may be."""

    num_timesteps: Whole
    timestep_shift: Number
    cfg_text_scale: Number
    cfg_img_scale: Number
    cfg_interval: list[float] = Field(description="two numbers")
    cfg_renorm_type: str = Field(description="a name in quotes")
    cfg_renorm_min: Number


class ProbeSettings(_PictureSettings):
    """At which times a pair is weighed."""

    timesteps: list[Time] = Field(min_length=1, description="one or several numbers above 0 and at most 1")


OF_KIND: dict[str, type[_Settings]] = {"report": ReportSettings, "generation": DrawSettings, "probe": ProbeSettings}


def check_settings(kind: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as stated, if a task of this kind has just these and each is of its type.

    Raises:
        UserError: A setting is missing, unknown or of another type.

    >>> check_settings("report", {"max_new_tokens": "64", "rotary_bf16": True})
    Traceback (most recent call last):
        ...
    unix_bench.errors.UserError: UniX's report setting max_new_tokens must be a whole number, not '64'
    """
    checked_settings(OF_KIND[kind], stated, f"a UniX card's settings for {kind}", f"UniX's {kind} setting")
    return dict(stated)
