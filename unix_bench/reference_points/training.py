"""Training studies that reference points may answer with: none of a patient, or with an image, of the test set."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unix_bench.cards import TaskCard
from unix_bench.data import DataSet, Study, check_images, open_data
from unix_bench.data.loading import ordered_map
from unix_bench.errors import UserError
from unix_bench.protocols.generation import Training
from unix_bench.settings import PREFIX, Settings
from unix_bench.weights import digest_file

HOW = (
    f"name a data set or folder of training studies with --training-data, in {PREFIX}TRAINING_DATA, or as "
    "`training_data` in unix-bench.toml"
)


@dataclass(frozen=True)
class TrainingStudies:
    """Studies of the training set that share nothing with the test set.

    Attributes:
        tag: Name, content digest and pixel digest of the set, as scorings state it.
        digest: sha256 over ids, texts, labels and files of just these studies.
        restricted: Nothing that shows them may leave the machine.
        studies: Those whose image can be read, in order.
    """

    tag: str
    digest: str
    restricted: bool
    studies: list[Study]

    @classmethod
    def beside(cls, test: DataSet, task: TaskCard, settings: Settings) -> TrainingStudies | None:
        """The configured training set without what it shares with a test set; None where none is configured.

        Says on stderr how many studies that leaves out.

        Raises:
            UserError: The set is not there, has no usable rows, or nothing but what the test set has too.
        """
        if not settings.training_data:
            return None
        data = open_data(settings.training_data, task.sets, settings)
        training = Training.of(data, settings)  # which rows count is decided there, for scorings too
        rows = {study.inputs.image: study for study in reversed(data.studies)}
        candidates = [rows[image] for image in training.images]
        opened = check_images(candidates, settings.cache).opened
        patients = {study.patient_id for study in test.studies if study.patient_id}
        pictures = _digests((study.inputs.image for study in test.studies), settings.cache)
        kept = [s for s in candidates if s.patient_id not in patients and opened[s.id].digest not in pictures]
        if not kept:
            raise UserError(
                f"training data '{data.name}' has no study that '{test.name}' has not too, by patient or by image: "
                "name a set apart from the test set"
            )
        if len(kept) < len(candidates):
            print(
                f"{len(candidates) - len(kept)} of {len(candidates)} training studies are left out: "
                f"{test.name} has their patient or their image",
                file=sys.stderr,
            )
        total = hashlib.sha256(data.content_digest.encode())
        for study in kept:
            total.update(json.dumps([study.id, opened[study.id].digest]).encode() + b"\n")
        return cls(training.tag, total.hexdigest(), data.restricted, kept)


def _digests(paths: Iterable[Path], cache: Path) -> set[str]:
    """sha256 of every file that can be read; the others have no image to share."""

    def look(path: Path) -> str | None:
        try:
            return digest_file(path, cache)
        except OSError:
            return None

    return {digest for digest in ordered_map(look, paths) if digest is not None}
