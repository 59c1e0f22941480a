"""What a card may set of a reference point, and which points answer which kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError, unknown_name
from unix_bench.models import checked_settings

LARGEST = 4096  # pixels a side; a mean is summed in memory
Side = Annotated[int, Field(ge=0, le=LARGEST, description=f"pixels from 1 to {LARGEST}, or 0 for images as they are")]
Choice = Annotated[Literal["auto", "training", "test"], Field(description="auto, training or test")]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Nothing(_Settings):
    """A point without any choice."""


class Pictures(_Settings):
    """Images of studies, `longest_side` pixels at most."""

    longest_side: Side


class ChosenPictures(Pictures):
    """The same; `images` says of which set: "auto" is the training set where one is configured."""

    images: Choice


class Mean(_Settings):
    """One square image of `size` pixels a side."""

    size: int = Field(ge=1, le=LARGEST, description=f"pixels from 1 to {LARGEST}")
    images: Choice


class Text(_Settings):
    """One report."""

    text: str = Field(min_length=1, pattern=r"\S", description="a report")


# (point, kind of task) -> what may be set; other pairs have no meaning.
OF_POINT: dict[tuple[str, str], type[_Settings]] = {
    ("real", "report"): Nothing,
    ("real", "generation"): ChosenPictures,
    ("shuffled", "report"): Nothing,
    ("shuffled", "generation"): Pictures,
    ("mean-image", "generation"): Mean,
    ("normal-report", "report"): Text,
    ("nearest-neighbour", "report"): Nothing,
    ("nearest-neighbour", "generation"): Pictures,
}


def check_settings(card: ModelCard, kind: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as stated, if the point that a card names (`architecture`) has just these, each of its type.

    Raises:
        UserError: There is no such point, it has no answers of this kind, or a setting does not fit.
    """
    point = card.architecture
    points = dict.fromkeys(name for name, _ in OF_POINT)
    if point not in points:
        raise UserError(f"card '{card.name}', architecture: {unknown_name('reference point', point, points)}")
    model = OF_POINT.get((point, kind))
    if model is None:
        raise UserError(f"card '{card.name}': the reference point '{point}' has no answer for tasks of kind {kind}")
    checked_settings(model, stated, f"card '{card.name}': its settings for {kind}", f"'{card.name}':")
    return dict(stated)
