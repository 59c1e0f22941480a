"""The demo encoder: its geometries against Pillow by hand, and what tells one of its features from another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from unix_bench.features import DemoDino, Encoder


def xray(width: int, height: int, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, size=(12, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("geometry", "column"), [("pad-square", "demodino"), ("squash-299", "demodino_squash")])
def test_geometries(geometry: str, column: str) -> None:
    encoder: Encoder = DemoDino(geometry)
    image = xray(300, 200)
    if geometry == "pad-square":
        by_hand = ImageOps.pad(image.convert("L"), (112, 112), Image.Resampling.BICUBIC)
    else:
        squashed = image.resize((299, 299), Image.Resampling.BILINEAR)
        by_hand = squashed.convert("L").resize((112, 112), Image.Resampling.BICUBIC)
    expected = (np.asarray(by_hand, dtype=np.float64) / 255 - 0.5307) / 0.2583
    np.testing.assert_allclose(encoder.prepare(image)[0], expected, rtol=0, atol=1e-6)
    assert (encoder.name, encoder.geometry, encoder.column) == ("demodino", f"{geometry}-112", column)
    assert encoder.identity == f"demodino {encoder.digest} {geometry}-112 float32"
    assert encoder.stand_in


def test_features_keep_their_values() -> None:
    """The first numbers and the length of a feature as they were when this encoder was published."""
    row = DemoDino().encode([xray(300, 200)])[0]
    np.testing.assert_allclose(row[:3], (-0.345161, 0.023705, -0.110729), rtol=0, atol=1e-4)
    assert row.norm() == pytest.approx(5.678761, abs=1e-4)


def test_batches() -> None:
    encoder = DemoDino()
    images = [xray(60 + seed, 50, seed) for seed in range(40)]
    features = encoder.encode(images)
    torch.testing.assert_close(features[35:36], encoder.encode(images[35:36]), rtol=0, atol=1e-5)
    assert features.dtype == torch.float32
    assert encoder.encode([]).shape == (0, encoder.dim)
    with pytest.raises(ValueError, match="did you mean 'squash-299'"):
        DemoDino("squash")
