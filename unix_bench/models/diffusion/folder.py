"""A pipeline's folder: what model_index.json says it is made of, and whether each part's files are whole and fit.

    model_index.json                class of the pipeline, and library and class of each part
    scheduler/scheduler_config.json
    tokenizer*/                     vocab.json and merges.txt, spiece.model, or tokenizer.json
    text_encoder*/  unet/ or transformer/  vae/
        config.json
        *.safetensors               one file, or an index and the shards that it names

Only headers of weights are read here. Pickles are not read at all, nor is any code that lies in the folder.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.diffusion.pipelines import pipeline_class
from unix_bench.models.diffusion.scheduler import check_scheduler
from unix_bench.models.diffusion.settings import EXTRA
from unix_bench.models.fit import check_fit
from unix_bench.models.networks import check_network
from unix_bench.models.plain_words import in_plain_words, quiet
from unix_bench.released import CONFIG, Shards, missing_readers, read_json
from unix_bench.weights import check_floating

INDEX = "model_index.json"
LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
# The judge of what may be shown and what it looks through: never loaded, so that no image is blacked out.
SAFETY = {"safety_checker": None, "feature_extractor": None}
UNSAFE = {"requires_safety_checker": False}
# Drawn into the image if its package is installed, and then seen by every metric.
WATERMARK = {"add_watermarker": False}
TEXT_WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"
VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("tokenizer.model",),
)


@dataclass(frozen=True)
class Part:
    """A part of a pipeline.

    Attributes:
        name: Its folder, and what the pipeline calls it.
        library: "diffusers" or "transformers".
        kind: Its class.
    """

    name: str
    library: str
    kind: Any

    @property
    def network(self) -> bool:
        return issubclass(self.kind, nn.Module)


@dataclass(frozen=True)
class PipelineFolder:
    """A folder whose model_index.json was read and found to be of a class that can be run.

    Attributes:
        folder: Where it lies.
        release: Where it comes from, for messages.
        name: Class of the pipeline.
        parts: All that are loaded, in the index's order.
    """

    folder: Path
    release: str
    name: str
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, directory: Path, card: ModelCard) -> PipelineFolder:
        """Read the index of the weights' folder, or of the folder of the card's base below it.

        Raises:
            UserError: There is none, it is damaged, of another class than the card's, or names a part that cannot be.
        """
        places = [directory, *(directory / name for name in card.parts)]
        folder = next((place for place in places if (place / INDEX).is_file()), places[-1])
        release = next((part.hub_id for name, part in card.parts.items() if directory / name == folder), card.hub_id)
        release = release or "its release"
        stated = read_json(folder / INDEX, release)
        name = stated.get("_class_name")
        if not isinstance(name, str):  # a list names a file of code beside the index
            raise UserError(
                f"{folder / INDEX} names no class of diffusers but {name!r}, and code from a folder is not run"
            )
        if card.architecture and name != card.architecture:
            raise UserError(f"{folder / INDEX} describes {name}, not {card.architecture}: copy {release} to {folder}")
        taken = inspect.signature(pipeline_class(name).__init__).parameters
        entries = {key: value for key, value in stated.items() if isinstance(value, list) and key not in SAFETY}
        parts = tuple(
            _part(folder, key, value) for key, value in entries.items() if key in taken and value != [None, None]
        )
        found = cls(folder, release, name, parts)
        optional = set(pipeline_class(name)._optional_components) | SAFETY.keys()
        found._lacks_nothing([key for key in found._expected(taken) if key not in optional])
        return found

    @property
    def kind(self) -> Any:
        """The pipeline's class."""
        return pipeline_class(self.name)

    @cached_property
    def switched_off(self) -> dict[str, Any]:
        """Arguments that keep the safety checker and the watermark out, of a class that has them."""
        taken = inspect.signature(self.kind.__init__).parameters
        unwanted = WATERMARK | (SAFETY | UNSAFE if "safety_checker" in taken else {})
        return {key: value for key, value in unwanted.items() if key in taken}

    def config(self, name: str) -> dict[str, Any]:
        """What config.json of a part says; nothing for a part that is not there."""
        held = any(part.name == name for part in self.parts)
        return read_json(self.folder / name / CONFIG, self.release) if held else {}

    def built_config(self, part: Part) -> Any:
        """Configuration of a part of transformers as its class completes it.

        Raises:
            UserError: It is missing or damaged.
        """
        place = self.folder / part.name
        read_json(place / CONFIG, self.release)
        with (
            in_plain_words(f"{place / CONFIG} describes no {part.kind.__name__}", f"copy {self.release} there again"),
            quiet(),
        ):
            return part.kind.config_class.from_pretrained(place, local_files_only=True)

    def check(self) -> dict[str, Any]:
        """See that every part's files are there, whole, and fit; returns the parts by name, networks without weights.

        Raises:
            UserError: Names the file, and every tensor that is missing, unknown or of another shape.
        """
        parts = {part.name: self._check_part(part) for part in self.parts}
        for name, part in parts.items():
            if isinstance(part, transformers.PreTrainedTokenizerBase):
                self._check_tokens(name, part, parts.get(name.replace("tokenizer", "text_encoder")))
        return parts

    def load(self, dtype: torch.dtype) -> Any:
        """The pipeline with its weights, on the CPU. `check` comes first: the library fills in what is missing.

        Raises:
            UserError: The library finds something wrong.
        """
        with (
            in_plain_words(f"{self.folder} cannot be loaded as {self.name}", f"copy {self.release} there again"),
            silent(),
        ):
            pipeline = self.kind.from_pretrained(
                self.folder, dtype=dtype, local_files_only=True, use_safetensors=True, **self.switched_off
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def empty(self, parts: Mapping[str, Any]) -> Any:
        """The pipeline around parts as `check` returns them, to ask what would go where."""
        taken = inspect.signature(self.kind.__init__).parameters
        absent = {key: None for key in self._expected(taken) if key not in parts}
        with silent():
            return self.kind(**{**absent, **parts, **self.switched_off})

    def _expected(self, taken: Mapping[str, inspect.Parameter]) -> list[str]:
        """Parts of the class: what its constructor takes without saying otherwise, and its optional ones."""
        optional = self.kind._optional_components
        empty = inspect.Parameter.empty
        return [key for key, given in taken.items() if key != "self" and (given.default is empty or key in optional)]

    def _lacks_nothing(self, needed: list[str]) -> None:
        lost = [name for name in needed if all(part.name != name for part in self.parts)]
        if lost:
            raise UserError(f"{self.folder / INDEX} names no {', no '.join(lost)}: copy {self.release} there again")

    def _check_part(self, part: Part) -> Any:
        place = self.folder / part.name
        if part.network:
            diffused = part.library == "diffusers"
            return check_network(place, part.kind, self.release) if diffused else self._check_text_network(part)
        if hasattr(part.kind, "load_config"):
            check_scheduler(place, part.kind, self.release)
        elif issubclass(part.kind, transformers.PreTrainedTokenizerBase):
            _check_vocabulary(place, self.release)
        else:
            read_json(place / PREPROCESSOR, self.release)
        with (
            in_plain_words(f"{place} cannot be read as {part.kind.__name__}", f"copy {self.release} there again"),
            silent(),
        ):
            return part.kind.from_pretrained(place, local_files_only=True)

    def _check_text_network(self, part: Part) -> Any:
        place, config = self.folder / part.name, self.built_config(part)
        with (
            in_plain_words(f"{place / CONFIG} describes no {part.kind.__name__}", f"copy {self.release} there again"),
            torch.device("meta"),
        ):
            network = part.kind(config)
        with Shards.open(place, [TEXT_WEIGHTS], self.release) as shards:
            check_fit(part.kind, config, shards.shapes, place)
            check_floating(shards.path, shards.shapes)
        return network

    def _check_tokens(self, name: str, tokenizer: Any, encoder: Any) -> None:
        """Raise `UserError` if a vocabulary has tokens that its text encoder has no embedding for.

        What the library adds to it of its own accord, such as Gemma's <mask>, does not count.
        """
        rows = getattr(getattr(encoder, "config", None), "vocab_size", None)
        if isinstance(rows, int) and tokenizer.vocab_size > rows:
            raise UserError(
                f"{self.folder / name} has {tokenizer.vocab_size} tokens and its text encoder embeddings for {rows}: "
                f"copy both from {self.release}"
            )


def _part(folder: Path, name: str, entry: list[Any]) -> Part:
    library, kind = (*entry, None, None)[:2]
    found = getattr(LIBRARIES[library], kind, None) if library in LIBRARIES and isinstance(kind, str) else None
    if found is None or not hasattr(found, "from_pretrained"):
        raise UserError(
            f"{folder / INDEX} says that {name} is {entry}, which is no class of diffusers {diffusers.__version__} or "
            f"transformers {transformers.__version__}: code from a folder is not run"
        )
    if not (folder / name).is_dir():
        raise UserError(f"{folder / name} is missing: copy the whole pipeline there")
    if kind.startswith("Auto") and library == "transformers":  # the class would be what a configuration says
        raise UserError(f"{folder / INDEX} leaves the class of {name} open ({kind}): name the class itself there")
    return Part(name, library, found)


def _check_vocabulary(place: Path, release: str) -> None:
    held = [names for names in VOCABULARIES if all((place / name).is_file() for name in names)]
    if not held:
        known = ", ".join(" with ".join(names) for names in VOCABULARIES)
        raise UserError(f"{place} holds no vocabulary ({known}): copy it from {release}")
    if held[0][0].endswith(".model") and (lost := missing_readers()):
        raise UserError(f"{place / held[0][0]} needs {' and '.join(lost)} to be read: {EXTRA}")


@contextmanager
def silent() -> Iterator[None]:
    """Keep both libraries from printing; what matters of what they would say is said in sentences here."""
    logging = diffusers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
