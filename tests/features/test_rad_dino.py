"""RAD-DINO: its features against transformers' own loading and pixels prepared by hand; what it refuses."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tiny_encoders import write_rad_dino
from transformers import Dinov2Model

from unix_bench.errors import UserError
from unix_bench.features import Encoder, FeatureStore, RadDino
from unix_bench.features.geometry import pad_to_square
from unix_bench.features.places import find_rad_dino
from unix_bench.settings import Settings

SIZE, MEAN, STD = 518, 0.5307, 0.2583


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("released") / "rad-dino"
    write_rad_dino(directory)
    assert "encoder.layer.0.attention.attention.query.weight" in load_file(directory / "model.safetensors")
    return directory


@pytest.fixture
def copied(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "copied"))


def xray(width: int, height: int, seed: int = 0, mode: str = "L") -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, size=(12, 9, len(mode)), dtype=np.uint8).squeeze()
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def by_hand(image: Image.Image, geometry: str) -> np.ndarray:
    """[3, 518, 518] with Pillow and numpy alone."""
    image = image.convert("RGB")
    if geometry == "pad-square":
        side = max(image.size)
        image = ImageOps.pad(image, (side, side))
    elif geometry == "squash-299":
        image = image.resize((299, 299), Image.Resampling.BILINEAR)
    short = min(image.size)
    width, height = (int(SIZE * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), dtype=np.float64) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("geometry", ["pad-square", "squash-299"])
def test_features_of_the_release(released: Path, tmp_path: Path, geometry: str) -> None:
    images = [xray(700, 800), xray(640, 520, 1, "RGB"), xray(300, 300, 2)]
    encoder = RadDino(released, tmp_path, geometry, batch_size=2)
    features = encoder.encode(images)
    pixels = torch.tensor(np.stack([by_hand(image, geometry) for image in images]), dtype=torch.float32)
    with torch.inference_mode():
        expected = Dinov2Model.from_pretrained(released).eval()(pixels).last_hidden_state[:, 0]
    assert features.dtype == torch.float32
    assert features.shape == (3, encoder.dim)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    assert (features[0] - features[2]).abs().max() > 1e-2


def test_a_feature_does_not_depend_on_its_batch(released: Path, tmp_path: Path) -> None:
    encoder: Encoder = RadDino(released, tmp_path)
    assert (encoder.name, encoder.dim, encoder.geometry, encoder.stand_in) == ("raddino", 32, "pad-square", False)
    images = [xray(400, 500, seed) for seed in range(3)]
    together = encoder.encode(images)
    torch.testing.assert_close(encoder.encode(images[2:]), together[2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.encode([images[1].convert("RGB")]), together[1:2], rtol=0, atol=1e-5)
    assert encoder.encode([]).shape == (0, 32)
    coarse = RadDino(released, tmp_path, dtype="bfloat16").encode(images)
    assert coarse.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(coarse, together).min() > 0.999
    assert not torch.equal(coarse, together)


def test_images_are_prepared_alike_in_threads(released: Path, tmp_path: Path) -> None:
    images = [xray(200 + 10 * seed, 300, seed, mode) for seed in range(12) for mode in ("L", "RGB")]
    encoder = RadDino(released, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        pixels = torch.stack(list(pool.map(encoder.prepare, images)))
    by_one = torch.stack([RadDino(released, tmp_path).prepare(image) for image in images])
    assert torch.equal(pixels, by_one)
    assert torch.equal(encoder.embed(pixels[:16]), encoder.encode(images)[:16])


def test_nothing_that_decides_a_feature_is_confused(released: Path, copied: Path, tmp_path: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    tensors["layernorm.bias"][0] += 1
    save_file(tensors, copied / "model.safetensors")
    encoders = {
        "raddino": RadDino(released, tmp_path),
        "raddino_squash": RadDino(released, tmp_path, "squash-299"),
        "bfloat16": RadDino(released, tmp_path, dtype="bfloat16"),
        "other weights": RadDino(copied, tmp_path),
    }
    assert [encoder.column for encoder in encoders.values()] == [*list(encoders)[:2], "raddino", "raddino"]
    identity = f"raddino {encoders['raddino'].digest} pad-square float32"
    assert encoders["raddino"].identity == identity
    assert len({encoder.identity for encoder in encoders.values()}) == 4
    path = tmp_path / "image.png"
    xray(400, 500).save(path)
    store = FeatureStore(tmp_path / "features", 10**6)
    for _ in range(2):
        rows = [store.features([path], encoder, tmp_path) for encoder in encoders.values()]
        for row, encoder in zip(rows, encoders.values(), strict=True):
            np.testing.assert_allclose(row, encoder.encode([xray(400, 500)]), rtol=0, atol=1e-5)
        assert len({row.tobytes() for row in rows}) == 4
    assert store.passes == 4
    assert RadDino(released, tmp_path, batch_size=3).identity == identity, "batches move a feature by rounding alone"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["L", "RGB"]))
def test_padding_keeps_every_pixel_and_adds_black(width: int, height: int, mode: str) -> None:
    square = pad_to_square(Image.new(mode, (width, height), "white"))
    values = np.asarray(square)
    assert square.mode == mode
    assert values.shape[:2] == (max(width, height),) * 2
    assert values.astype(int).sum() == 255 * width * height * len(mode)
    bright = np.argwhere(values.reshape(*values.shape[:2], -1).any(axis=-1))
    margins = bright.min(axis=0), np.array(values.shape[:2]) - 1 - bright.max(axis=0)
    assert np.abs(margins[0] - margins[1]).max() <= 1


def test_the_embedding_of_masked_patches_may_be_left_out(released: Path, copied: Path, tmp_path: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    del tensors["embeddings.mask_token"]
    save_file(tensors, copied / "model.safetensors")
    image = xray(300, 300)
    assert torch.equal(RadDino(copied, tmp_path).encode([image]), RadDino(released, tmp_path).encode([image]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("layernorm.bias"), "1 missing: layernorm.bias"),
        (lambda tensors: tensors.update({"embeddings.register_tokens": torch.zeros(1, 4, 32)}), "register_tokens"),
        (lambda tensors: tensors.update({"layernorm.bias": torch.zeros(31)}), r"layernorm.bias \[31\] instead of"),
    ],
)
def test_tensors_of_another_network(copied: Path, tmp_path: Path, change: object, said: str) -> None:
    tensors = load_file(copied / "model.safetensors")
    change(tensors)
    save_file(tensors, copied / "model.safetensors")
    with pytest.raises(UserError, match=said):
        RadDino(copied, tmp_path).encode([xray(20, 20)])


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        ("preprocessor_config.json", "image_mean", [0.485, 0.456, 0.406], "image_mean"),
        ("preprocessor_config.json", "size", {"shortest_edge": 256}, "256"),
        ("config.json", "model_type", "dinov2_with_registers", "dinov2_with_registers"),
        ("config.json", "unix_bench_demo", "tiny", "stand-in tiny"),
        ("config.json", "hidden_act", "none such", "describes no"),
        ("config.json", "hidden_size", "wide", "describes no"),
    ],
)
def test_other_models_are_refused(copied: Path, tmp_path: Path, file: str, key: str, value: object, said: str) -> None:
    stated = json.loads((copied / file).read_text())
    (copied / file).write_text(json.dumps({**stated, key: value}))
    with pytest.raises(UserError, match=said):
        RadDino(copied, tmp_path).encode([xray(20, 20)])


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_files_that_are_missing_or_damaged(copied: Path, tmp_path: Path, file: str) -> None:
    (copied / file).write_bytes((copied / file).read_bytes()[:-40])
    with pytest.raises(UserError, match=file):
        RadDino(copied, tmp_path).encode([xray(20, 20)])
    (copied / file).unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        assert RadDino(copied, tmp_path).digest


def test_arguments(released: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'pad-square'"):
        RadDino(released, tmp_path, "pad_square")
    with pytest.raises(ValueError, match="float16"):
        RadDino(released, tmp_path, dtype="float16")


def test_the_digest_covers_all_that_decides_a_feature(released: Path, copied: Path, tmp_path: Path) -> None:
    digest = RadDino(released, tmp_path).digest
    assert RadDino(copied, tmp_path).digest == digest
    tensors = load_file(copied / "model.safetensors")
    tensors["layernorm.bias"][0] += 1e-6
    save_file(tensors, copied / "model.safetensors")
    changed = RadDino(copied, tmp_path).digest
    (copied / "preprocessor_config.json").write_text((copied / "preprocessor_config.json").read_text() + "\n")
    assert len({digest, changed, RadDino(copied, tmp_path).digest}) == 3


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    with pytest.raises(UserError, match="UNIX_BENCH_RAD_DINO"):
        find_rad_dino(Settings())
    snapshot = hub / "models--microsoft--rad-dino" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    assert find_rad_dino(Settings(weights=tmp_path)) == snapshot
    (tmp_path / "rad-dino").mkdir()
    assert find_rad_dino(Settings(weights=tmp_path)) == tmp_path / "rad-dino"
    assert find_rad_dino(Settings(weights=tmp_path, rad_dino=hub)) == hub
    with pytest.raises(UserError, match="nowhere is not a folder"):
        find_rad_dino(Settings(rad_dino=tmp_path / "nowhere"))
