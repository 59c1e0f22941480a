"""LLaVA-Rad: its tower, merge and whole walk against transformers' own classes, its files, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench import bench, refused
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.models import ReportRequest
from unix_bench.models.llava_rad.adapter import LlavaRad
from unix_bench.models.llava_rad.language import BASE, LanguageFiles, Lora, load_tokenizer, merge
from unix_bench.models.llava_rad.prompt import ReportSettings, prepare_image
from unix_bench.models.llava_rad.tower import Tower, TowerShape, load_tower
from unix_bench.models.tiny import demo_texts
from unix_bench.weights import fill_seeded

CARD = registry.model("llava-rad")
STATED = CARD.settings["report"]
MEAN, STD = (STATED[name] for name in ("image_mean", "image_std"))
TOWER = "biomedclipcxr_518_checkpoint.pt"
OPEN_CXR = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "llava-rad"
    LlavaRad.write_demo_weights(directory, CARD)
    return directory


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copied"))


def loaded(directory: Path, dtype: str = "float32", **changes: Any) -> LlavaRad:
    settings = LlavaRad.complete_settings(directory, CARD, "report", {**STATED, "max_new_tokens": 24, **changes})
    return LlavaRad.load(directory, CARD, settings, dtype, "cpu")


def xray(seed: int, width: int = 80, height: int = 64) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, size=(9, 11), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def requests() -> list[ReportRequest]:
    told = [None, "Fever and cough for three days, evaluate for pneumonia.", "  ", "Pain."]
    return [ReportRequest(str(n), xray(n), "ignored", indication) for n, indication in enumerate(told)]


def as_dinov2(tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Names of transformers' Dinov2 for a tower's tensors."""
    found = {
        "embeddings.cls_token": tensors["cls_token"],
        "embeddings.position_embeddings": tensors["pos_embed"],
    }
    found |= {
        f"embeddings.patch_embeddings.projection.{k}": tensors[f"patch_embed.proj.{k}"] for k in ("weight", "bias")
    }
    modules = {"norm1": "norm1", "norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for n in range(depth):
        ours, theirs = f"blocks.{n}", f"encoder.layer.{n}"
        found |= {f"{theirs}.layer_scale{k}.lambda1": tensors[f"{ours}.ls{k}.gamma"] for k in (1, 2)}
        for kind in ("weight", "bias"):
            found |= {f"{theirs}.{b}.{kind}": tensors[f"{ours}.{a}.{kind}"] for a, b in modules.items()}
            found[f"{theirs}.attention.o_proj.{kind}"] = tensors[f"{ours}.attn.proj.{kind}"]
            parts = tensors[f"{ours}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip("qkv", parts, strict=True):
                found[f"{theirs}.attention.{name}_proj.{kind}"] = part
    return found


def dinov2_config(shape: TowerShape) -> Dinov2Config:
    return Dinov2Config(
        image_size=shape.pixels,
        patch_size=shape.patch,
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
    )


@pytest.mark.parametrize("grid", [37, 4])
def test_the_tower_is_dinov2_up_to_its_last_block_but_one(grid: int) -> None:
    shape = TowerShape(width=128, depth=3, grid=grid)
    tower = Tower(shape).eval()
    fill_seeded(tower, 3, scale=2.0)
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if name.endswith("gamma"):
                parameter.copy_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(len(name))) + 0.5)
    theirs = Dinov2Model(dinov2_config(shape)).eval()
    said = theirs.load_state_dict(as_dinov2(tower.state_dict(), shape.depth), strict=False)
    assert set(said.missing_keys) == {"embeddings.mask_token", "layernorm.weight", "layernorm.bias"}
    assert said.unexpected_keys == []
    pixels = torch.randn(2, 3, shape.pixels, shape.pixels, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        ours = tower(pixels)
    assert ours.shape == (2, grid**2, 128)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-4)
    assert (ours[0] - ours[1]).abs().max() > 0.1


