"""ResNet-50 (He et al., arXiv 1512.03385) without its classifier, its tensors named as torchvision names them.

The stride lies in the 3x3 convolution of a block, not in its first 1x1 one: torchvision's version ("v1.5"), which the
checkpoint was trained with.
"""

from __future__ import annotations

from torch import Tensor, nn

EXPANSION = 4  # channels that leave a block for each inside it


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, around them the identity or a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, EXPANSION * inner, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * inner)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != EXPANSION * inner:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, EXPANSION * inner, 1, stride, bias=False), nn.BatchNorm2d(EXPANSION * inner)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)).relu()
        out = self.bn3(self.conv3(out))
        around: Tensor = x if self.downsample is None else self.downsample(x)
        added: Tensor = (out + around).relu()
        return added


class ResNet(nn.Module):
    """Pixels [n, 3, H, W] to [n, 32 * width, H / 32, W / 32].

    Args:
        width: Channels after the first convolution, 64 in ResNet-50.
        blocks: Blocks of each of the four stages, (3, 4, 6, 3) in ResNet-50.
    """

    def __init__(self, width: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = width
        stages = []
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            layers = []
            for block in range(count):
                layers.append(Bottleneck(channels, inner, 2 if stage > 0 and block == 0 else 1))
                channels = EXPANSION * inner
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = channels

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(pixels)).relu())
        patches: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return patches
