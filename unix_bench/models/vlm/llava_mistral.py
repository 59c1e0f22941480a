r"""LLaVA-Med v1.5 in its released layout (`model_type` llava_mistral), read as transformers' Llava.

    model-*.safetensors             `model.layers...`, `model.mm_projector.{0,2}`, `lm_head`, and where the vision tower
                                    was trained too `model.vision_tower.vision_tower.vision_model...`
    clip-vit-large-patch14-336/     configuration and preprocessing of the tower; its weights where they are not above

An image is padded to a square with CLIP's mean colour where config.json says so; a grey one with one grey. The
conversation is `[INST] <image>\n... [/INST]`, and the text before and after the image is tokenised each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaTokenizer, LlavaConfig, MistralConfig
from transformers import LlavaForConditionalGeneration as Llava

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.fit import UNUSED
from unix_bench.models.plain_words import in_plain_words
from unix_bench.models.vlm.checkpoint import read_config, read_tensors
from unix_bench.models.vlm.readers import Question, check_preprocessing, refuse_special_tokens, require_any
from unix_bench.released import CONFIG
from unix_bench.weights import TensorFile

MODEL_TYPE, ARCHITECTURE = "llava_mistral", "LlavaMistralForCausalLM"
TOWER = "clip-vit-large-patch14-336"  # folder, and the name that config.json ends its mm_vision_tower with
TOWER_FILES = ("model.safetensors", "pytorch_model.bin")
# What the release calls a tensor -> what transformers' Llava calls it on disk; the first that fits.
RENAMED = (
    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
    ("model.vision_tower.vision_tower.", "vision_tower."),
    ("model.embed_tokens.", "language_model.model.embed_tokens."),
    ("model.layers.", "language_model.model.layers."),
    ("model.norm.", "language_model.model.norm."),
    ("lm_head.", "language_model.lm_head."),
)
# Settings under which the released code does something that is not done here.
REQUIRED = {
    "mm_projector_type": ("mlp2x_gelu",),
    "mm_vision_select_feature": ("patch",),
    "mm_use_im_start_end": (False, None),
    "mm_use_im_patch_token": (False,),
    "image_aspect_ratio": ("pad", "square", None),
}


class Release:
    """The released folder, looked through."""

    def __init__(self, directory: Path, card: ModelCard) -> None:
        """Read its configuration.

        Raises:
            UserError: A file is missing or damaged, or says what is not done here.
        """
        self.directory, self.card = directory, card
        self.stated = read_config(directory, card)
        if card.architecture != Llava.__name__:
            raise UserError(
                f"{directory / CONFIG} says model_type {MODEL_TYPE}, which is no {card.architecture}: "
                f"copy {card.hub_id} there"
            )
        if self.stated.get("architectures") != [ARCHITECTURE]:
            raise UserError(
                f"{directory / CONFIG} says architectures {self.stated.get('architectures')}, not {ARCHITECTURE}: "
                f"copy {card.hub_id} there"
            )
        for name, allowed in REQUIRED.items():
            if self.stated.get(name) not in allowed:
                raise UserError(
                    f"{directory / CONFIG} says {name} {self.stated.get(name)}, and only {allowed[0]} is known here: "
                    f"copy {card.hub_id} there"
                )
        self.tokenizer = load_tokenizer(directory)
        with in_plain_words(f"{directory / CONFIG} describes no {Llava.__name__}"):
            self.config = self._config()

    @staticmethod
    def is_one(directory: Path, card: ModelCard) -> bool:
        """Does the folder hold this layout?"""
        return read_config(directory, card).get("model_type") == MODEL_TYPE

    def _config(self) -> Any:
        tower = read_config(self.directory / TOWER, self.card.parts.get(TOWER, self.card))
        vision = CLIPVisionConfig.from_dict(tower.get("vision_config", tower))
        own = ("model_type", "architectures", "auto_map")
        text = MistralConfig(**{name: value for name, value in self.stated.items() if name not in own})
        # Mistral's tokenizer spells what it does not know in bytes, so that <unk> stands in no text and can mark the
        # image's places.
        return LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=self.tokenizer.unk_token_id,
            projector_hidden_act="gelu",
            vision_feature_layer=self.stated["mm_vision_select_layer"],
            vision_feature_select_strategy="default",
        )

    def tensors(self) -> dict[str, Tensor]:
        """Tensors by transformers' names, mapped from their files; one that is not known keeps the name it has.

        Raises:
            UserError: A file is missing or damaged.
        """
        tensors = {_renamed(key): tensor for key, tensor in read_tensors(self.directory, self.card).items()}
        if any(name.startswith("vision_tower.") for name in tensors):
            return tensors
        folder = self.directory / TOWER
        path = next((folder / name for name in TOWER_FILES if (folder / name).is_file()), folder / TOWER_FILES[0])
        with TensorFile.open(path) as tower:
            kept = [key for key in tower.shapes if key.startswith("vision_model.") and not UNUSED.match(key)]
            return tensors | {f"vision_tower.{key}": tower.read(key) for key in kept}

    def reader(self) -> LlavaMistralReader:
        """What makes the model's inputs.

        Raises:
            UserError: The preprocessing is missing or damaged.
        """
        check_preprocessing(self.directory / TOWER)
        with in_plain_words(f"the preprocessing in {self.directory / TOWER} cannot be read"):
            images = CLIPImageProcessorPil.from_pretrained(self.directory / TOWER, local_files_only=True)
        return LlavaMistralReader(self.tokenizer, images, self.config, self.stated.get("image_aspect_ratio") == "pad")


class LlavaMistralReader:
    """Asks as the released code asks under `mistral_instruct`."""

    def __init__(self, tokenizer: Any, images: Any, config: Any, pad: bool) -> None:
        self.tokenizer, self._images, self._pad = tokenizer, images, pad
        self._image_id = config.image_token_index
        vision = config.vision_config
        self._patches = (vision.image_size // vision.patch_size) ** 2

    def read(self, questions: Sequence[Question]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` [n, longest], padded on the left; `pixel_values` [n, 3, height, width]."""
        rows = [self._ids(question) for question in questions]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.tokenizer.eos_token_id)  # anything but the image's mark
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, longest - len(row) :] = torch.tensor(row)
            mask[index, longest - len(row) :] = 1
        shown = [self._squared(question.image) for question in questions]
        pixels = self._images(shown, return_tensors="pt")["pixel_values"]
        return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}

    def _ids(self, question: Question) -> list[int]:
        refuse_special_tokens(self.tokenizer, question)
        if "<image>" in question.text or "<image>" in question.system:
            raise ValueError("the question holds <image>, which stands for the image to this model")
        system = f"<<SYS>>\n{question.system}\n<</SYS>>\n\n" if question.system else ""
        before, after = f"[INST] {system}", f"\n{question.text} [/INST]"
        chunks = [self.tokenizer(chunk, add_special_tokens=False)["input_ids"] for chunk in (before, after)]
        if any(self._image_id in chunk for chunk in chunks):
            raise ValueError("the question holds what this model's tokenizer does not know")
        return [self.tokenizer.bos_token_id, *chunks[0], *[self._image_id] * self._patches, *chunks[1]]

    def _squared(self, image: Image.Image) -> Image.Image:
        """The image in the middle of a square, RGB; the released code moves it down or right by no pixel or one."""
        if not self._pad or image.width == image.height:
            return image.convert("RGB")
        side, means = max(image.size), self._images.image_mean
        grey = image.mode == "L"  # which the released code does not make RGB before it is padded
        colour = int(255 * sum(means) / len(means)) if grey else tuple(int(mean * 255) for mean in means)
        square = Image.new("L" if grey else "RGB", (side, side), colour)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square.convert("RGB")


def load_tokenizer(directory: Path) -> Any:
    """Mistral's tokenizer, as Llama's: `AutoTokenizer` would leave out the space that it puts before every text.

    Raises:
        UserError: Its files are missing or damaged, or need a package that is not installed.
    """
    require_any(directory, ("tokenizer.json", "tokenizer.model"))
    require_any(directory, ("tokenizer_config.json",))
    if not (directory / "tokenizer.json").is_file() and find_spec("sentencepiece") is None:
        raise UserError(f"{directory / 'tokenizer.model'} needs sentencepiece to be read: pip install sentencepiece")
    with in_plain_words(f"the tokenizer in {directory} cannot be read"):
        tokenizer = LlamaTokenizer.from_pretrained(directory, local_files_only=True)
    if None in (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id):
        raise UserError(f"the tokenizer in {directory} lacks <unk>, <s> or </s>: copy the release's files again")
    return tokenizer


def _renamed(key: str) -> str:
    for theirs, ours in RENAMED:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key