def test_the_parts_at_their_released_size() -> None:
    """Against transformers' DINOv2-B, and the sizes of the released files that others report."""
    with torch.device("meta"):
        tower, theirs = Tower(TowerShape()), Dinov2Model(Dinov2Config(image_size=518, patch_size=14))
        vicuna = LlamaForCausalLM(LlamaConfig())
    total = sum(parameter.numel() for parameter in theirs.parameters())
    assert sum(parameter.numel() for parameter in tower.parameters()) == total - 768 - 2 * 768  # mask token, final norm
    assert sum(parameter.numel() for parameter in vicuna.parameters()) == 6_738_415_616
    targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    layers = Lora(64, 2.0, targets).layers(vicuna, Path("x"))
    assert len(layers) == 448 // 2
    in_halves = 2 * sum(64 * (layer.in_features + layer.out_features) for layer in layers.values())
    assert 0 < 319_971_402 - in_halves < 448 * 512  # adapter_model.bin; names and padding are the rest
    assert 0 < 39_864_496 - 2 * (768 * 4096 + 4096 + 4096 * 4096 + 4096) < 4096  # non_lora_trainables.bin


def stored(directory: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of base and adapter, read by torch alone."""
    base: dict[str, Tensor] = {}
    for path in sorted((directory / BASE).glob("*.bin")):
        base |= torch.load(path, weights_only=True)
    return base, torch.load(directory / "adapter_model.bin", weights_only=True)


def expected_language(directory: Path) -> LlamaForCausalLM:
    base, adapter = stored(directory)
    stated = json.loads((directory / "adapter_config.json").read_text())
    for name in list(base):
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in adapter:
            a, b = (adapter[f"{key}.lora_{part}.weight"].double() for part in "AB")
            base[name] = base[name].double() + stated["lora_alpha"] / stated["r"] * torch.einsum("or,ri->oi", b, a)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(directory / BASE)).eval()
    model.load_state_dict({name: tensor.float() for name, tensor in base.items()})
    return model


def test_the_adapter_is_merged_into_every_layer_it_names(made: Path) -> None:
    with LanguageFiles(made) as files:
        ours = files.load(torch.float32, "cpu")
    theirs, (base, _) = expected_language(made), stored(made)
    changed = {name for name, tensor in ours.state_dict().items() if not torch.equal(tensor, base[name].float())}
    assert len(changed) == 2 * 7
    assert all(name.endswith("_proj.weight") for name in changed)
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=1e-6)
    assert not any(buffer.is_meta for buffer in ours.buffers())
    ids = torch.arange(3, 40)[None]
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_merged_as_peft_merges(made: Path) -> None:
    peft = pytest.importorskip("peft")
    base = LlamaForCausalLM(LlamaConfig.from_pretrained(made / BASE)).eval()
    base.load_state_dict({name: tensor.float() for name, tensor in stored(made)[0].items()})
    theirs = peft.PeftModel.from_pretrained(base, made).merge_and_unload()
    with LanguageFiles(made) as files:
        ours = files.load(torch.float32, "cpu")
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=1e-5)


def test_merge_adds_alpha_over_r_times_b_a() -> None:
    weight, a, b = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[3.0], [4.0]])
    assert merge(weight.half(), a.half(), b.half(), 2.0).tolist() == [[6.0, 0.0, 12.0], [8.0, 0.0, 16.0]]


def as_llava(directory: Path, image_token: int) -> LlavaForConditionalGeneration:
    """The same model as transformers would build it, from the same files."""
    shape = load_tower(directory, torch.float32, "cpu")[1]
    language = expected_language(directory)
    config = LlavaConfig(
        vision_config=dinov2_config(shape),
        text_config=language.config,
        image_token_index=image_token,
        projector_hidden_act="gelu",
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config).eval()
    prefix = "module.visual.trunk."
    trunk = torch.load(directory / TOWER, weights_only=True)["state_dict"]
    trunk = {k.removeprefix(prefix): v for k, v in trunk.items() if k.startswith(prefix)}
    model.model.vision_tower.load_state_dict(as_dinov2(trunk, shape.depth), strict=False)
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.lm_head.load_state_dict(language.lm_head.state_dict())
    joint = torch.load(directory / "non_lora_trainables.bin", weights_only=True)
    for ours, theirs in (("0", "linear_1"), ("2", "linear_2")):
        layer = getattr(model.model.multi_modal_projector, theirs)
        layer.load_state_dict(
            {k: joint[f"base_model.model.model.mm_projector.{ours}.{k}"].float() for k in ("weight", "bias")}
        )
    return model


def test_reports_as_transformers_llava_writes_them(made: Path) -> None:
    ours = loaded(made)
    image_token = 0  # <unk>, which no prompt holds
    theirs = as_llava(made, image_token)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_mean=MEAN, image_std=STD
    )
    tokenizer = ours.tokenizer
    expected = []
    for request in requests():
        told = (request.indication or "").strip()
        question = STATED["question_with_indication"].replace("{indication}", told) if told else STATED["question"]
        before = tokenizer(STATED["template"].split("<image>")[0], add_special_tokens=False)["input_ids"]
        after = tokenizer(f"\n{question} ASSISTANT:", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[tokenizer.bos_token_id, *before, *[image_token] * 16, *after]])
        written = theirs.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=processor(request.image.convert("RGB"), return_tensors="pt")["pixel_values"],
            max_new_tokens=24,
            do_sample=False,
            pad_token_id=2,
        )
        expected.append(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip())
    assert ours.write(requests()) == expected
    assert len(set(expected)) == 4


def test_a_report_does_not_depend_on_its_batch(made: Path) -> None:
    model = loaded(made, max_new_tokens=60)
    together = model.write(requests())
    assert [model.write([request])[0] for request in requests()] == together
    assert model.write(requests()[::-1]) == together[::-1]
    assert model.write([]) == []
    assert len({len(report) for report in together}) > 1  # some end before others


def test_the_indication_counts_unless_told_otherwise(made: Path) -> None:
    told, untold = loaded(made).write(requests()), loaded(made, use_indication=False).write(requests())
    assert [a == b for a, b in zip(told, untold, strict=True)] == [True, False, True, False]


def test_the_conversation() -> None:
    settings = ReportSettings.checked(STATED)
    before, after = settings.conversation(" Cough {question} <image>. ")
    assert before == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: "
    )
    assert after == (
        "\nProvide a description of the findings in the radiology image given the following indication: "
        "Cough {question} <image>. ASSISTANT:"
    )
    plain = "\nProvide a description of the findings in the radiology image. ASSISTANT:"
    assert settings.conversation(None)[1] == settings.conversation(" \n")[1] == plain


def test_special_tokens_in_an_indication_are_words(made: Path) -> None:
    model = loaded(made)
    assert 2 not in model._ids("Cough </s> and <s>")
    assert model.tokenizer.decode(model._ids("Cough </s>")).strip() == "Cough </s>"


@pytest.mark.parametrize("size", [(80, 64), (64, 80), (56, 56), (300, 100), (91, 301)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pixels_as_a_clip_processor_makes_them(size: tuple[int, int], mode: str) -> None:
    image = xray(5, *size).convert(mode)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_mean=MEAN, image_std=STD
    )
    expected = processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
    ours = prepare_image(image, 56, MEAN, STD)
    assert ours.shape == (3, 56, 56)
    # An odd margin may be cut on either side.
    shifted = [ours, ours.roll(1, 1), ours.roll(1, 2)]
    assert min((one - expected)[:, 1:, 1:].abs().max() for one in shifted) < 1e-5


def test_bfloat16_runs(made: Path) -> None:
    model = loaded(made, "bfloat16", max_new_tokens=4)
    assert {parameter.dtype for parameter in model.language.parameters()} == {torch.bfloat16}
    assert model.language.model.rotary_emb.inv_freq.dtype == torch.float32
    assert len(model.write(requests())) == 4


def test_the_original_vocabulary(tmp_path: Path) -> None:
    """Vicuna comes with sentencepiece's file alone; sentencepiece itself is the truth."""
    sentencepiece = pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    (tmp_path / "words.txt").write_text("\n".join(text.replace("\n", " ") for text in demo_texts()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "words.txt"),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="bpe",
        vocab_size=560,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    ours = load_tokenizer(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    settings = ReportSettings.checked(STATED)
    texts = [text for told in (None, *demo_texts(), "3.5 cm, é中  </s>") for text in settings.conversation(told)]
    for text in texts:
        ids = ours(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ids == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids)
    assert (ours.bos_token_id, ours.eos_token_id) == (1, 2)


def test_without_sentencepiece_it_is_asked_for(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / BASE / "tokenizer.json").rename(copied / BASE / "tokenizer.model")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "unix_bench.released.find_spec",
        lambda name: None if name in ("sentencepiece", "google.protobuf") else found(name),
    )
    with pytest.raises(UserError, match="needs sentencepiece and protobuf to be read: pip install sentencepiece proto"):
        LlavaRad.check_weights(copied, CARD)


def test_demo_weights_are_tiny_and_the_same_every_time(made: Path, tmp_path: Path) -> None:
    LlavaRad.write_demo_weights(tmp_path / "again", CARD)
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert all((made / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in files)
    assert sum((made / path).stat().st_size for path in files) < 3 << 19
    assert {str(path) for path in files} >= {name for name in CARD.files if "*" not in name}
    LlavaRad.check_weights(made, CARD)


def test_other_formats_and_wrappings_of_the_same_weights(made: Path, copied: Path) -> None:
    """One safetensors file for the base, none of the training code's wrappings in names, rotary tables beside."""
    base, adapter = stored(copied)
    base["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
    for path in (copied / BASE).glob("pytorch_model*"):
        path.unlink()
    save_file(base, copied / BASE / "model.safetensors")
    (copied / "adapter_model.bin").unlink()
    save_file(adapter, copied / "adapter_model.safetensors")
    change(copied / "non_lora_trainables.bin", lambda t: renamed(t, "base_model.model.", ""))
    change(copied / TOWER, lambda t: {"state_dict": renamed(t["state_dict"], "module.", "")})
    LlavaRad.check_weights(copied, CARD)
    assert loaded(copied).write(requests()) == loaded(made).write(requests())


def renamed(tensors: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new, 1): tensor for name, tensor in tensors.items()}


def change(path: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Change what a file of torch holds, in place or to what is returned."""
    held = torch.load(path, weights_only=True)
    torch.save(how(held) or held, path)


def restate(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


LAYER = "base_model.model.model.layers.1.mlp.up_proj"
SHARD = f"{BASE}/pytorch_model-00002-of-00002.bin"
BROKEN: Mapping[str, tuple[Callable[[Path], object], list[str]]] = {
    "no adapter": (lambda d: (d / "adapter_model.bin").unlink(), ["adapter_model.bin is missing"]),
    "no base": (
        lambda d: shutil.rmtree(d / BASE),
        ["vicuna-7b-v1.5", "is missing: copy it from lmsys/vicuna-7b-v1.5"],
    ),
    "no shard": (
        lambda d: (d / SHARD).unlink(),
        [f"lacks {Path(SHARD).name} of the 2 shards of its index", "copy them from lmsys"],
    ),
    "no index": (
        lambda d: (d / BASE / "pytorch_model.bin.index.json").unlink(),
        ["pytorch_model.bin.index.json, which says what the shards hold, is missing"],
    ),
    "index leads away": (
        lambda d: restate(d / BASE / "pytorch_model.bin.index.json", weight_map={"a": "../x.bin"}),
        ["does not say which files beside it hold what"],
    ),
    "no tower": (lambda d: (d / TOWER).unlink(), [f"{TOWER} is missing"]),
    "no tokenizer": (lambda d: (d / BASE / "tokenizer.json").unlink(), ["tokenizer.model is missing: copy it from"]),
    "adapter of other names": (
        lambda d: change(d / "adapter_model.bin", lambda t: renamed(t, "base_model.model.", "transformer.")),
        ["28 missing: base_model.model.model.layers.0.", "28 unknown: transformer.model.layers.0."],
    ),
    "adapter lacks a tensor": (
        lambda d: change(d / "adapter_model.bin", lambda t: t.pop(f"{LAYER}.lora_B.weight") is None),
        [f"1 missing: {LAYER}.lora_B.weight [128, 4]"],
    ),
    "adapter of another rank": (
        lambda d: restate(d / "adapter_config.json", r=8),
        ["28 of the wrong shape: ", f"{LAYER}.lora_A.weight [4, 64] instead of [8, 64]"],
    ),
    "adapter of other layers": (
        lambda d: restate(d / "adapter_config.json", target_modules=["q_proj", "query"]),
        ["adapter_config.json: unknown target module 'query'", "q_proj"],
    ),
    "rank-stabilised": (
        lambda d: restate(d / "adapter_config.json", use_rslora=True),
        ["adapter_config.json says use_rslora True, which is no plain LoRA"],
    ),
    "no LoRA": (lambda d: restate(d / "adapter_config.json", peft_type="IA3"), ["says peft_type 'IA3'"]),
    "all linear": (
        lambda d: restate(d / "adapter_config.json", target_modules="all-linear"),
        ["says target_modules 'all-linear', not a list of names"],
    ),
    "base lacks a tensor": (
        lambda d: change(d / SHARD, lambda t: t.pop("model.embed_tokens.weight") is None),
        ["does not fit its shards: 1 tensors are not where it says", "model.embed_tokens.weight"],
    ),
    "another base": (
        lambda d: restate(d / BASE / "config.json", architectures=["MistralForCausalLM"]),
        [f"{BASE}/config.json describes ['MistralForCausalLM'], not a Llama"],
    ),
    "no network": (
        lambda d: restate(d / BASE / "config.json", num_attention_heads=5),
        [f"{BASE}/config.json describes no network ("],
    ),
    "smaller vocabulary": (
        lambda d: restate(d / BASE / "config.json", vocab_size=600),
        ["of the wrong shape: ", "lm_head.weight [640, 64] instead of [600, 64]"],
    ),
    "projector of other names": (
        lambda d: change(d / "non_lora_trainables.bin", lambda t: renamed(t, ".0.", ".1.")),
        ["2 missing: base_model.model.model.mm_projector.0.weight [64, 64]", "2 unknown"],
    ),
    "tower lacks a tensor": (
        lambda d: change(d / TOWER, lambda t: {k: v for k, v in t["state_dict"].items() if "blocks.1.ls2" not in k}),
        ["1 missing: module.visual.trunk.blocks.1.ls2.gamma [64]"],
    ),
    "tower with registers": (
        lambda d: change(
            d / TOWER, lambda t: t["state_dict"] | {"module.visual.trunk.reg_token": torch.zeros(1, 4, 64)}
        ),
        ["1 unknown: module.visual.trunk.reg_token"],
    ),
    "tower at another size": (
        lambda d: restate(
            d / "biomedclipcxr_518.json",
            vision_cfg={"timm_model_name": "vit_base_patch14_dinov2.lvd142m", "image_size": 70},
        ),
        ["1 of the wrong shape: module.visual.trunk.pos_embed [1, 17, 64] instead of [1, 26, 64]"],
    ),
    "another tower": (
        lambda d: restate(
            d / "biomedclipcxr_518.json", vision_cfg={"timm_model_name": "vit_base_patch16_224", "image_size": 56}
        ),
        ["describes the tower vit_base_patch16_224, not a DINOv2 of timm"],
    ),
    "no CLIP": (
        lambda d: change(d / TOWER, lambda t: {"weight": torch.zeros(2)}),
        ["missing: module.visual.trunk."],
    ),
    "joined otherwise": (
        lambda d: restate(d / "config.json", mm_vision_select_layer=-1),
        ["config.json says mm_vision_select_layer -1, LLaVA-Rad has -2"],
    ),
    "truncated": (lambda d: truncate(d / "adapter_model.bin"), ["adapter_model.bin"]),
    "tower truncated": (lambda d: truncate(d / TOWER), [TOWER]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said(copied: Path, name: str) -> None:
    """By the check and by loading alike, and on the command line in one line."""
    damage, parts = BROKEN[name]
    damage(copied)
    checks = (LlavaRad.check_weights, lambda directory, card: LlavaRad.load(directory, card, STATED, "float32", "cpu"))
    for attempt in checks:
        with pytest.raises(UserError) as error:
            attempt(copied, CARD)
        assert all(part in str(error.value) for part in parts), error.value
        assert "\n" not in str(error.value)
    words = ("run", "--model", "llava-rad", "--task", "report", "--weights", copied, "--limit", 1)
    refused(bench(*words))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 0}, "LLaVA-Rad's setting max_new_tokens must be a whole number of 1 or more, not 0"),
        ({"max_new_tokens": 5000}, "max_new_tokens must be 1 to 1024 for these weights, not 5000"),
        ({"max_new_tokens": "24"}, "max_new_tokens must be a whole number of 1 or more, not '24'"),
        ({"use_indication": 1}, "use_indication must be true or false, not 1"),
        ({"template": "USER: {question}"}, "template must hold <image> once"),
        ({"template": "<image> <image> {question}"}, "template must hold <image> once"),
        ({"template": "{question} <image>"}, "template must have <image> before {question}"),
        ({"question_with_indication": "Because."}, "question_with_indication must hold {indication} once"),
        ({"image_mean": [0.5]}, "image_mean must be three numbers, not [0.5]"),
        ({"image_std": [0.5, 0.5, 0.0]}, "image_std above 0"),
        ({"image_mean": [0.5, 0.5, float("nan")]}, "must be finite"),
        ({"temperature": 0.2}, "image_mean, image_std: see to temperature"),
    ],
)
def test_impossible_settings(made: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        LlavaRad.complete_settings(made, CARD, "report", {**STATED, **changes})
    assert message in str(error.value)


def test_settings_of_the_card(made: Path) -> None:
    assert LlavaRad.complete_settings(made, CARD, "report", STATED) == STATED
    with pytest.raises(UserError, match="has no settings for generation"):
        LlavaRad.complete_settings(made, CARD, "generation", {})
    assert set(CARD.parts) == {BASE}
    assert {"image_mean", "image_std", "weights"} <= CARD.verified.keys()


def test_what_has_no_room_or_no_meaning_is_no_report(made: Path) -> None:
    long = ReportRequest("a", xray(1), "", "Cough. " * 400)
    with pytest.raises(ValueError, match="tokens and 24 new ones exceed 1024"):
        loaded(made).write([long])
    model = loaded(made)
    nn.init.constant_(model.language.lm_head.weight, float("nan"))
    with pytest.raises(ValueError, match="scores of the next word are NaN or Inf"):
        model.write(requests())


def run(results: Path, *words: object) -> tuple[Path, bytes, dict[str, str]]:
    """A run's folder, its results and its reports."""
    said = bench("run", "--model", "llava-rad", "--task", "report", "--limit", 4, "--set", "max_new_tokens=32",
                 "--results", results, "--json", "--quiet", *words)  # fmt: skip
    assert said.exit_code == 0, said.output
    folder = results / json.loads(said.stdout)["run"]
    (scored,) = folder.glob("scores/*/results.json")
    lines = [json.loads(line) for file in folder.glob("samples-*.jsonl") for line in file.read_text().splitlines()]
    return folder, scored.read_bytes(), {line["id"]: line["report"] for line in lines}


@pytest.mark.parametrize("data", ["demo", OPEN_CXR])
def test_on_the_command_line(data: str | Path, tmp_path: Path) -> None:
    if isinstance(data, Path) and not data.is_dir():
        pytest.skip("open_cxr is not here")
    folder, results, reports = run(tmp_path / "one", "--data", data)
    _, again, _ = run(tmp_path / "two", "--data", data)
    assert results == again
    assert json.loads(results)["demo"] is True
    assert folder.name.startswith("llava-rad-demo-")
    assert len(reports) == 4
    assert len(set(reports.values())) > 2
    assert run(tmp_path / "three", "--data", data, "--batch-size", 3)[2] == reports
