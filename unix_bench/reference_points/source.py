"""Reference points as sources of predictions: every answer is laid out beforehand, by study."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unix_bench.cards import ModelCard, TaskCard
from unix_bench.data import DataSet, Study, check_images, open_image
from unix_bench.data.loading import ordered_map
from unix_bench.errors import UserError
from unix_bench.execution import Make, ProgressLine
from unix_bench.features import Encoder, FeatureStore
from unix_bench.features.geometry import PAD_SQUARE
from unix_bench.overrides import overridden
from unix_bench.protocols.generation.encoders import judge, stamp
from unix_bench.reference_points.pairing import deranged, matched
from unix_bench.reference_points.pictures import as_png, mean_image
from unix_bench.reference_points.retrieval import nearest_rows, nearest_texts
from unix_bench.reference_points.settings import check_settings
from unix_bench.reference_points.training import HOW, TrainingStudies
from unix_bench.settings import Settings
from unix_bench.spec import PredictSpec
from unix_bench.tasks import TaskAdapter
from unix_bench.weights import WeightsIdentity

FAMILY = "reference-point"
VERSION = "1"  # raised whenever a point's answers change
Answer = str | bytes | Path  # a report, a PNG file's content, or the image file that becomes one


@dataclass(frozen=True)
class ReferenceSource:
    """A reference point at work on the studies of a run.

    Attributes:
        kind: Of the task.
        data: The test set.
        eligible: The run's studies, in order; each gets an answer unless it cannot be used.
        seed: Of the run.
        training: What it answers with, where that is not the test set's own.
        encoder: What finds the nearest image; None: the point asks for none.
        pixels: Digest of the test images where an image is made of all of them.
        places: Where features and digests are kept.
    """

    card: ModelCard
    kind: str
    settings: dict[str, Any]
    data: DataSet
    eligible: Sequence[Study]
    seed: int
    training: TrainingStudies | None
    encoder: Encoder | None
    pixels: str | None
    places: Settings
    weights: Path | None = None

    @classmethod
    def find(
        cls,
        card: ModelCard,
        task: TaskCard,
        overrides: dict[str, str],
        data: DataSet,
        eligible: Sequence[Study],
        seed: int,
        settings: Settings,
    ) -> ReferenceSource:
        """Complete a point's settings and find what it answers with; says on stderr which images these are.

        Args:
            card: Names the point as its `architecture`.
            task: What is to be answered.
            overrides: `--set key=value`.
            data: The test set.
            eligible: The run's studies, in order.
            seed: Of the run.
            settings: Where the training set and the encoder are.

        Raises:
            UserError: A setting does not fit, or what the point needs is not there or too little.
        """
        stated = check_settings(card, task.kind, overridden(card, task.name, overrides))
        point = card.architecture
        training = None
        if point == "nearest-neighbour" or stated.get("images") in ("auto", "training"):
            training = TrainingStudies.beside(data, task, settings)
        if training is None and (point == "nearest-neighbour" or stated.get("images") == "training"):
            raise UserError(f"'{card.name}' answers from a training set, and none is configured: {HOW}")
        if "images" in stated:
            stated["images"] = "test" if training is None else "training"
        encoder = judge(settings, PAD_SQUARE) if point == "nearest-neighbour" and task.kind == "report" else None
        if training is not None:
            stated["training"] = training.tag
        if encoder is not None:
            stated["encoder"] = f"{encoder.name}@{encoder.digest[:8]}"
        own_mean = point == "mean-image" and training is None
        pixels = check_images(eligible, settings.cache).pixel_digest if own_mean else None
        source = cls(card, task.kind, stated, data, eligible, seed, training, encoder, pixels, settings)
        source._tell()
        source._see_to_enough()
        return source

    @property
    def identity(self) -> WeightsIdentity:
        """Its name, and a digest of what decides its answers beside seed, settings and test set, which specs state."""
        parts = [
            self.card.architecture,
            VERSION,
            self.kind,
            self.pixels,
            self.training.digest if self.training else None,
            stamp(self.encoder) if self.encoder else None,
        ]
        demo = self.encoder is not None and self.encoder.stand_in
        return WeightsIdentity(self.card.name, hashlib.sha256(json.dumps(parts).encode()).hexdigest(), demo)

    @property
    def restricted(self) -> bool:
        """Does it answer with restricted data, whatever the test set is?"""
        return self.training is not None and self.training.restricted

    def check(self) -> None:
        """All was looked at when it was found; it has no weights to load."""

    def worker(self, spec: PredictSpec, adapter: TaskAdapter, device: str) -> Make[Study, Any]:
        return _Giver(self._answers, self.settings.get("longest_side", 0))

    @cached_property
    def _answers(self) -> Mapping[str, Answer]:
        """The answer of every usable study, by id."""
        whole = [study for study in self.eligible if study.problem is None]
        if self.card.architecture == "normal-report":
            return dict.fromkeys((study.id for study in whole), str(self.settings["text"]))
        if self.card.architecture == "mean-image":
            return dict.fromkeys((study.id for study in whole), self._mean())
        return {identity: self._own(study) for identity, study in self._partners(whole).items()}

    def _partners(self, whole: Sequence[Study]) -> Mapping[str, Study]:
        """Whose report or image each study is given."""
        if self.card.architecture == "nearest-neighbour":
            return self._nearest(whole)
        if self.card.architecture == "shuffled":
            return deranged(whole, self.seed)
        if self.training is not None:
            return matched(whole, self.training.studies, self.seed)
        return {study.id: study for study in whole}

    def _own(self, study: Study) -> Answer:
        return (study.reference.report or "") if self.kind == "report" else study.reference.image

    def _nearest(self, whole: Sequence[Study]) -> Mapping[str, Study]:
        assert self.training is not None, "no neighbour is sought without a training set"
        pool = self._pool(self.training.studies)
        if self.encoder is None:
            found = nearest_texts([s.inputs.prompt or "" for s in whole], [s.inputs.prompt or "" for s in pool])
        else:
            readable = check_images(whole, self.places.cache).opened
            whole = [study for study in whole if study.id in readable]
            paths = [study.inputs.image for study in (*whole, *pool)]
            with ProgressLine(f"features of {self.encoder.column}", len(paths)) as line:
                store = FeatureStore.of(self.places)
                rows = store.features(paths, self.encoder, self.places.cache, line.advance)
            found = nearest_rows(rows[: len(whole)], rows[len(whole) :])
        return {study.id: pool[index] for study, index in zip(whole, found.tolist(), strict=True)}

    def _pool(self, studies: Sequence[Study]) -> list[Study]:
        """Those of the training set that have what is looked for."""
        if self.kind == "report":
            return [study for study in studies if study.reference.report is not None]
        return [study for study in studies if study.inputs.prompt is not None]

    def _mean(self) -> bytes:
        if self.training is not None:
            paths = [study.reference.image for study in self.training.studies]
        else:
            opened = check_images(self.eligible, self.places.cache).opened
            paths = [study.reference.image for study in self.eligible if study.id in opened]
        with ProgressLine("mean image", len(paths)) as line:
            return as_png(mean_image(paths, self.settings["size"], line.advance))

    def _tell(self) -> None:
        if "images" in self.settings:
            of = f"training set {self.settings['training']}" if self.training else "test set itself"
            print(f"{self.card.title}: images are those of the {of}", file=sys.stderr)

    def _see_to_enough(self) -> None:
        """Raise `UserError` where there is too little to answer with."""
        point, name = self.card.architecture, self.card.name
        usable = sum(study.problem is None for study in self.eligible)
        if point == "shuffled" and usable < 2:
            raise UserError(
                f"'{name}' gives each study another one's answer: take two usable studies or more, not {usable}"
            )
        if self.training is None:
            return
        there = len(self.training.studies)
        if point == "real" and there < usable:
            raise UserError(
                f"'{name}' gives each of {usable} studies an image of its own, and training data "
                f"{self.training.tag} has {there} apart from the test set: name a larger set, or say --set images=test"
            )
        if point == "nearest-neighbour" and not self._pool(self.training.studies):
            lacking = "report" if self.kind == "report" else "prompt"
            raise UserError(f"'{name}': no row of training data {self.training.tag} has a {lacking}: add that column")


@dataclass(frozen=True)
class _Giver:
    """Hands out answers, in whatever process."""

    answers: Mapping[str, Answer]
    longest_side: int

    def __call__(self) -> Callable[[Sequence[Study]], Sequence[Any]]:
        return self._give

    def _give(self, studies: Sequence[Study]) -> list[str | bytes]:
        return list(ordered_map(self._one, studies))

    def _one(self, study: Study) -> str | bytes:
        answer = self.answers[study.id]
        return as_png(open_image(answer), self.longest_side) if isinstance(answer, Path) else answer
