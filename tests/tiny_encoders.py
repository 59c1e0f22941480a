"""Tiny random encoders in the files of the releases: narrow and shallow, with every tensor by its released name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BitImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from unix_bench.features.biovil_t import ImageShape
from unix_bench.weights import fill_seeded

GOLDEN = Path(__file__).parent / "golden"
BERT = GOLDEN / "report_metrics" / "tiny_models" / "bert-tiny"
NAMES = dict(line.split("  ") for line in (GOLDEN / "released" / "biovil_t_image.txt").read_text().splitlines())
IMAGE = "biovil_t_image_model_proj_size_128.pt"
SHAPE = ImageShape(width=8, blocks=(1, 2, 1, 1), patch=16, pooler=2, joint=12, classes=5)
Tensors = dict[str, Tensor]


def write_rad_dino(directory: Path) -> None:
    """RAD-DINO's folder."""
    network = Dinov2Model(
        Dinov2Config(image_size=518, patch_size=14, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    )
    fill_seeded(network, 1)
    network.save_pretrained(directory)  # under the release's names, whatever this transformers calls its own modules
    crop, grey = {"height": 518, "width": 518}, {"image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}
    BitImageProcessorPil(size={"shortest_edge": 518}, crop_size=crop, **grey).save_pretrained(directory)


def write_medsiglip(directory: Path) -> None:
    """MedSigLIP's folder, its text tower included."""
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "projection_size": 32}
    network = SiglipModel(SiglipConfig(text_config=text, vision_config={**small, "image_size": 448, "patch_size": 14}))
    fill_seeded(network, 2)
    network.save_pretrained(directory)
    size = {"height": 448, "width": 448}
    SiglipImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(directory)


def write_biovil_t(directory: Path) -> None:
    """BioViL-T's folder, image model and text model."""
    directory.mkdir(parents=True)
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
    # The released file is said to hold the pooler too, which embeddings do not need.
    tensors |= {"bert.pooler.dense.weight": torch.zeros(32, 32), "bert.pooler.dense.bias": torch.zeros(32)}
    torch.save(tensors, directory / "pytorch_model.bin")


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
