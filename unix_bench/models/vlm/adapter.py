"""Chat-style models as the bench runs them: settings checked, requests turned into one walk a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation import GenerationMixin

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError, unknown_name
from unix_bench.models.base import ReportRequest
from unix_bench.models.fit import UNUSED, check_fit, check_numbers
from unix_bench.models.vlm.answers import answer
from unix_bench.models.vlm.checkpoint import answer_ends, built_config, load_model, model_class, read_tensors
from unix_bench.models.vlm.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.vlm.geometry import check_reading, fewest_tokens
from unix_bench.models.vlm.llava_mistral import Release
from unix_bench.models.vlm.readers import PROCESSORS, ChatReader, Question, Reader
from unix_bench.models.vlm.sampling import choices
from unix_bench.models.vlm.settings import ReportSettings

if TYPE_CHECKING:
    from unix_bench.models.base import Loadable, ReportWriter


@dataclass(frozen=True)
class Opened:
    """A release's folder, of which all is there that a run needs, and fits.

    Attributes:
        config: Of the model, as transformers reads it.
        tensors: By the names that transformers' class has on disk, mapped from their files.
        reader: Makes the model's inputs.
        ends: Tokens that end an answer.
    """

    config: Any
    tensors: Mapping[str, Tensor]
    reader: Reader
    ends: list[int]


class VisionLanguageModel:
    """Writes reports with one loaded model."""

    demo_version = DEMO_VERSION

    def __init__(self, model: Any, reader: Reader, settings: ReportSettings, ends: list[int]) -> None:
        self.model, self.reader, self.settings, self._ends = model, reader, settings, ends
        # Several releases sample or penalise repetition, and `generate` would fill in from theirs what ours leaves out.
        model.generation_config = GenerationConfig()
        self._last: list[tuple[ReportRequest, str]] = []

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings; how long an answer may be the weights say."""
        _check_architecture(card)
        if kind != "report":
            raise UserError(f"{card.title} writes reports here; it has no settings for {kind}")
        settings = ReportSettings.checked(stated, card.title)
        config = Release(directory, card).config if Release.is_one(directory, card) else built_config(directory, card)
        limit = config.get_text_config().max_position_embeddings - fewest_tokens(config)
        if settings.max_new_tokens > limit:
            raise UserError(f"max_new_tokens must be 1 to {limit} for these weights, not {settings.max_new_tokens}")
        return settings.model_dump()

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        _check_architecture(card)
        checked = ReportSettings.checked(settings, card.title)
        opened = _open(directory, card, checked.system)
        model = load_model(model_class(card.architecture), opened.config, opened.tensors, directory, dtype, device)
        return cls(model, opened.reader, checked, opened.ends)

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See from the files' headers whether `load` would work; raises as it does."""
        _check_architecture(card)
        system = next((str(stated["system"]) for stated in card.settings.values() if "system" in stated), "")
        _open(directory, card, system)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write a tiny stand-in of the card's class, in the layout of its release."""
        _check_architecture(card)
        write_demo_weights(directory, card)

    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """One report a request.

        Where an answer cannot be found in what was written for one request, the call raises, and the bench asks again
        for each alone; what was written stays at hand for that, and nothing is written twice.

        Raises:
            NoAnswer: A text holds no report.
            ValueError: A question cannot be asked, or the weights give no numbers.
        """
        texts = self._recalled(requests) or self._written(requests)
        settings = self.settings
        return [answer(text, settings.extract, settings.section) for text in texts]

    def _recalled(self, requests: Sequence[ReportRequest]) -> list[str]:
        """What was written for these requests in the last call that wrote; empty unless it was for all."""
        found = [next((text for asked, text in self._last if asked == request), None) for request in requests]
        return [] if None in found else [text for text in found if text is not None]

    def _written(self, requests: Sequence[ReportRequest]) -> list[str]:
        """The whole text that the model writes for each request."""
        if not requests:
            return []
        settings = self.settings
        questions = [
            Question(
                one.image if one.image.mode == "L" else one.image.convert("RGB"),
                settings.system,
                settings.question(one.instruction, one.indication),
            )
            for one in requests
        ]
        texts = self.ask(questions, [one.seed for one in requests])
        self._last = list(zip(requests, texts, strict=True))
        return texts

    @torch.inference_mode()
    def ask(self, questions: Sequence[Question], seeds: Sequence[int]) -> list[str]:
        """What the model writes, whole.

        Args:
            questions: One an answer.
            seeds: One an answer; they decide what is drawn.

        Raises:
            ValueError: A question and its answer have no room, or cannot be asked.
        """
        inputs = {name: self._placed(value) for name, value in self.reader.read(questions).items()}
        asked = inputs["input_ids"].shape[1]
        room = self.model.config.get_text_config().max_position_embeddings
        if asked + self.settings.max_new_tokens > room:
            raise ValueError(
                f"a question of {asked} tokens, those of the image among them, and {self.settings.max_new_tokens} new "
                f"ones exceed the {room} that the model has positions for"
            )
        # The mixin's own: Janus' `generate` does not hand on what is done to the scores.
        written = GenerationMixin.generate(
            self.model,
            **inputs,
            generation_config=self._decoding(),
            logits_processor=choices(self.settings, seeds, inputs["attention_mask"]),
        )
        texts: list[str] = self.reader.tokenizer.batch_decode(
            written[:, asked:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def _placed(self, value: Any) -> Any:
        """An input on the model's device, in its precision where it is not a count or a mask."""
        return value.to(device=self.model.device, dtype=self.model.dtype if value.is_floating_point() else None)

    def _decoding(self) -> GenerationConfig:
        """All that decides a walk, beside `choices`."""
        return GenerationConfig(
            max_new_tokens=self.settings.max_new_tokens,
            do_sample=False,  # the best of what `choices` leaves
            num_beams=1,
            use_cache=True,
            eos_token_id=self._ends,
            pad_token_id=self._ends[0],  # after an answer's end, where it is skipped
        )


def _check_architecture(card: ModelCard) -> None:
    if card.architecture not in PROCESSORS:
        raise UserError(f"card '{card.name}': {unknown_name('architecture', card.architecture, PROCESSORS)}")


def _open(directory: Path, card: ModelCard, system: str) -> Opened:
    """Look through a release's folder, in the layout of transformers or of LLaVA-Med.

    Raises:
        UserError: A file is missing or damaged, or does not fit the others.
    """
    model = model_class(card.architecture)
    release = Release(directory, card) if Release.is_one(directory, card) else None
    config = release.config if release else built_config(directory, card)
    tensors = release.tensors() if release else read_tensors(directory, card)
    check_fit(model, config, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, directory)
    check_numbers({name: tensor for name, tensor in tensors.items() if not UNUSED.match(name)}, directory)
    reader = release.reader() if release else ChatReader.load(directory, card.architecture)
    ends = answer_ends(directory, card, reader.tokenizer, stated_apart=release is None)
    check_reading(reader, model, config, system, directory)
    return Opened(config, tensors, reader, ends)


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: VisionLanguageModel) -> tuple[type[Loadable], ReportWriter]:
        return VisionLanguageModel, model
