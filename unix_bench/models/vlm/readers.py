"""From questions to what a model takes: chat template, image tokens and pixels, as the release's processor makes them.

Image processors are those on Pillow; torchvision is never needed. Questions of a batch are padded on the left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor
from transformers import (
    Gemma3Processor,
    JanusProcessor,
    LlavaProcessor,
    Qwen2_5_VLProcessor,
    Qwen3VLProcessor,
)
from transformers.processing_utils import ProcessorMixin

from unix_bench.errors import UserError
from unix_bench.models.plain_words import in_plain_words
from unix_bench.released import read_json

PREPROCESSING = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Question:
    """What a model is asked about an image.

    Attributes:
        image: RGB, or L where it is grey.
        system: System prompt; empty: none.
        text: The user's words.
    """

    image: Image.Image
    system: str
    text: str


class Reader(Protocol):
    """Makes a model's inputs.

    Attributes:
        tokenizer: Of the model.
    """

    tokenizer: Any

    def read(self, questions: Sequence[Question]) -> dict[str, Tensor]:
        """Inputs of the model's `generate`, `input_ids` [n, longest] among them.

        Raises:
            ValueError: A question cannot be asked.
        """


class _ImagesOnly:
    """Qwen's processors ask for a video processor, which needs torchvision; these do without.

    The parts of a processor are the parameters of its constructor, so leaving one out is all it takes.
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        for name in ("image", "video"):
            token = f"<|{name}_pad|>"
            setattr(self, f"{name}_token", token)
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
        for name in ("start", "end"):
            token = f"<|vision_{name}|>"
            setattr(self, f"vision_{name}_token", token)
            setattr(self, f"vision_{name}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


class Qwen25Images(_ImagesOnly, Qwen2_5_VLProcessor):  # type: ignore[misc]
    """Qwen2.5-VL's processor of still images."""


class Qwen3Images(_ImagesOnly, Qwen3VLProcessor):  # type: ignore[misc]
    """Qwen3-VL's processor of still images."""


PROCESSORS: Mapping[str, Any] = {
    "Gemma3ForConditionalGeneration": Gemma3Processor,
    "JanusForConditionalGeneration": JanusProcessor,
    "LlavaForConditionalGeneration": LlavaProcessor,
    "Qwen2_5_VLForConditionalGeneration": Qwen25Images,
    "Qwen3VLForConditionalGeneration": Qwen3Images,
}


class ChatReader:
    """Asks through the release's own processor and chat template."""

    def __init__(self, processor: Any) -> None:
        self._processor, self.tokenizer = processor, processor.tokenizer
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token  # masked, whichever it is

    @classmethod
    def load(cls, directory: Path, architecture: str) -> ChatReader:
        """Read the processor's files.

        Args:
            directory: Of the weights.
            architecture: Class of transformers.

        Raises:
            UserError: One is missing or damaged, or does not state what changes numbers.
        """
        # A release without a tokenizer gets an empty one from transformers, without a word.
        require_any(directory, ("tokenizer.json", "tokenizer.model"))
        require_any(directory, ("tokenizer_config.json",))
        check_preprocessing(directory)
        with in_plain_words(f"the processor's files in {directory} cannot be used"):
            processor = PROCESSORS[architecture].from_pretrained(directory, backend="pil", local_files_only=True)
        if not processor.chat_template:
            raise UserError(f"{directory} holds no chat template: copy chat_template.json or chat_template.jinja there")
        return cls(processor)

    def read(self, questions: Sequence[Question]) -> dict[str, Tensor]:
        """All that the processor returns, so that every model gets the masks and types that it needs."""
        for question in questions:
            refuse_special_tokens(self.tokenizer, question)
        inputs = self._processor.apply_chat_template(
            [_conversation(question) for question in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        return dict(inputs)


def _conversation(question: Question) -> list[dict[str, Any]]:
    said = [{"type": "image", "image": question.image.convert("RGB")}, {"type": "text", "text": question.text}]
    system = [{"role": "system", "content": [{"type": "text", "text": question.system}]}] if question.system else []
    return [*system, {"role": "user", "content": said}]


def refuse_special_tokens(tokenizer: Any, question: Question) -> None:
    """See that words are words: what spells a token of the tokenizer's own would end a turn or stand for an image.

    Raises:
        ValueError: They are not; names the token.
    """
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    for token in sorted(added | set(tokenizer.all_special_tokens)):
        if token in question.text or token in question.system:
            raise ValueError(f"the question holds {token}, which means something of its own to this model")


def require_any(directory: Path, names: Sequence[str]) -> None:
    """See that one of these files is there; raises `UserError` if not."""
    if not any((directory / name).is_file() for name in names):
        raise UserError(f"{directory} holds no {' and no '.join(names)}: copy it from the release")


def check_preprocessing(directory: Path) -> None:
    """See that the preprocessing of images states what transformers would fill in by a default of its own.

    Raises:
        UserError: The file is missing or damaged, or does not.
    """
    require_any(directory, PREPROCESSING)
    path, stated = _preprocessing(directory)
    for name in ("image_mean", "image_std"):
        numbers = stated.get(name)
        if not isinstance(numbers, list) or [type(number) in (int, float) for number in numbers] != [True] * 3:
            raise UserError(f"{path} states no {name} of three numbers: copy it from the release again")
    if stated.get("size") is None and None in (stated.get("min_pixels"), stated.get("max_pixels")):
        raise UserError(f"{path} does not state the size that images are brought to: copy it from the release again")
    for name, value in stated.items():
        if name.startswith("do_") and value not in (True, False, None):
            raise UserError(f"{path} says {name} {value!r}, not true or false: copy it from the release again")


def _preprocessing(directory: Path) -> tuple[Path, dict[str, Any]]:
    """The file that transformers reads it from, and what it states: a part of the newer file, else the older file."""
    older, newer = (directory / name for name in PREPROCESSING)
    inner = read_json(newer, "the release").get("image_processor") if newer.is_file() else None
    return (newer, inner) if isinstance(inner, dict) else (older, read_json(older, "the release"))
