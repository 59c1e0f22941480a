"""What a model under test looks like to the bench. A model sees requests, never studies or references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from PIL import Image

from unix_bench.cards import ModelCard


@dataclass(frozen=True)
class ReportRequest:
    """Write a report about this image (mode L or RGB); where words are drawn, the seed alone decides how they fall."""

    id: str
    image: Image.Image
    instruction: str
    indication: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class ImageRequest:
    """Draw an image from this prompt; the seed alone decides the noise."""

    id: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class ProbePair:
    """A test pair to be weighed, its answer openly beside what is asked.

    Attributes:
        image: Mode L or RGB; it is read, and it is what should be drawn.
        instruction: Question that the report answers.
        report: None: the pair has none, and no report loss is asked for.
        prompt: None: the pair has none, and no flow loss is asked for.
    """

    id: str
    image: Image.Image
    instruction: str
    report: str | None
    prompt: str | None


@dataclass(frozen=True)
class PairLosses:
    """What a pair costs a model; None for what was not asked for, or what the model does not do.

    Attributes:
        report_nats: Cross entropy of the report, teacher-forced, summed over its tokens.
        report_tokens: How many these are, the end of the report among them.
        flow_mse: Mean squared error of the velocity.
    """

    report_nats: float | None = None
    report_tokens: int | None = None
    flow_mse: float | None = None


class Loadable(Protocol):
    """The class a registered family names; a card says which model of the family is meant.

    `model_family` sees to it that nothing is missing.

    Attributes:
        demo_version: Changes whenever its demo weights do.
    """

    demo_version: str

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings of a run and add what the weights decide; `kind` is the task card's.

        Raises:
            UserError: A value is impossible for this model.
        """

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        """Load the model from its weights directory.

        Raises:
            UserError: The weights are missing or do not fit.
        """

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See from the files' headers whether `load` would work; raises as it does."""

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Make the directory and write a tiny random stand-in into it, in the layout of the real weights.

        Raises:
            UserError: There can be none.
        """


class ReportWriter(Protocol):
    """A model that reads images."""

    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """One report a request, in order."""


class ImageDrawer(Protocol):
    """A model that draws images."""

    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One 8-bit RGB or grey image a request, in order."""


class Probe(Protocol):
    """A model whose training losses can be had of single pairs."""

    def losses(self, pairs: Sequence[ProbePair], seeds: Sequence[int]) -> list[PairLosses]:
        """Losses of each pair, in order; its seed alone decides the noise on its image."""
