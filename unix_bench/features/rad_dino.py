"""RAD-DINO (Pérez-García et al., arXiv 2401.10815): a ViT-B/14 trained on chest X-rays alone by DINOv2.

A feature is the class token after the final norm, as in CheXGenBench's FD, KD and PRDC (`pooler_output`, 768 numbers).
The release is `microsoft/rad-dino` in transformers' layout. It shares names and shapes of its tensors with Meta's
DINOv2 of natural images, so that the two are told apart by their preprocessing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from unix_bench.features.geometry import PAD_SQUARE, SQUASH_299, Fit, pad_to_square, squash
from unix_bench.features.places import RAD_DINO
from unix_bench.features.pretrained import PretrainedEncoder

SIZE = 518
MEAN, STD = 0.5307, 0.2583
# The embedding of masked patches serves training alone: it is not built, and the file may hold it or not.
UNUSED = re.compile(r"embeddings\.mask_token$")
# transformers 5.2x renamed these; releases keep the first names.
RENAMED = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}


class RadDino(PretrainedEncoder):
    """RAD-DINO at 518 by 518 pixels.

    `pad-square`, the default, shows the whole image of either side in its own proportions. `squash-299` is that of
    protocol `chexgenbench`: it distorts real images, which are seldom square, but not drawn ones. The release's own
    centre crop, which would cut the margins of real images alone, meets square images only.
    """

    name = "raddino"
    hub_name = RAD_DINO
    unused = UNUSED
    geometries: ClassVar[Mapping[str, Fit]] = {PAD_SQUARE: pad_to_square, SQUASH_299: squash}

    def _other_model(self) -> str | None:
        kind = self._config.get("model_type")
        if kind != "dinov2":
            return f"config.json says model_type {kind}, not dinov2"
        for key, value in (("image_mean", MEAN), ("image_std", STD)):
            if self._preprocessor.get(key) != [value] * 3:
                return f"preprocessor_config.json says {key} {self._preprocessor.get(key)}, not {value}"
        stated = (self._preprocessor.get("size"), self._preprocessor.get("crop_size"))
        if stated != ({"shortest_edge": SIZE}, {"height": SIZE, "width": SIZE}):
            return f"preprocessor_config.json says size {stated[0]} and crop_size {stated[1]}, not {SIZE}"
        return None

    def _width(self) -> int:
        width: int = Dinov2Config.from_dict(self._config).hidden_size
        return width

    def _build(self) -> nn.Module:
        network: nn.Module = Dinov2Model(Dinov2Config.from_dict({**self._config, "use_mask_token": False}))
        return network

    def _processor(self) -> Any:
        return BitImageProcessorPil.from_pretrained(self._directory, local_files_only=True)

    def _released(self, name: str) -> str:
        for ours, theirs in RENAMED.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
        return name
