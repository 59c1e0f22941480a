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
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, ResNetConfig, ResNetModel

from unix_bench.errors import UserError
from unix_bench.features import BioViLT, SpecialTokenInText, TextTooLong
from unix_bench.features.biovil_t import ImageShape
from unix_bench.features.biovil_t.image import load_image_network, prepare_image
from unix_bench.features.places import find_biovil_t
from unix_bench.settings import Settings
from unix_bench.weights import fill_seeded

GOLDEN = Path(__file__).parents[1] / "golden"
BERT = GOLDEN / "report_metrics" / "tiny_models" / "bert-tiny"
NAMES = dict(line.split("  ") for line in (GOLDEN / "released" / "biovil_t_image.txt").read_text().splitlines())
IMAGE = "biovil_t_image_model_proj_size_128.pt"
SHAPE = ImageShape(width=8, blocks=(1, 2, 1, 1), patch=16, pooler=2, joint=12, classes=5)
Tensors = dict[str, Tensor]


def resnet(shape: ImageShape) -> ResNetModel:
    sizes = [4 * shape.width * 2**stage for stage in range(4)]
    config = ResNetConfig(embedding_size=shape.width, hidden_sizes=sizes, depths=list(shape.blocks))
    network = ResNetModel(config).eval()
    fill_seeded(network, 3)
    for name, buffer in network.named_buffers():  # statistics of a trained network are not 0 and 1
        if not name.endswith("tracked"):
            generator = torch.Generator().manual_seed(len(name))
            noise = torch.rand(buffer.shape, generator=generator)
            buffer.copy_(0.5 + noise if name.endswith("var") else 0.2 * (noise - 0.5))
    return network


def torchvision_name(name: str) -> str:
    """Of a tensor of ResNet, from the name that transformers gives it."""
    for pattern, to in (
        (r"embedder\.embedder\.convolution", "conv1"),
        (r"embedder\.embedder\.normalization", "bn1"),
        (r"encoder\.stages\.(\d)\.layers\.", lambda found: f"layer{int(found[1]) + 1}."),
        (r"shortcut\.convolution", "downsample.0"),
        (r"shortcut\.normalization", "downsample.1"),
        (r"layer\.(\d)\.convolution", lambda found: f"conv{int(found[1]) + 1}"),
        (r"layer\.(\d)\.normalization", lambda found: f"bn{int(found[1]) + 1}"),
    ):
        name = re.sub(pattern, to, name)
    return name


def image_tensors(backbone: ResNetModel, shape: ImageShape) -> Tensors:
    """A checkpoint as the release's package names it, the golden names outside ResNet-50 included."""
    sizes = {1: 1, 2: 2, 14: 14, 128: shape.joint, 256: shape.patch, 512: 2 * shape.patch}
    sizes[2048] = backbone.config.hidden_sizes[-1]
    tensors = {f"encoder.encoder.{torchvision_name(name)}": t for name, t in backbone.state_dict().items()}
    tensors["encoder.encoder.fc.weight"] = torch.zeros(shape.classes, sizes[2048])
    tensors["encoder.encoder.fc.bias"] = torch.zeros(shape.classes)
    generator = torch.Generator().manual_seed(4)
    for name, stated in NAMES.items():
        block = re.search(r"blocks\.(\d)", name)
        if block is None or int(block[1]) < shape.pooler:
            dims = [sizes[dim] for dim in json.loads(stated)]
            noise = torch.randn(dims, generator=generator)
            tensors[name] = noise.abs() if name.endswith("var") else noise if dims else torch.tensor(1)
    return tensors


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models, narrow and shallow, with random weights in the files of the release."""
    directory = tmp_path_factory.mktemp("biovil-t")
    torch.save(image_tensors(resnet(SHAPE), SHAPE), directory / IMAGE)
    shutil.copy(BERT / "vocab.txt", directory)
    stated = json.loads((BERT / "config.json").read_text()) | {
        "_name_or_path": "microsoft/BiomedVLP-BioViL-T",
        "architectures": ["CXRBertModel"],
        "auto_map": {"AutoModel": "modeling_cxrbert.CXRBertModel"},
        "model_type": "cxr-bert",
        "position_embedding_type": "absolute",
        "projection_size": SHAPE.joint,
        "torch_dtype": "float32",
    }
    (directory / "config.json").write_text(json.dumps(stated))
    bert = BertForMaskedLM(BertConfig.from_pretrained(BERT))
    fill_seeded(bert, 5, scale=2.0)
    head = nn.ModuleDict(
        {
            "dense_to_hidden": nn.Linear(32, SHAPE.joint),
            "LayerNorm": nn.LayerNorm(SHAPE.joint),
            "dense_to_output": nn.Linear(SHAPE.joint, SHAPE.joint),
        }
    )
    fill_seeded(head, 6)
    tensors = bert.state_dict() | {f"cls_projection_head.{name}": t for name, t in head.state_dict().items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(tensors, directory / "pytorch_model.bin")
    return directory


@pytest.fixture
def copied(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "copied"))


def xray(width: int, height: int, seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(30, 200, size=(12, 9), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def test_image_embeddings(released: Path, tmp_path: Path) -> None:
    images = [xray(500, 640, 0), xray(700, 520, 1), xray(512, 512, 2).convert("RGB")]
    model = BioViLT(released, tmp_path, batch_size=2, image_shape=SHAPE)
    ours = model.image_embeddings(images)
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
    torch.testing.assert_close(model.image_embeddings(images[2:]), ours[2:], rtol=0, atol=1e-6)
    assert model.image_embeddings([]).shape == (0, SHAPE.joint)


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
    network = load_image_network(tmp_path / IMAGE, shape)
    assert network.projector.model[3].out_channels == 128


def image_tensors_like(backbone: ResNetModel, shape: ImageShape) -> Tensors:
    """The release's names with tensors that have a shape alone."""
    tensors = {f"encoder.encoder.{torchvision_name(name)}": t for name, t in backbone.state_dict().items()}
    tensors["encoder.encoder.fc.weight"] = torch.empty(shape.classes, 2048)
    tensors["encoder.encoder.fc.bias"] = torch.empty(shape.classes)
    return tensors | {name: torch.empty(json.loads(stated)) for name, stated in NAMES.items()}


