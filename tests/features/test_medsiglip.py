"""MedSigLIP's vision tower against transformers' whole model on pixels prepared by hand; what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tiny_encoders import write_medsiglip
from transformers import SiglipModel

from unix_bench.errors import UserError
from unix_bench.features import Encoder, MedSigLip
from unix_bench.features.places import find_medsiglip
from unix_bench.settings import Settings

SIZE = 448


@pytest.fixture
def released(tmp_path: Path) -> Path:
    write_medsiglip(tmp_path / "medsiglip")
    return tmp_path / "medsiglip"


def xray(width: int, height: int, seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, size=(12, 9), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def test_features_of_the_release(released: Path, tmp_path: Path) -> None:
    images = [xray(500, 640, 0), xray(640, 480, 1), xray(300, 300, 2)]
    encoder: Encoder = MedSigLip(released, tmp_path, batch_size=2)
    pixels = []
    for image in images:
        fitted = ImageOps.pad(image, (max(image.size),) * 2)
        resized = fitted.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pixels.append(np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1)
    with torch.inference_mode():
        whole = SiglipModel.from_pretrained(released).eval().vision_model(torch.tensor(np.stack(pixels)))
    features = encoder.encode(images)
    torch.testing.assert_close(features, whole.pooler_output, rtol=0, atol=1e-5)
    assert features.shape == (3, encoder.dim)
    assert (features[0] - features[2]).abs().max() > 1e-2
    assert (encoder.name, encoder.geometry, encoder.stand_in) == ("medsiglip", "pad-square", False)
    assert encoder.column == "medsiglip"


def test_tensors_of_another_network(released: Path, tmp_path: Path) -> None:
    tensors = load_file(released / "model.safetensors")
    probe = tensors.pop("vision_model.head.probe")
    save_file(tensors, released / "model.safetensors")
    with pytest.raises(UserError, match=r"1 missing: vision_model\.head\.probe \[1, 1, 32\]"):
        MedSigLip(released, tmp_path).encode([xray(9, 9, 0)])
    save_file(
        {**tensors, "vision_model.head.probe": probe, "vision_model.more": probe + 1}, released / "model.safetensors"
    )
    with pytest.raises(UserError, match=r"1 unknown: vision_model\.more"):
        MedSigLip(released, tmp_path).encode([xray(9, 9, 0)])


def test_siglip_of_natural_images_is_refused(released: Path, tmp_path: Path) -> None:
    stated = json.loads((released / "config.json").read_text())
    stated["vision_config"]["image_size"] = 384
    (released / "config.json").write_text(json.dumps(stated))
    with pytest.raises(UserError, match="image_size 384"):
        MedSigLip(released, tmp_path)


def test_where_it_is_looked_for(released: Path, tmp_path: Path) -> None:
    assert find_medsiglip(Settings(weights=tmp_path)) == released
    with pytest.raises(UserError, match="UNIX_BENCH_MEDSIGLIP"):
        find_medsiglip(Settings(weights=tmp_path / "other"))
