"""What predicts in a run: a model whose weights are found and loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from unix_bench.cards import ModelCard, TaskCard, Value
from unix_bench.data import Study
from unix_bench.execution import Make, set_arithmetic
from unix_bench.model_folders import find_command, find_weights
from unix_bench.models import Loadable, model_family
from unix_bench.models.external import introduce
from unix_bench.overrides import overridden
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec, sample_seed
from unix_bench.tasks import TaskAdapter
from unix_bench.weights import WeightsIdentity, identify, stand_in_name


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


COMPILED = "compiled"  # part of the cache


@dataclass(frozen=True)
class ModelSource:
    """A model under test.

    Attributes:
        directory: Where it is loaded from: its weights', or of a command's the one that it runs in.
        compiled: Where it is kept what torch compiles for it, for the next run.
    """

    card: ModelCard
    directory: Path
    identity: WeightsIdentity
    settings: dict[str, Any]
    compiled: Path
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
        wanted = overridden(card, task.name, overrides)
        if card.command:
            return cls._find_external(card, family, task, wanted, stated, settings)
        weights = find_weights(card, family, stated, settings)
        identity = identify(weights, card.name, settings.cache)
        _say_what_is_unverified(card, identity)
        complete = family.complete_settings(weights, card, task.kind, wanted)
        as_run = card.model_copy(update={"settings": {**card.settings, task.name: complete}})
        return cls(as_run, weights, identity, complete, settings.cache / COMPILED)

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
        return cls(card, directory, identity, complete, settings.cache / COMPILED)

    @property
    def weights(self) -> Path | None:
        return None if self.card.command else self.directory

    def check(self) -> None:
        model_family(self.card.family).check_weights(self.directory, self.card)

    def worker(self, spec: PredictSpec, adapter: TaskAdapter, device: str) -> Make[Study, Any]:
        return _Predictor(self.card, self.directory.resolve(), self.compiled, spec, adapter, device)


def _say_what_is_unverified(card: ModelCard, identity: WeightsIdentity) -> None:
    if "weights" in card.verified and not identity.demo:
        print(f"{card.title}: {card.verified['weights']}", file=sys.stderr)


@dataclass(frozen=True)
class _Predictor:
    """Loads a model and asks it."""

    card: ModelCard
    weights: Path
    compiled: Path
    spec: PredictSpec
    adapter: TaskAdapter
    device: str
    threads: int = field(default_factory=torch.get_num_threads)  # everywhere as here: the last digits depend on it

    def __call__(self) -> Callable[[Sequence[Study]], Sequence[Any]]:
        torch.set_num_threads(self.threads)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self.compiled))
        if self.device.startswith("cuda"):
            torch.cuda.set_device(self.device)  # what a model makes without naming a device belongs there
        set_arithmetic(self.spec.deterministic)
        family = model_family(self.card.family)
        model = family.load(self.weights, self.card, self.spec.settings, self.spec.dtype, self.device)

        def predict(studies: Sequence[Study]) -> Sequence[Any]:
            seeds = [sample_seed(self.spec.seed, self.spec.task, study.id) for study in studies]
            return self.adapter.predict(model, studies, seeds)

        return predict
