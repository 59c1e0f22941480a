"""MedSigLIP (google/medsiglip-448; Sellergren et al., arXiv 2507.05201): an image encoder of another family.

A distance in the features of one encoder can be small because a model was trained on that encoder, or because both
are blind to the same thing. UniX's training aligns it with RAD-DINO, the judge of the published table. MedSigLIP is a
second opinion: a SigLIP tower (So400m/14 at 448 pixels) that learnt which report or caption goes with which image, by
a sigmoid loss, from medical images of many kinds and from natural ones, where RAD-DINO learnt from chest X-rays
without any text. Both may have seen chest X-rays of the same public sets, so it is another judge and no independent
world; but a difference that both show is no artefact of DINO.

A feature is the output of the attention pooling head (`pooler_output`, 1,152 numbers), before the scaling to length 1
that its cosine with texts needs. Users must accept Google's terms to fetch the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from unix_bench.features.geometry import PAD_SQUARE, Fit, pad_to_square
from unix_bench.features.places import MEDSIGLIP
from unix_bench.features.pretrained import PretrainedEncoder

SIZE, PATCH = 448, 14
TOWER = "vision_model."
# The text tower lies in the same file, and transformers before 4.31 kept the positions as a buffer.
UNUSED = re.compile(r"text_model\.|logit_(scale|bias)$|vision_model\.embeddings\.position_ids$")


class MedSigLip(PretrainedEncoder):
    """MedSigLIP's vision tower at 448 by 448 pixels.

    `pad-square` keeps the image's proportions, which the processor alone would not. Images are resized as Pillow does,
    with antialiasing, where Google's own evaluation used TensorFlow's resize without.
    """

    name = "medsiglip"
    hub_name = MEDSIGLIP
    unused = UNUSED
    geometries: ClassVar[Mapping[str, Fit]] = {PAD_SQUARE: pad_to_square}

    def _other_model(self) -> str | None:
        kind, vision = self._config.get("model_type"), self._config.get("vision_config")
        if kind != "siglip" or not isinstance(vision, dict):
            return f"config.json says model_type {kind}, not siglip with a vision_config"
        # SigLIPs of natural images are released for other sizes only, but for the rest look the same.
        stated = (vision.get("image_size"), vision.get("patch_size"))
        if stated != (SIZE, PATCH):
            return f"config.json says image_size {stated[0]} and patch_size {stated[1]}, not {SIZE} and {PATCH}"
        if self._preprocessor.get("size") != {"height": SIZE, "width": SIZE}:
            return f"preprocessor_config.json says size {self._preprocessor.get('size')}, not {SIZE}"
        return None

    @property
    def _vision(self) -> SiglipVisionConfig:
        return SiglipVisionConfig.from_dict(self._config["vision_config"])

    def _width(self) -> int:
        width: int = self._vision.hidden_size
        return width

    def _build(self) -> nn.Module:
        network: nn.Module = SiglipVisionModel(self._vision)
        return network

    def _processor(self) -> Any:
        return SiglipImageProcessorPil.from_pretrained(self._directory, local_files_only=True)

    def _released(self, name: str) -> str:
        return TOWER + name.removeprefix(TOWER)  # with or without it, by the version of transformers
