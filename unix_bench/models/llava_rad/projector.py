"""What joins tower and language model: the projector, and the configuration that says how it was trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from unix_bench.errors import UserError
from unix_bench.models.llava_rad.tower import RELEASE, TAKEN
from unix_bench.released import CONFIG, read_json
from unix_bench.weights import NOTHING, TensorFile, check_tensors

WEIGHTS = "non_lora_trainables.bin"
NAMED = "mm_projector."
# Every other way of joining the two is another model than the one that is built here.
JOINED = {
    "model_type": "llava",
    "mm_vision_select_layer": TAKEN,
    "mm_vision_select_feature": "patch",
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
    "image_aspect_ratio": "square",
}


def check_joint(directory: Path) -> None:
    """See that the parts are joined as they are here.

    Raises:
        UserError: The configuration is missing or damaged, or says otherwise.
    """
    path = directory / CONFIG
    stated = read_json(path, RELEASE)
    for key, needed in JOINED.items():
        if stated.get(key) != needed:
            raise UserError(f"{path} says {key} {stated.get(key)!r}, LLaVA-Rad has {needed!r}: copy it from {RELEASE}")


def check_projector(directory: Path, narrow: int, wide: int) -> None:
    """See from the file's header whether `load_projector` would work; raises as it does."""
    with _checked(directory, narrow, wide)[1]:
        pass


def load_projector(directory: Path, narrow: int, wide: int, dtype: torch.dtype, device: str) -> nn.Sequential:
    """The projector with its weights.

    Args:
        directory: Folder of the release.
        narrow: Width of what the tower gives.
        wide: Width of what the language model takes.
        dtype: Of the weights.
        device: Where they go.

    Raises:
        UserError: The file is missing or damaged, or its tensors do not fit; all named.
    """
    projector, file, prefix = _checked(directory, narrow, wide)
    with file:
        tensors = {name: file.read(prefix + name).to(device, dtype) for name in projector.state_dict()}
    projector.load_state_dict(tensors, assign=True)
    return projector.eval()


def _checked(directory: Path, narrow: int, wide: int) -> tuple[nn.Sequential, TensorFile, str]:
    with torch.device("meta"):
        projector = nn.Sequential(nn.Linear(narrow, wide), nn.GELU(), nn.Linear(wide, wide))
    path = directory / WEIGHTS
    file = TensorFile.open(path)
    # How many wrappings the training code left before the name is not certain.
    found = next((name for name in file.shapes if NAMED in name), f"base_model.model.model.{NAMED}")
    prefix = found[: found.index(NAMED) + len(NAMED)]
    needed = {prefix + name: tuple(tensor.shape) for name, tensor in projector.state_dict().items()}
    check_tensors(path, file.shapes, needed, NOTHING)
    return projector, file, prefix
