"""What predicts in a run: a model whose weights are found and loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from unix_bench.cards import ModelCard, TaskCard, Value
from unix_bench.data import Study
from unix_bench.errors import UserError, unknown_name
from unix_bench.execution import Make, set_arithmetic
from unix_bench.models import Loadable, model_family
from unix_bench.models.external import introduce, needs_folder
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec, sample_seed
from unix_bench.tasks import TaskAdapter
from unix_bench.weights import WeightsIdentity, identify, made_once, mark_stand_in, stand_in_name


class Source(Protocol):
    """What predicts."""

    @property
    def identity(self) -> WeightsIdentity:
        """What it is called, and the digest of what decides its answers."""

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings, complete."""

    @property
    def weights(self) -> Path | None:
        """Where its weights lie; None: it has none."""

    @property
    def restricted(self) -> bool:
        """Do its answers show restricted data, whatever the test set is?"""

    def check(self) -> None:
        """See whether it would load, without loading it; raises `UserError` if not."""

    def worker(self, spec: PredictSpec, adapter: TaskAdapter, device: str) -> Make[Study, Any]:
        """What makes a worker on a device, in whatever process: it asks about studies, one output each."""


@dataclass(frozen=True)
class ModelSource:
    """A model under test.

    Attributes:
        directory: Where it is loaded from: its weights', or of a command's the one that it runs in.
    """

    card: ModelCard
    directory: Path
    identity: WeightsIdentity
    settings: dict[str, Any]
    restricted: bool = False

    @classmethod
    def find(
        cls, card: ModelCard, task: TaskCard, overrides: dict[str, str], stated: Path | None, settings: Settings
    ) -> ModelSource:
        """Find a model's weights and complete its settings for a task.

        Args:
            card: Which model.
            task: What it is to do.
            overrides: `--set key=value`.
            stated: Where its weights are said to be; None: as configured.
            settings: Where weights and the cache are.

        Raises:
            UserError: The weights are not there, or a setting does not fit them.
        """
        family = model_family(card.family)
        wanted = override(card.settings.get(task.name, {}), overrides)
        if card.command:
            return cls._find_external(card, family, task, wanted, stated, settings)
        weights = find_weights(card, family, stated, settings)
        identity = identify(weights, card.name, settings.cache)
        _say_what_is_unverified(card, identity)
        complete = family.complete_settings(weights, card, task.kind, wanted)
        # What torch compiles for this model, another run need not compile again; workers inherit where it lies.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.cache / "compiled"))
        as_run = card.model_copy(update={"settings": {**card.settings, task.name: complete}})
        return cls(as_run, weights, identity, complete)

    @classmethod
    def _find_external(
        cls,
        card: ModelCard,
        family: type[Loadable],
        task: TaskCard,
        wanted: dict[str, Value],
        stated: Path | None,
        settings: Settings,
    ) -> ModelSource:
        """A model of which its server says who it is; a folder there must be only if the command lies in one."""
        directory = find_command(card, family, stated, settings)
        digest, complete = introduce(card, directory, task.kind, wanted)
        stand_in = stand_in_name(directory)
        identity = WeightsIdentity(stand_in or card.name, digest, demo=stand_in is not None)
        _say_what_is_unverified(card, identity)
        return cls(card, directory, identity, complete)

    @property
    def weights(self) -> Path | None:
        return None if self.card.command else self.directory

    def check(self) -> None:
        model_family(self.card.family).check_weights(self.directory, self.card)

    def worker(self, spec: PredictSpec, adapter: TaskAdapter, device: str) -> Make[Study, Any]:
        return _Predictor(self.card, self.directory.resolve(), spec, adapter, device)


def _say_what_is_unverified(card: ModelCard, identity: WeightsIdentity) -> None:
    if "weights" in card.verified and not identity.demo:
        print(f"{card.title}: {card.verified['weights']}", file=sys.stderr)


