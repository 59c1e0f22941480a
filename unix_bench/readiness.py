"""Could a model be run here, and if not, what is missing?"""

from __future__ import annotations

from dataclasses import dataclass

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models import model_family
from unix_bench.reference_points import FAMILY as REFERENCE_POINT
from unix_bench.settings import FILE, PREFIX, Settings
from unix_bench.weights import stand_in_name


@dataclass(frozen=True)
class Readiness:
    """How a model stands on this machine.

    Attributes:
        ready: It runs as itself, with its own weights or none.
        state: Where it lies, or what is missing.
        remedy: What to do; empty: nothing.
    """

    ready: bool
    state: str
    remedy: str = ""

    @property
    def text(self) -> str:
        return f"{self.state}: {self.remedy}" if self.remedy else self.state


def readiness(card: ModelCard, settings: Settings) -> Readiness:
    """Look at what a model needs, without loading it, network or write."""
    if card.family == REFERENCE_POINT:
        if card.architecture == "nearest-neighbour" and settings.training_data is None:
            return Readiness(False, "no training set", f"name one in {PREFIX}TRAINING_DATA, or with --training-data")
        return Readiness(True, "needs no weights")
    if settings.weights is None:
        if card.family == "recorded":
            return Readiness(False, "no recorded predictions", "give the folder that holds them as --weights")
        how = f"set {PREFIX}WEIGHTS, or `weights` in {FILE}, to a folder with {card.weights}/"
        source = f" (from {card.hub_id})" if card.hub_id else ""
        return Readiness(False, "not configured, demo weights are used", how + source)
    directory = settings.weights / card.weights
    if not directory.is_dir():
        files = f"the files of {card.hub_id}" if card.hub_id else "its files"
        return Readiness(False, f"{directory} is missing", f"put {files} there")
    try:
        model_family(card.family).check_weights(directory, card)
    except UserError as error:
        return Readiness(False, str(error))
    stand_in = stand_in_name(directory)
    if stand_in is not None:
        return Readiness(True, f"{directory} (stand-in: {stand_in})")
    alone = "; with --allow-external, in its own environment" if card.command else ""
    return Readiness(True, f"{directory}{alone}")
