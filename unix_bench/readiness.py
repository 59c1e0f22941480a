"""Could a model be run here, and if not, what is missing?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models import model_family
from unix_bench.models.external import TEMPLATE_COMMAND, needs_folder
from unix_bench.reference_points import FAMILY as REFERENCE_POINT
from unix_bench.settings import FILE, PREFIX, Settings
from unix_bench.weights import stand_in_name


@dataclass(frozen=True)
class Readiness:
    """How a model stands on this machine.

    Attributes:
        ready: It runs as itself, with its own weights or none; not as a stand-in.
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
    if card.command and not needs_folder(card):
        return _checked(card, Path(), "needs no folder")
    if settings.weights is None:
        if card.family == "recorded":
            return Readiness(False, "no recorded predictions", "give the folder that holds them as --weights")
        how = f"set {PREFIX}WEIGHTS, or `weights` in {FILE}, to a folder with {card.weights}/"
        source = f" (from {card.hub_id})" if card.hub_id else ""
        return Readiness(False, f"not configured{_demo(card)}", how + source)
    directory = settings.weights / card.weights
    files = f"the files of {card.hub_id}" if card.hub_id else "its files"
    if not directory.is_dir():
        return Readiness(False, f"{directory} is missing", f"put {files} there")
    found = _checked(card, directory, str(directory))
    if found.ready and (stand_in := stand_in_name(directory)):
        return Readiness(False, f"{directory} (stand-in: {stand_in})", f"move it away and put {files} there")
    return found


def _demo(card: ModelCard) -> str:
    """What is run where no weights are configured."""
    if not card.command:
        return ", demo weights are used"
    return ", with --allow-external a demo is used" if card.command == TEMPLATE_COMMAND else ""


def _checked(card: ModelCard, directory: Path, state: str) -> Readiness:
    try:
        model_family(card.family).check_weights(directory, card)
    except UserError as error:
        return Readiness(False, str(error))
    return Readiness(True, f"{state}; with --allow-external, in its own environment" if card.command else state)
