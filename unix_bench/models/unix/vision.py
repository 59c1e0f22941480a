"""The SigLIP vision tower and the connector that carries its patches into the decoder.

The tower is transformers' `SiglipVisionModel`, which gives the reference's numbers to rounding.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from unix_bench.models.unix.config import VISION_NORM_EPS, VisionConfig


def build_vision_tower(config: VisionConfig) -> SiglipVisionModel:
    """SigLIP without its pooling head: the final norm's output of every patch is what UniX reads."""
    return SiglipVisionModel(
        SiglipVisionConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            layer_norm_eps=VISION_NORM_EPS,
            hidden_act="gelu",
            vision_use_head=False,
        )
    )


class Connector(nn.Module):
    """Linear, GELU, Linear. The released inference code uses the tanh GELU, its training code the exact one."""

    def __init__(self, vision_width: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, patches: Tensor) -> Tensor:
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(patches), approximate="tanh"))
        return out
