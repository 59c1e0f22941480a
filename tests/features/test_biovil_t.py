"""BioViL-T: both towers against transformers' ResNet and BERT, the release's tensor names, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import (
    BERT,
    IMAGE,
    NAMES,
    SHAPE,
    Tensors,
    image_tensors,
    resnet,
    torchvision_name,
    write_biovil_t,
)
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, ResNetConfig, ResNetModel

from unix_bench.errors import UserError
from unix_bench.features import BioViLT, Encoder, FeatureStore, SpecialTokenInText, TextTooLong
from unix_bench.features.biovil_t import ImageShape, load_tokenizer
from unix_bench.features.biovil_t.image import image_shape, load_image_network, prepare_image
from unix_bench.features.places import find_biovil_t
from unix_bench.settings import Settings


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("released") / "biovil-t"
    write_biovil_t(directory)
    return directory


@pytest.fixture
def copied(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "copied"))


def xray(width: int, height: int, seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(30, 200, size=(12, 9), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def test_image_embeddings(released: Path, tmp_path: Path) -> None:
    images = [xray(500, 640, 0), xray(700, 520, 1), xray(512, 512, 2).convert("RGB")]
    model = BioViLT(released, tmp_path, batch_size=2)
    ours = model.encode(images)
    t = torch.load(released / IMAGE, weights_only=True)
    pixels = torch.from_numpy(np.stack([prepare_image(image) for image in images]))[:, None].repeat(1, 3, 1, 1)
    with torch.inference_mode():
        patches = resnet(SHAPE)(pixels).last_hidden_state.permute(0, 2, 3, 1)  # [n, 14, 14, channels]
        patches = patches @ t["encoder.backbone_to_vit.weight"][:, :, 0, 0].T
        absent = t["encoder.missing_previous_emb"].view(-1).expand(*patches.shape[:3], -1)
        hidden = torch.cat([patches, absent], dim=-1) @ t["projector.model.0.weight"][:, :, 0, 0].T
        norm = {part: t[f"projector.model.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")}
        hidden = (hidden - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * norm["weight"] + norm["bias"]
        joint = hidden.clamp(min=0) @ t["projector.model.3.weight"][:, :, 0, 0].T + t["projector.model.3.bias"]
        mean = joint.mean(dim=(1, 2))
    torch.testing.assert_close(ours, mean / mean.norm(dim=-1, keepdim=True), rtol=0, atol=2e-6)
    assert ours.shape == (3, model.dim)
    assert (ours[0] - ours[1]).abs().max() > 1e-4
    torch.testing.assert_close(model.encode(images[2:]), ours[2:], rtol=0, atol=1e-6)
    assert model.encode([]).shape == (0, SHAPE.joint)


def test_the_image_model_at_its_released_size(tmp_path: Path) -> None:
    """ResNet-50 has 25,557,032 parameters, its classifier included (torchvision's table of models)."""
    shape = ImageShape()
    with torch.device("meta"):
        config = ResNetConfig(embedding_size=shape.width, depths=list(shape.blocks))
        backbone = ResNetModel(config)
        tensors = image_tensors_like(backbone, shape)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    in_resnet = [t for name, t in tensors.items() if ".encoder." in name and not name.endswith(statistics)]
    assert sum(t.numel() for t in in_resnet) == 25_557_032
    torch.save({name: torch.zeros(()).expand(t.shape) for name, t in tensors.items()}, tmp_path / IMAGE)
    network = load_image_network(tmp_path / IMAGE)
    assert network.projector.model[3].out_channels == 128


def image_tensors_like(backbone: ResNetModel, shape: ImageShape) -> Tensors:
    """The release's names with tensors that have a shape alone."""
    tensors = {f"encoder.encoder.{torchvision_name(name)}": t for name, t in backbone.state_dict().items()}
    tensors["encoder.encoder.fc.weight"] = torch.empty(shape.classes, 2048)
    tensors["encoder.encoder.fc.bias"] = torch.empty(shape.classes)
    return tensors | {name: torch.empty(json.loads(stated)) for name, stated in NAMES.items()}


@pytest.mark.parametrize(
    "shape",
    [SHAPE, ImageShape(width=4, blocks=(2, 1, 3, 2), patch=24, pooler=1, joint=10, classes=3)],
    ids=["narrow", "other"],
)
def test_sizes_are_read_from_the_checkpoint(shape: ImageShape, tmp_path: Path) -> None:
    tensors = image_tensors(resnet(shape), shape)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert image_shape(shapes) == shape
    assert image_shape({}) == ImageShape()
    torch.save(tensors, tmp_path / IMAGE)
    model: Encoder = BioViLT(tmp_path, tmp_path)
    assert model.encode([xray(500, 480, 0)]).shape == (1, model.dim) == (1, shape.joint)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("encoder.encoder.conv1.weight", r"1 missing: encoder.encoder.conv1.weight \[64, 3, 7, 7\]$"),
        ("encoder.backbone_to_vit.weight", r"1 missing: encoder.backbone_to_vit.weight \[256, 2048, 1, 1\]$"),
        ("projector.model.3.weight", r"1 missing: projector.model.3.weight \[128, 128, 1, 1\]$"),
        ("encoder.encoder.fc.weight", r"1 missing: encoder.encoder.fc.weight \[1000, 2048\]$"),
        ("encoder.encoder.layer4.", r"60 missing: encoder.encoder.layer4.*.conv1.weight \[512, 1024, 1, 1\]"),
        ("encoder.vit_pooler.blocks.", r"39 missing: .*encoder.vit_pooler.blocks.2.norm1.weight \[256\]"),
    ],
)
def test_what_the_release_lacks_is_named(tmp_path: Path, lost: str, said: str) -> None:
    with torch.device("meta"):
        whole = image_tensors_like(ResNetModel(ResNetConfig()), ImageShape())
    tensors = {n: torch.zeros(()).expand(t.shape) for n, t in whole.items() if not n.startswith(lost)}
    torch.save(tensors, tmp_path / IMAGE)
    with pytest.raises(UserError, match=said):
        load_image_network(tmp_path / IMAGE)


