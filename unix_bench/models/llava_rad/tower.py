"""The vision tower: DINOv2 (Oquab et al., arXiv 2304.07193) as timm names its parts, up to its last block but one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from unix_bench.errors import UserError
from unix_bench.released import read_json
from unix_bench.weights import Shapes, TensorFile, check_tensors

RELEASE = "microsoft/llava-rad"
CONFIG, CHECKPOINT = "biomedclipcxr_518.json", "biomedclipcxr_518_checkpoint.pt"
PREFIXES = ("module.visual.trunk.", "visual.trunk.")  # as open_clip trains, and as it serves
TRUNK = re.compile(r"vit_\w+_patch\d+_dinov2\b")
HEAD_DIM = 64  # of every DINOv2; the number of heads is in no tensor
NORM_EPS = 1e-6
TAKEN = -2  # of the states before the first block and after each: the projector was trained on the last but one


@dataclass(frozen=True)
class TowerShape:
    """Sizes of a tower; the released ones unless a checkpoint says otherwise.

    Attributes:
        grid: Patches along each side of an image.
    """

    width: int = 768
    depth: int = 12
    patch: int = 14
    grid: int = 37

    @property
    def heads(self) -> int:
        return self.width // HEAD_DIM

    @property
    def patches(self) -> int:
        return self.grid**2

    @property
    def pixels(self) -> int:
        """Pixels along each side of an image."""
        return self.grid * self.patch


class Tower(nn.Module):
    """Pixels to what the projector reads; names as in the checkpoint."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + shape.patches, shape.width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, shape.width, shape.patch, shape.patch)})
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, 3, pixels, pixels] to [n, patches, width], not normalised: the final norm comes after the last block."""
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # row by row
        states = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks[: len(self.blocks) + 1 + TAKEN]:
            states = block(states)
        return states[:, 1:]


class _Block(nn.Module):
    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        width = shape.width
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = _Attention(width, shape.heads)
        self.ls1 = _LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls2 = _LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x)))))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [n, heads, tokens, dim] each
        out: Tensor = self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def tower_pixels(directory: Path) -> int:
    """Pixels along each side of the images that the tower was trained on.

    Raises:
        UserError: The configuration is missing or damaged, or describes another tower.
    """
    path = directory / CONFIG
    vision = read_json(path, RELEASE).get("vision_cfg")
    trunk = vision.get("timm_model_name") if isinstance(vision, dict) else None
    if not isinstance(trunk, str) or not TRUNK.match(trunk):
        raise UserError(f"{path} describes the tower {trunk}, not a DINOv2 of timm: copy it from {RELEASE}")
    pixels = vision.get("image_size") if isinstance(vision, dict) else None
    if not isinstance(pixels, int) or pixels < 1:
        raise UserError(f"{path} says image_size {pixels!r}, not a number of pixels: copy it from {RELEASE} again")
    return pixels


def tower_shape(shapes: Shapes, prefix: str, pixels: int) -> TowerShape:
    """Sizes of the tower whose tensors have these shapes; the released sizes where a tensor is missing."""
    released = TowerShape()
    width = shapes.get(f"{prefix}cls_token", (released.width,))[-1]
    patch = shapes.get(f"{prefix}patch_embed.proj.weight", (released.patch,))[-1]
    numbers = {int(found[1]) for name in shapes if (found := re.match(rf"{re.escape(prefix)}blocks\.(\d+)\.", name))}
    depth = max(numbers) + 1 if numbers else released.depth
    return TowerShape(width, depth, patch, pixels // patch if patch else released.grid)


def load_tower(directory: Path, dtype: torch.dtype, device: str) -> tuple[Tower, TowerShape]:
    """The tower with its weights, and its sizes.

    Raises:
        UserError: A file is missing or damaged, describes another tower, or its tensors do not fit; all named.
    """
    shape, prefix, file = _checked(directory)
    with torch.device("meta"):
        tower = Tower(shape)
    with file:
        tensors = {name: file.read(prefix + name).to(device, dtype) for name in tower.state_dict()}
    tower.load_state_dict(tensors, assign=True)
    return tower.eval(), shape


def check_tower(directory: Path) -> TowerShape:
    """See from the file's header whether `load_tower` would work; raises as it does."""
    shape, _, file = _checked(directory)
    with file:
        return shape


def _checked(directory: Path) -> tuple[TowerShape, str, TensorFile]:
    pixels, path = tower_pixels(directory), directory / CHECKPOINT
    file = TensorFile.open(path)
    prefix = next((one for one in PREFIXES if any(name.startswith(one) for name in file.shapes)), PREFIXES[0])
    shape = tower_shape(file.shapes, prefix, pixels)
    if shape.width < HEAD_DIM or shape.width % HEAD_DIM or pixels % shape.patch:
        raise UserError(
            f"{path} holds no DINOv2 for {CONFIG}'s {pixels} pixels (width {shape.width}, patches of {shape.patch}): "
            f"copy both from {RELEASE}"
        )
    with torch.device("meta"):
        needed = {prefix + name: tuple(tensor.shape) for name, tensor in Tower(shape).state_dict().items()}
    # Beside the tower lie its final norm, which is not applied, and the rest of the CLIP that it was trained in.
    unused = re.compile(rf"{re.escape(prefix)}norm\.|(?!{re.escape(prefix)})")
    check_tensors(path, file.shapes, needed, unused)
    return shape, prefix, file