def test_text_embeddings(released: Path, tmp_path: Path) -> None:
    texts = ["no effusion.", "the heart is large!?.", "a", "", "left [MASK] is seen " * 12]
    model = BioViLT(released, tmp_path, batch_size=2, image_shape=SHAPE)
    ours, cut = model.text_embeddings(texts, truncate=False)
    t = torch.load(released / "pytorch_model.bin", weights_only=True)
    bert = BertForMaskedLM(BertConfig.from_pretrained(BERT)).eval()
    bert.load_state_dict({name: tensor for name, tensor in t.items() if "head" not in name and "_ids" not in name})
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
    assert cut == 0
    assert (ours[0] - ours[1]).abs().max() > 1e-2
    empty, _ = model.text_embeddings([])
    assert empty.shape == (0, SHAPE.joint)


def test_texts_that_are_too_long_or_hold_special_tokens(released: Path, tmp_path: Path) -> None:
    model = BioViLT(released, tmp_path, image_shape=SHAPE)
    rows, cut = model.text_embeddings(["a " * 900, "a " * 510, "a " * 509])
    assert cut == 1
    torch.testing.assert_close(rows[0], rows[1], rtol=0, atol=1e-6)
    assert (rows[1] - rows[2]).abs().max() > 1e-6
    with pytest.raises(TextTooLong, match="902 tokens, and BioViL-T reads 512"):
        model.text_embeddings(["a " * 900], truncate=False)
    with pytest.raises(SpecialTokenInText, match=re.escape("[SEP]")):
        model.text_embeddings(["a", "b [SEP] c"], truncate=False)
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
    np.testing.assert_allclose(prepare_image(image), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("file", "name", "tensor", "said"),
    [
        (IMAGE, "encoder.vit_pooler.norm_post.bias", None, "1 missing: encoder.vit_pooler.norm_post.bias"),
        (IMAGE, "encoder.encoder.layer2.1.bn1.weight", None, "1 missing: encoder.encoder.layer2.1.bn1.weight"),
        (IMAGE, "classifier.fc_0.model.weight", torch.zeros(2), "1 unknown: classifier.fc_0.model.weight"),
        (IMAGE, "projector.model.3.bias", torch.zeros(13), r"projector.model.3.bias \[13\] instead of \[12\]"),
        ("pytorch_model.bin", "cls_projection_head.LayerNorm.bias", None, "1 missing: cls_projection_head"),
        ("pytorch_model.bin", "bert.pooler.dense.bias", torch.zeros(32), "1 unknown: bert.pooler.dense.bias"),
    ],
)
def test_tensors_of_another_network(
    copied: Path, tmp_path: Path, file: str, name: str, tensor: Tensor | None, said: str
) -> None:
    tensors = torch.load(copied / file, weights_only=True)
    tensors.pop(name, None)
    torch.save(tensors | ({} if tensor is None else {name: tensor}), copied / file)
    model = BioViLT(copied, tmp_path, image_shape=SHAPE)
    with pytest.raises(UserError, match=said):
        model.image_embeddings([xray(9, 9, 0)]) if file == IMAGE else model.text_embeddings(["a"])


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
        BioViLT(copied, tmp_path, image_shape=SHAPE).text_embeddings(["a"])


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
    fine, coarse = (BioViLT(released, tmp_path, dtype=dtype, image_shape=SHAPE) for dtype in ("float32", "bfloat16"))
    for one, other in (
        (fine.image_embeddings(images), coarse.image_embeddings(images)),
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