def test_the_store_gives_what_the_model_gives(released: Path, tmp_path: Path) -> None:
    texts = ["no effusion.", "a " * 900, "no effusion.", "the heart is large"]
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        xray(500, 640, number).save(path)
    model, store = BioViLT(released, tmp_path), FeatureStore(tmp_path / "cache" / "features", 10**6)
    rows, cut = store.text_embeddings(texts, model, tmp_path / "cache")
    expected, _ = model.text_embeddings(texts)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
    assert rows.dtype == np.float32
    assert cut.tolist() == [False, True, False, False]
    images = store.features(paths, model, tmp_path / "cache")
    np.testing.assert_allclose(images, model.encode([xray(500, 640, 0), xray(500, 640, 1)]), rtol=0, atol=1e-6)
    again = BioViLT(released, tmp_path)
    again.__dict__["_text_network"] = again.__dict__["_image_network"] = None  # every answer comes from the cache
    advanced: list[int] = []
    kept, also_cut = store.text_embeddings(texts, again, tmp_path / "cache", advanced.append)
    np.testing.assert_array_equal(kept, rows)
    np.testing.assert_array_equal(also_cut, cut)
    assert sum(advanced) == 4
    np.testing.assert_array_equal(store.features(paths, again, tmp_path / "cache"), images)
    none, nothing = store.text_embeddings([], again, tmp_path / "cache")
    assert none.shape == (0, SHAPE.joint)
    assert nothing.shape == (0,)


