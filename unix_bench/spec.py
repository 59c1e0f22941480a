"""The identity of a run and of a scoring: two specs that are equal give the same numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

OnError = Literal["drop-pair", "fail", "score-zero", "score-as-nan", "score-as-black"]
Uncertain = Literal["negative", "positive"]
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class PredictSpec:
    """Everything that decides what a model predicts.

    Attributes:
        model: Name in tables; a stand-in's own name for demo weights.
        weights: sha256 of the weights directory.
        task, task_version: Of the task card.
        data, data_digest: The test set and its content digest.
        instruction: Question put to the model, if the task has one.
        settings: Sampler or decoder settings, complete.
        seed: Of the run; a sample's own seed follows from it, the task and the sample's id.
        subset: Name of a fixed subset and digest of its ids; None: the whole set.
        limit: The first so many eligible studies; None: all.
        batch_size: Fixes the batch plan, and with it the last digits.
        dtype, device: "float32" | "bfloat16" | "float16"; "cpu" | "cuda".
        deterministic: Deterministic kernels asked for.
    """

    model: str
    weights: str
    task: str
    task_version: int
    data: str
    data_digest: str
    instruction: str | None
    settings: dict[str, Any]
    seed: int
    subset: str | None
    limit: int | None
    batch_size: int
    dtype: str
    device: str
    deterministic: bool

    @property
    def run_id(self) -> str:
        """Readable, and different for every different spec."""
        return f"{_slug(self.model)}-{self.task}-{_slug(self.data)}-{digest(self)[:12]}"


@dataclass(frozen=True)
class ScoreSpec:
    """Everything that decides how predictions become numbers.

    Attributes:
        protocol: Name of the way of computing them, with its version.
        instruments: Encoder, labeller or plug-in -> digest of its weights.
        absent: Those that are not there, or gave nothing -> why; with them there would be more values.
        pixels: Digest of the reference images where the scoring reads them; None for texts.
        training: The set of training images that the scoring reads, by name and content digest; None: none.
        per_pathology: Rows for each of the 14 findings too.
        uncertain: What an uncertain label counts as where a row takes the studies that show a finding.
        on_error: What a failed prediction counts as; "score-as-nan" is the published evaluation's report "nan",
            "score-as-black" its black image.
    """

    protocol: str
    protocol_version: int
    instruments: dict[str, str]
    absent: dict[str, str]
    pixels: str | None
    training: str | None
    per_pathology: bool
    uncertain: Uncertain
    on_error: OnError

    @property
    def folder(self) -> str:
        return f"{self.protocol}-{digest(self)[:8]}"


@dataclass(frozen=True)
class Shard:
    """A part of a run that another process or machine does: every `of`-th batch of the plan.

    Attributes:
        index: 0 to of - 1.
    """

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`; counted from 0 or from 1, since shard n is shard 0.

        Raises:
            ValueError: It is something else.

        >>> Shard.parse("3/3")
        Shard(index=0, of=3)
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        index, of = map(int, found.groups()) if found else (0, 0)
        if not 0 <= index <= of or of < 1:
            raise ValueError(f"{text}: write I/N, such as 0/3, 1/3 and 2/3")
        return cls(index % of, of)

    @property
    def name(self) -> str:
        return f"{self.index}-of-{self.of}"

    def part(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Those batches that are this shard's.

        >>> Shard(1, 3).part("abcde")
        'be'
        """
        return batches[self.index :: self.of]


def digest(spec: PredictSpec | ScoreSpec) -> str:
    """sha256 of the spec's canonical JSON."""
    return hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode()).hexdigest()


def sample_seed(run_seed: int, task: str, sample: str) -> int:
    """The seed of one sample, the same whatever batch or worker it falls to.

    >>> sample_seed(0, "generation", "a") == sample_seed(0, "generation", "b")
    False
    """
    key = json.dumps([run_seed, task, sample]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def _slug(text: str) -> str:
    """Letters, digits, dots and dashes of a name, for a folder's name."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._") else "-" for letter in text)
    return "-".join(part for part in kept.split("-") if part)[:40] or "data"