@dataclass(frozen=True)
class _Predictor:
    """Loads a model and asks it."""

    card: ModelCard
    weights: Path
    spec: PredictSpec
    adapter: TaskAdapter
    device: str
    threads: int = field(default_factory=torch.get_num_threads)  # everywhere as here: the last digits depend on it

    def __call__(self) -> Callable[[Sequence[Study]], Sequence[Any]]:
        torch.set_num_threads(self.threads)
        set_arithmetic(self.spec.deterministic)
        family = model_family(self.card.family)
        model = family.load(self.weights, self.card, self.spec.settings, self.spec.dtype, self.device)

        def predict(studies: Sequence[Study]) -> Sequence[Any]:
            seeds = [sample_seed(self.spec.seed, self.spec.task, study.id) for study in studies]
            return self.adapter.predict(model, studies, seeds)

        return predict


def find_weights(card: ModelCard, family: type[Loadable], stated: Path | None, settings: Settings) -> Path:
    """The directory of a model's weights: as stated, else below the weights folder, else demo weights.

    Raises:
        UserError: A place was named and the weights are not there.
    """
    if stated is not None:
        place = _from_hub_cache(stated)
        inner = place / card.weights
        directory = inner if inner.is_dir() else place
        if not directory.is_dir():
            raise UserError(
                f"--weights {stated} is neither a folder nor a repository in the local cache of huggingface_hub: give "
                f"the folder that holds {card.title}'s files"
            )
        return directory
    if settings.weights is not None:
        directory = settings.weights / card.weights
        if not directory.is_dir():
            source = f" ({card.hub_id})" if card.hub_id else ""
            raise UserError(
                f"{directory} does not exist: put the weights of {card.title}{source} there, "
                "or unset the weights folder to run with demo weights"
            )
        return directory
    directory = demo_weights(card, settings.cache / "demo-weights" / f"{card.name}-{family.demo_version}")
    print(
        f"No weights configured: {card.title} runs with random demo weights, and its numbers mean nothing "
        "(`unix-bench doctor` tells how to configure real ones).",
        file=sys.stderr,
    )
    return directory


def _from_hub_cache(stated: Path) -> Path:
    """Where the local cache of huggingface_hub keeps the repository `ORG/NAME`, if there is no such folder here."""
    if stated.is_dir() or stated.is_absolute() or len(stated.parts) != 2:
        return stated
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    with suppress(HFValidationError, LocalEntryNotFoundError):
        return Path(snapshot_download(stated.as_posix(), local_files_only=True))
    return stated


def find_command(card: ModelCard, family: type[Loadable], stated: Path | None, settings: Settings) -> Path:
    """The folder that a model's command runs in: its weights' if it speaks of them, else as stated, or this one.

    Raises:
        UserError: It is not there.
    """
    if needs_folder(card):
        return find_weights(card, family, stated, settings)
    if stated is not None and not stated.is_dir():
        raise UserError(f"--weights {stated} is not a folder: give the one that {card.title}'s command runs in")
    return stated or Path()


def demo_weights(card: ModelCard, directory: Path) -> Path:
    """A model's tiny stand-in, made where it is absent.

    Raises:
        UserError: There can be none, or the place cannot be written to.
    """
    if not card.weights:
        raise UserError(f"'{card.name}' has no weights, and needs none")
    family = model_family(card.family)

    def make(place: Path) -> None:
        family.write_demo_weights(place, card)
        if stand_in_name(place) is None:
            mark_stand_in(place, f"{card.name}-demo")

    return made_once(directory, make)


def override(stated: dict[str, Value], changes: dict[str, str]) -> dict[str, Value]:
    """A card's settings with the user's `--set key=value`, each read as the type the card has.

    Raises:
        UserError: A key the card does not have, or a value of another type.

    >>> override({"steps": 50, "interval": [0.4, 1.0]}, {"steps": "9", "interval": "0,1"})
    {'steps': 9, 'interval': [0.0, 1.0]}
    """
    settings = dict(stated)
    for key, text in changes.items():
        if key not in settings:
            raise unknown_name("setting", key, settings) if settings else UserError(f"there is no setting '{key}' here")
        settings[key] = _parse(key, text, settings[key])
    return settings


def _parse(key: str, text: str, example: Value) -> Value:
    try:
        if isinstance(example, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(example, list):
            return [float(part) for part in text.strip("[]").split(",")]
        return type(example)(text)
    except (ValueError, KeyError) as error:
        kinds = {bool: "true or false", int: "a whole number", float: "a number", list: "numbers with commas between"}
        raise UserError(f"--set {key}={text}: it must be {kinds[type(example)]}, such as {example}") from error
