"""Whether what a reader makes of an image and a question is what the model of the same folder takes.

Else every sample would fail, or run in another geometry than it was trained in. One question is read on a grey image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unix_bench.errors import UserError
from unix_bench.models.plain_words import in_plain_words
from unix_bench.models.vlm.readers import Question, Reader

TRIAL = Image.new("L", (80, 60), 128)  # wider than high, so that it matters whether an image is squared


def fewest_tokens(config: Any) -> int:
    """So many tokens a question has at least: those of one image where all images take as many, else 1."""
    if config.model_type == "gemma3":
        return int(config.mm_tokens_per_image)
    vision = config.vision_config
    if config.model_type == "janus" or (config.model_type, vision.model_type) == ("llava", "clip_vision_model"):
        return int(vision.image_size // vision.patch_size) ** 2
    return 1


def check_reading(reader: Reader, model: Any, config: Any, system: str, directory: Path) -> None:
    """Read one question and compare it with what the model takes.

    Args:
        reader: Of the release.
        model: Class of transformers.
        config: Its configuration.
        system: The system prompt that questions will have.
        directory: For messages.

    Raises:
        UserError: A question cannot be asked, or tokens or pixels are not those that the model takes.
    """
    with in_plain_words(f"the chat template in {directory} does not take a system prompt, an image and a text"):
        inputs = reader.read([Question(TRIAL, system, "Describe this image.")])
    entries = config.get_text_config().vocab_size
    last = max(reader.tokenizer.get_vocab().values())
    if last >= entries:
        raise UserError(
            f"the tokenizer in {directory} counts up to token {last}, and the model of its config.json has {entries}: "
            "copy the tokenizer and config.json of one release"
        )
    unfit = f"the image preprocessing in {directory} does not fit the model of its config.json"
    with in_plain_words(unfit), torch.inference_mode():
        taken = _features_of_patches(inputs, config) if "image_grid_thw" in inputs else _features(inputs, model, config)
    found = int((inputs["input_ids"] == config.image_token_id).sum())
    if found != taken:
        raise UserError(
            f"{unfit} (a question holds {found} tokens {config.image_token_id} for an image that the model sees as "
            f"{taken}): copy the release's files again"
        )


def _features(inputs: dict[str, Tensor], model: Any, config: Any) -> int:
    """How many tokens the model makes of the pixels, by running it on tensors that hold nothing."""
    with torch.device("meta"):
        empty = model(config).eval()
    seen = empty.model.get_image_features(pixel_values=inputs["pixel_values"].to("meta")).pooler_output
    return sum(one.shape[0] for one in seen)  # an image each, [tokens, dim]


def _features_of_patches(inputs: dict[str, Tensor], config: Any) -> int:
    """The same for Qwen's, whose pixels come in patches; by counting, since they do not run without numbers.

    Raises:
        ValueError: The patches have another size than the model's.
    """
    vision, pixels = config.vision_config, inputs["pixel_values"]
    patches = int(inputs["image_grid_thw"].prod(-1).sum())
    wanted = (patches, vision.in_channels * vision.temporal_patch_size * vision.patch_size**2)
    if tuple(pixels.shape) != wanted:
        raise ValueError(f"patches are {list(pixels.shape)}, not {list(wanted)}")
    return int(patches // vision.spatial_merge_size**2)