def test_text_embeddings(released: Path, tmp_path: Path) -> None:
    texts = ["no effusion.", "the heart is large!?.", "a", "", "left [MASK] is seen " * 12]
    model = BioViLT(released, tmp_path, batch_size=2)
    ours, cut = model.text_embeddings(texts, truncate=False)
    t = torch.load(released / "pytorch_model.bin", weights_only=True)
    bert = BertForMaskedLM(BertConfig.from_pretrained(BERT)).eval()
    bert.load_state_dict({name: t[name] for name in bert.state_dict()})
    tokenizer, head = BertTokenizer.from_pretrained(BERT), "cls_projection_head"
    for text, row in zip(texts, ours, strict=True):
        ids = tokenizer(text.rstrip("!?."), return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            state = bert(ids, output_hidden_states=True).hidden_states[-1][0, 0]
            state = functional.gelu(t[f"{head}.dense_to_hidden.weight"] @ state + t[f"{head}.dense_to_hidden.bias"])
            state = (state - state.mean()) / state.std(correction=0)
            state = state * t[f"{head}.LayerNorm.weight"] + t[f"{head}.LayerNorm.bias"]
            state = t[f"{head}.dense_to_output.weight"] @ state + t[f"{head}.dense_to_output.bias"]
        torch.testing.assert_close(row, state / state.norm(), rtol=0, atol=1e-5)
    assert cut.tolist() == [False] * 5
    assert (ours[0] - ours[1]).abs().max() > 1e-2
    empty, _ = model.text_embeddings([])
    assert empty.shape == (0, SHAPE.joint)


def test_texts_that_are_too_long_or_hold_special_tokens(released: Path, tmp_path: Path) -> None:
    model = BioViLT(released, tmp_path)
    rows, cut = model.text_embeddings(["a " * 900, "a " * 510, "a " * 509])
    assert cut.tolist() == [True, False, False]
    assert cut.dtype == np.bool_
    torch.testing.assert_close(rows[0], rows[1], rtol=0, atol=1e-6)
    assert (rows[1] - rows[2]).abs().max() > 1e-6
    for embed in (lambda texts: model.text_embeddings(texts, truncate=False), model.check_texts):
        with pytest.raises(TextTooLong, match="902 tokens, and BioViL-T reads 512"):
            embed(["a " * 900])
        with pytest.raises(SpecialTokenInText, match=re.escape("[SEP]")):
            embed(["a", "b [SEP] c"])
    model.check_texts(["a " * 510, "b [MASK] c", ""])
    spelt, end = model.text_embeddings(["b [SEP] c", "b [ SEP ] c"])[0]
    torch.testing.assert_close(spelt, end, rtol=0, atol=1e-6)


def test_grey_values_are_stretched_and_truncated() -> None:
    steps = np.repeat(np.array([100, 101, 102], dtype=np.uint8), 200)[None].repeat(600, axis=0)
    assert {0.0, 127.0, 255.0} <= set(np.unique(prepare_image(Image.fromarray(steps)) * 255).tolist())
    assert (prepare_image(Image.new("RGB", (600, 500), (7, 7, 7))) == 0).all()
    brighter = Image.fromarray(steps + 50)
    assert (prepare_image(Image.fromarray(steps)) == prepare_image(brighter)).all()
    red = Image.new("RGB", (512, 512), (200, 100, 0))  # the channels share one range, and grey is their weighted sum
    assert prepare_image(red).max() == pytest.approx((0.299 * 255 + 0.587 * 127) / 255, abs=1 / 255)


@pytest.mark.parametrize(
    ("size", "resized", "corner"),
    [
        ((600, 900), (512, 768), (32, 160)),
        ((900, 601), (766, 512), (159, 32)),
        ((503, 500), (515, 512), (34, 32)),
        ((500, 501), (512, 513), (32, 32)),
    ],
)
def test_the_middle_is_cut_out(size: tuple[int, int], resized: tuple[int, int], corner: tuple[int, int]) -> None:
    """Sizes and corners worked out by hand from torchvision's rules: the long side truncated, halves to even."""
    values = np.random.default_rng(8).integers(0, 256, size=(size[1], size[0]), dtype=np.uint8)
    values[0, :2] = 0, 255
    image = Image.fromarray(values)
    box = (*corner, corner[0] + 448, corner[1] + 448)
    expected = np.asarray(image.resize(resized, Image.Resampling.BILINEAR).crop(box), dtype=np.float32) / 255
    np.testing.assert_allclose(prepare_image(image, "centre-crop"), expected, rtol=0, atol=1e-7)


def test_the_whole_image_is_shown() -> None:
    """Real images are seldom square and drawn ones are: neither loses a margin, nor its proportions."""
    values = np.zeros((512, 1024), dtype=np.uint8)
    values[:, :40] = 255
    shown = prepare_image(Image.fromarray(values))
    rows = np.flatnonzero(shown.max(axis=1) > 0.5)
    assert (rows.min(), rows.max()) == (112, 335)
    assert (shown[200, :16] > 0.5).all()
    assert prepare_image(Image.fromarray(values), "centre-crop").max() == 0.0
    with pytest.raises(ValueError, match="geometry"):
        BioViLT(Path("x"), Path("x"), "squash-299")


@pytest.mark.parametrize(
    ("file", "name", "tensor", "said"),
    [
        (IMAGE, "encoder.vit_pooler.norm_post.bias", None, "1 missing: encoder.vit_pooler.norm_post.bias"),
        (IMAGE, "encoder.encoder.layer2.1.bn1.weight", None, "1 missing: encoder.encoder.layer2.1.bn1.weight"),
        (IMAGE, "classifier.fc_0.model.weight", torch.zeros(2), "1 unknown: classifier.fc_0.model.weight"),
        (IMAGE, "projector.model.3.bias", torch.zeros(13), r"projector.model.3.bias \[13\] instead of \[12\]"),
        ("pytorch_model.bin", "cls_projection_head.LayerNorm.bias", None, "1 missing: cls_projection_head"),
        ("pytorch_model.bin", "bert.crossattention.bias", torch.zeros(32), "1 unknown: bert.crossattention.bias"),
    ],
)
def test_tensors_of_another_network(
    copied: Path, tmp_path: Path, file: str, name: str, tensor: Tensor | None, said: str
) -> None:
    tensors = torch.load(copied / file, weights_only=True)
    tensors.pop(name, None)
    torch.save(tensors | ({} if tensor is None else {name: tensor}), copied / file)
    model = BioViLT(copied, tmp_path)
    with pytest.raises(UserError, match=said):
        model.encode([xray(9, 9, 0)]) if file == IMAGE else model.text_embeddings(["a"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("_name_or_path", "microsoft/BiomedVLP-CXR-BERT-specialized", "copy the text model of"),
        ("projection_size", 128, "projection_size 128, and the image model's is 12"),
        ("num_attention_heads", 5, "describes no BERT"),
        ("hidden_size", "wide", "describes no BERT"),
        ("unix_bench_demo", "tiny", "stand-in tiny"),
    ],
)
def test_other_models_are_refused(copied: Path, tmp_path: Path, key: str, value: object, said: str) -> None:
    stated = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**stated, key: value}))
    with pytest.raises(UserError, match=said):
        BioViLT(copied, tmp_path).text_embeddings(["a"])


