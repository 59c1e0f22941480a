"""BioViL-T's image tower with one image: ResNet-50 patches beside the embedding of an absent prior, projected.

With a prior image a transformer would compare the two; without one the network puts a learnt vector in the place of
that comparison, so that the transformer's tensors are in the checkpoint and play no part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from unix_bench.features.biovil_t.resnet import ResNet
from unix_bench.features.geometry import PAD_SQUARE, pad_to_square
from unix_bench.weights import NOTHING, Shapes, TensorFile, check_tensors

RESIZE, CROP = 512, 448
# Tensors whose first dimension is a size of `ImageShape`, and how many dimensions each has.
TOLD_BY = {
    "width": ("encoder.encoder.conv1.weight", 4),
    "patch": ("encoder.backbone_to_vit.weight", 4),
    "joint": ("projector.model.3.weight", 4),
    "classes": ("encoder.encoder.fc.weight", 2),
}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ImageShape:
    """Sizes of the image tower; the defaults are the release's.

    Attributes:
        width: Channels after ResNet's first convolution.
        blocks: Blocks of each of its four stages.
        patch: Channels of a patch, and of the comparison with a prior image each.
        pooler: Blocks of the transformer that compares two images.
        joint: Length of an embedding in the space shared with texts.
        classes: Outputs of ImageNet's classifier, which is in the checkpoint and plays no part.
    """

    width: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    patch: int = 256
    pooler: int = 3
    joint: int = 128
    classes: int = 1000


class ImageNetwork(nn.Module):
    """Pixels [n, 3, 448, 448] in 0..1 to embeddings [n, joint] that are not yet of length 1."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.encoder = _Encoder(shape)
        self.projector = _Projector(2 * shape.patch, shape.joint)

    def forward(self, pixels: Tensor) -> Tensor:
        projected: Tensor = self.projector(self.encoder(pixels))  # [n, joint, 14, 14]
        return projected.mean(dim=(2, 3))


class _Encoder(nn.Module):
    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.encoder = ResNet(shape.width, shape.blocks)
        self.backbone_to_vit = nn.Conv2d(self.encoder.channels, shape.patch, 1, bias=False)
        self.missing_previous_emb = nn.Parameter(torch.zeros(1, shape.patch, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.backbone_to_vit(self.encoder(pixels))  # [n, patch, 14, 14]
        return torch.cat([patches, self.missing_previous_emb.expand_as(patches)], dim=1)


class _Projector(nn.Module):
    def __init__(self, channels: int, joint: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(channels, joint, 1, bias=False), nn.BatchNorm2d(joint), nn.ReLU(), nn.Conv2d(joint, joint, 1)
        )

    def forward(self, patches: Tensor) -> Tensor:
        projected: Tensor = self.model(patches)
        return projected


def image_shape(found: Shapes) -> ImageShape:
    """The sizes that a checkpoint's tensors have; those of the release where the tensor that would tell is not there.

    Args:
        found: Shapes by name.
    """
    sizes = {
        field: found[name][0]
        for field, (name, dimensions) in TOLD_BY.items()
        if len(found.get(name, ())) == dimensions and found[name][0] > 0
    }
    stages = (_blocks(found, f"encoder.encoder.layer{stage}.") for stage in range(1, 5))
    first, second, third, fourth = (
        known or released for known, released in zip(stages, ImageShape.blocks, strict=True)
    )
    pooler = _blocks(found, "encoder.vit_pooler.blocks.") or ImageShape.pooler
    return ImageShape(**sizes, blocks=(first, second, third, fourth), pooler=pooler)


def _blocks(found: Shapes, stem: str) -> int:
    """How many numbers follow a stem in names; a block that lost all its tensors shows as a number that is skipped."""
    return len(
        {part for name in found if name.startswith(stem) and (part := name[len(stem) :].split(".")[0]).isdigit()}
    )


def load_image_network(path: Path) -> ImageNetwork:
    """The image tower with the weights of `biovil_t_image_model_proj_size_128.pt`, or of a file in its layout.

    Raises:
        UserError: The file is missing or damaged, lacks a tensor, or holds one too many or of another shape; all named.
    """
    with TensorFile.open(path) as file:
        shape = image_shape(file.shapes)
        network = ImageNetwork(shape)
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        check_tensors(
            path, file.shapes, {**expected, **dict(_idle(network, shape))}, NOTHING, "the network of its sizes"
        )
        network.load_state_dict({name: file.read(name) for name in expected})
    return network.eval()


def _idle(network: ImageNetwork, shape: ImageShape) -> Iterator[tuple[str, Shape]]:
    """Tensors of the checkpoint that one image alone does not need: the classifier and the comparison of images."""
    yield "encoder.encoder.fc.weight", (shape.classes, network.encoder.encoder.channels)
    yield "encoder.encoder.fc.bias", (shape.classes,)
    dim, pooler = shape.patch, "encoder.vit_pooler"
    yield f"{pooler}.type_embed", (2, 1, dim)
    norms = [f"{pooler}.norm_post"]
    for block in (f"{pooler}.blocks.{number}" for number in range(shape.pooler)):
        norms += [f"{block}.norm1", f"{block}.norm2"]
        for part in ("proj_q", "proj_k", "proj_v", "proj"):
            yield f"{block}.attn.{part}.weight", (dim, dim)
        for part in ("attn.proj", "mlp.fc1", "mlp.fc2"):
            yield f"{block}.{part}.bias", (dim,)
        for part in ("mlp.fc1", "mlp.fc2"):
            yield f"{block}.{part}.weight", (dim, dim)
    for norm in norms:
        yield f"{norm}.weight", (dim,)
        yield f"{norm}.bias", (dim,)


def prepare_image(image: Image.Image, geometry: str = PAD_SQUARE) -> NDArray[np.float32]:
    """What the image tower is shown of an image file's pixels, [448, 448] in 0..1.

    Grey values are stretched to the whole range, all channels together, and truncated to 8 bits; then made grey. An
    image of one value alone becomes black. `pad-square` shows the whole image in its own proportions. `centre-crop` is
    what hi-ml-multimodal does: the shorter side to 512 (bilinear), and the middle 448 by 448, which cuts the margins of
    an image that is no square. The package reads 16-bit files at their full depth, where ours come as 8 bits: up to
    one grey level apart.

    >>> prepare_image(Image.new("L", (600, 900), 7)).max()
    np.float32(0.0)
    """
    values = np.asarray(image, dtype=np.float64)
    spread = values.max() - values.min()
    stretched = (values - values.min()) / (spread or 1.0) * 255
    grey = Image.fromarray(stretched.astype(np.uint8)).convert("L")
    if geometry == PAD_SQUARE:
        shown = pad_to_square(grey).resize((CROP, CROP), Image.Resampling.BILINEAR)
    else:
        shown = _middle(grey)
    return np.asarray(shown, dtype=np.float32) / np.float32(255)


def _middle(grey: Image.Image) -> Image.Image:
    """The middle of an image whose shorter side is brought to 512."""
    short, long = min(grey.size), max(grey.size)
    longer = int(RESIZE * long / short)  # truncated, as torchvision's Resize does
    grey = grey.resize((RESIZE, longer) if grey.width <= grey.height else (longer, RESIZE), Image.Resampling.BILINEAR)
    left, top = round((grey.width - CROP) / 2), round((grey.height - CROP) / 2)  # halves to even, as its CenterCrop
    return grey.crop((left, top, left + CROP, top + CROP))