@pytest.mark.parametrize("file", [IMAGE, "pytorch_model.bin", "config.json"])
def test_the_digest_covers_both_models(released: Path, copied: Path, tmp_path: Path, file: str) -> None:
    digest = BioViLT(released, tmp_path).digest
    assert BioViLT(copied, tmp_path).digest == digest
    (copied / file).write_bytes((copied / file).read_bytes() + b" ")
    assert BioViLT(copied, tmp_path).digest != digest
    (copied / file).unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        assert BioViLT(copied, tmp_path).digest


def test_bfloat16_is_near(released: Path, tmp_path: Path) -> None:
    images, texts = [xray(500, 640, 0)], ["no effusion"]
    fine, coarse = (BioViLT(released, tmp_path, dtype=dtype) for dtype in ("float32", "bfloat16"))
    for one, other in (
        (fine.encode(images), coarse.encode(images)),
        (fine.text_embeddings(texts)[0], coarse.text_embeddings(texts)[0]),
    ):
        assert other.dtype == torch.float32
        assert (one * other).sum() > 0.99


def test_where_it_is_looked_for(released: Path, tmp_path: Path) -> None:
    (tmp_path / "biovil-t").mkdir()
    assert find_biovil_t(Settings(weights=tmp_path)) == tmp_path / "biovil-t"
    assert find_biovil_t(Settings(weights=tmp_path, biovil_t=released)) == released
    with pytest.raises(UserError, match="UNIX_BENCH_BIOVIL_T"):
        find_biovil_t(Settings())


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    """The tokenizer's own class would make one of no words, and every text the same."""
    with pytest.raises(UserError, match=r"vocab\.txt is missing: copy it from microsoft/BiomedVLP-BioViL-T"):
        load_tokenizer(tmp_path)
