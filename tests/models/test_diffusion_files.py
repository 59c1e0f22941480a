"""Files of pipelines: layouts that must load, LoRAs that must fit whole, and what is said of everything else."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from bench import bench, refused
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import T5Tokenizer

from unix_bench import registry
from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models import ImageRequest
from unix_bench.models.diffusion.adapter import DiffusionModel
from unix_bench.models.tiny import demo_texts

LORAS = ["sd-3-5-medium", "lumina-2", "flux-1-dev"]
CARDS = {name: registry.model(name) for name in [*LORAS, "sd-2-1", "pixart-sigma", "sana", "diffusers"]}
REQUEST = ImageRequest("a", "Small left pleural effusion.", 11)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pipelines")
    for name, card in CARDS.items():
        DiffusionModel.write_demo_weights(root / name, card)
    return root


@pytest.fixture
def copied(originals: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A card's demo weights, to be damaged."""
    return lambda name: Path(shutil.copytree(originals / name, tmp_path / name))


def drawn(directory: Path, card: ModelCard, **changes: Any) -> np.ndarray:
    stated = {**card.settings["generation"], "steps": 2, "height": 64, "width": 64, **changes}
    settings = DiffusionModel.complete_settings(directory, card, "generation", stated)
    (image,) = DiffusionModel.load(directory, card, settings, "float32", "cpu").draw([REQUEST])
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_changes_the_image_and_scale_0_does_not(originals: Path, name: str) -> None:
    directory, card = originals / name, CARDS[name]
    without = drawn(directory, card, lora="")
    whole, half = (drawn(directory, card, lora_scale=scale) for scale in (1.0, 0.5))
    assert (drawn(directory, card, lora_scale=0.0) == without).all()
    assert (whole != without).any()
    assert (half != without).any()
    assert (half != whole).any()


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_as_its_trainer_saves_it(originals: Path, copied: Callable[[str], Path], name: str) -> None:
    """Made by peft and saved by diffusers, with an alpha; merged into the weights it does the same."""
    directory, card = copied(name), CARDS[name]
    kind = getattr(diffusers, card.architecture)
    pipeline = kind.from_pretrained(directory / "base")
    torch.manual_seed(0)
    adapter = LoraConfig(r=3, lora_alpha=6, target_modules=["to_q", "to_k"], init_lora_weights=False)
    pipeline.transformer.add_adapter(adapter)
    lora = str(card.settings["generation"]["lora"])
    kind.save_lora_weights(
        directory,
        transformer_lora_layers=get_peft_model_state_dict(pipeline.transformer),
        weight_name=lora,
        **_collate_lora_metadata({"transformer": pipeline.transformer}),
    )
    DiffusionModel.check_weights(directory, card)
    ours = drawn(directory, card)
    merged = kind.from_pretrained(directory / "base")
    merged.load_lora_weights(directory, weight_name=lora)
    merged.fuse_lora()
    merged.unload_lora_weights()
    merged.save_pretrained(directory / "base")
    assert np.abs(drawn(directory, card, lora="") - ours).max() <= 1
    assert (drawn(originals / name, card, lora="") != ours).any()


def change(file: Path, by: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(by(load_file(file)), file)


def change_json(path: Path, **changes: object) -> None:
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in {**stated, **changes}.items() if value != "gone"}))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FIRST = "transformer.transformer_blocks.0.attn.to_k.lora_A.weight"
LORA_DAMAGES: Mapping[str, tuple[Callable[[Path], object], list[str]]] = {
    "none of it": (
        lambda f: change(f, lambda t: {f"lora_unet_{k.replace('.', '_')}.x": v for k, v in list(t.items())[:2]}),
        [
            "is no LoRA of this StableDiffusion3Pipeline: 2 of its 2 tensors match nothing in it",
            "lora_unet_transformer_transformer_blocks_0_attn_to_k_lora_A_weight.x",
        ],
    ),
    "another model's": (
        lambda f: change(f, lambda t: {k.replace("transformer_blocks", "layers"): v for k, v in t.items()}),
        ["24 of its 24 tensors match nothing", "transformer.layers.0.attn.to_k.lora_A.weight"],
    ),
    "some of it": (
        lambda f: change(f, lambda t: {**t, "transformer.surprise.lora_A.weight": torch.zeros(2, 4),
                                       "transformer.surprise.lora_B.weight": torch.zeros(4, 2)}),
        ["2 of its 26 tensors match nothing in it: transformer.surprise.lora_A.weight, transformer.surprise.lora_B"],
    ),
    "of a network that is not there": (
        lambda f: change(f, lambda t: {**t, "unet.x.lora_A.weight": torch.zeros(2, 4)}),
        ["1 of its 25 tensors match nothing in it: unet.x.lora_A.weight"],
    ),
    "half of a pair": (
        lambda f: change(f, lambda t: {k: v for k, v in t.items() if k != FIRST}),
        [f"lacks {FIRST}"],
    ),
    "shapes": (
        lambda f: change(f, lambda t: {k: torch.zeros(2, 8) if k == FIRST else v for k, v in t.items()}),
        ["does not fit StableDiffusion3Pipeline", "size mismatch"],
    ),
    "empty": (lambda f: save_file({}, f), ["sd3-5_medium_lora.safetensors holds no matrices, so it is no LoRA"]),
    "numbers of no network": (
        lambda f: change(f, lambda t: {**t, FIRST: t[FIRST] * float("nan")}),
        [f"holds NaN or Inf in {FIRST}"],
    ),
    "whole numbers": (
        lambda f: change(f, lambda t: {**t, FIRST: t[FIRST].to(torch.int8)}),
        [f"has tensors of whole numbers or 8 bits: {FIRST} I8"],
    ),
    "truncated": (truncate, ["sd3-5_medium_lora.safetensors is not a whole safetensors file"]),
    "missing": (lambda f: f.unlink(), ["sd3-5_medium_lora.safetensors is missing"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LORA_DAMAGES)
def test_what_is_wrong_with_a_lora_is_said(copied: Callable[[str], Path], name: str) -> None:
    """By the check, which loads no weights of the base, and by loading."""
    damage, parts = LORA_DAMAGES[name]
    directory, card = copied("sd-3-5-medium"), CARDS["sd-3-5-medium"]
    damage(directory / "sd3-5_medium_lora.safetensors")
    for attempt in (DiffusionModel.check_weights, drawn):
        with pytest.raises(UserError) as error:
            attempt(directory, card)
        for part in parts:
            assert part in str(error.value)
        assert "\n" not in str(error.value)


def with_lora(name: str) -> ModelCard:
    """The card with a LoRA, in a file of any name."""
    settings = {**CARDS[name].settings["generation"], "lora": "lora.safetensors"}
    return CARDS[name].model_copy(update={"settings": {"generation": settings}})


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_a_lora_of_the_text_encoder(copied: Callable[[str], Path], prefix: str) -> None:
    """As transformers names its modules now, and as diffusers' trainers have always saved them."""
    directory, card = copied("sd-2-1"), with_lora("sd-2-1")
    kind = diffusers.StableDiffusionPipeline
    pipeline = kind.from_pretrained(directory)
    torch.manual_seed(0)
    pipeline.text_encoder.add_adapter(LoraConfig(r=3, target_modules=["q_proj", "k_proj"], init_lora_weights=False))
    layers = get_peft_model_state_dict(pipeline.text_encoder)
    kind.save_lora_weights(
        directory,
        text_encoder_lora_layers={f"{prefix}{key}": value for key, value in layers.items()},
        weight_name="lora.safetensors",
    )
    DiffusionModel.check_weights(directory, card)
    assert (drawn(directory, card) != drawn(directory, CARDS["sd-2-1"])).any()


def kohya(directory: Path) -> dict[str, torch.Tensor]:
    """A LoRA of the UNet as the scripts of that name save it."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(directory / "unet")
    tensors: dict[str, torch.Tensor] = {}
    for path, module in unet.named_modules():
        if path.endswith(("attn1.to_q", "attn1.to_k")):
            given, taken = module.weight.shape
            key = f"lora_unet_{path.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(2, taken)
            tensors[f"{key}.lora_up.weight"] = torch.randn(given, 2)
            tensors[f"{key}.alpha"] = torch.tensor(2.0)
    return tensors


def test_a_lora_in_kohyas_spelling(copied: Callable[[str], Path]) -> None:
    directory, card = copied("sd-2-1"), with_lora("sd-2-1")
    tensors = kohya(directory)
    save_file(tensors, directory / "lora.safetensors")
    DiffusionModel.check_weights(directory, card)
    assert (drawn(directory, card) != drawn(directory, CARDS["sd-2-1"])).any()
    first = next(key for key in tensors if "down.weight" in key)
    save_file({**tensors, first: torch.zeros(2, 3)}, directory / "lora.safetensors")
    with pytest.raises(UserError, match="size mismatch") as error:
        DiffusionModel.check_weights(directory, card)
    assert "match nothing" not in str(error.value)


def test_many_unmatched_tensors_are_folded(copied: Callable[[str], Path]) -> None:
    directory = copied("sd-3-5-medium")
    pair = {"A": torch.zeros(2, 4), "B": torch.zeros(4, 2)}
    strange = {f"transformer.deep.{n}.lora_{m}.weight": t.clone() for n in range(30) for m, t in pair.items()}
    change(directory / "sd3-5_medium_lora.safetensors", lambda tensors: {**tensors, **strange})
    with pytest.raises(
        UserError, match=r"60 of its 84 .*transformer\.deep\.\*\.lora_A\.weight \(\* = 0, 1, 10"
    ) as error:
        DiffusionModel.check_weights(directory, CARDS["sd-3-5-medium"])
    assert len(str(error.value)) < 600


def test_a_lora_needs_peft(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unix_bench.models.diffusion.lora.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs peft, which is not installed: pip install 'unix-bench\[diffusers\]'"):
        DiffusionModel.check_weights(originals / "flux-1-dev", CARDS["flux-1-dev"])


def test_the_base_beside_its_lora(copied: Callable[[str], Path]) -> None:
    directory, card = copied("lumina-2"), CARDS["lumina-2"]
    expected = drawn(directory, card)
    for part in (directory / "base").iterdir():
        part.rename(directory / part.name)
    assert (drawn(directory, card) == expected).all()


def test_shards_and_earlier_names(copied: Callable[[str], Path]) -> None:
    directory, card = copied("sd-2-1"), CARDS["sd-2-1"]
    expected = drawn(directory, card)
    unet = diffusers.UNet2DConditionModel.from_pretrained(directory / "unet")
    (directory / "unet" / WEIGHTS).unlink()
    unet.save_pretrained(directory / "unet", max_shard_size="40KB")
    assert len(list((directory / "unet").glob("*-of-*.safetensors"))) > 2
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name, old in new.items():
        change(
            directory / "vae" / WEIGHTS,
            lambda t, a=name, b=old: {k.replace(f".{a}.", f".{b}."): v for k, v in t.items()},
        )
    change(
        directory / "text_encoder" / "model.safetensors",
        lambda t: (
            {f"text_model.{k}": v for k, v in t.items()} | {"text_model.embeddings.position_ids": torch.arange(77)}
        ),
    )
    DiffusionModel.check_weights(directory, card)
    assert (drawn(directory, card) == expected).all()
    index = directory / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    shard = next(iter(json.loads(index.read_text())["weight_map"].values()))
    (directory / "unet" / shard).unlink()
    with pytest.raises(UserError, match=rf"unet lacks {shard} of the \d+ shards of its index"):
        DiffusionModel.check_weights(directory, card)


def test_the_vocabulary_of_sentencepiece(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As T5's releases have it; its pieces are sentencepiece's own."""
    import sentencepiece

    directory, card = copied("pixart-sigma"), CARDS["pixart-sigma"]
    place, model = directory / "tokenizer", io.BytesIO()
    (place / "tokenizer.json").unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text.replace("\n", " ") for text in demo_texts()), model_writer=model, vocab_size=100,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, num_threads=1, minloglevel=2,
    )  # fmt: skip
    (place / "spiece.model").write_bytes(model.getvalue())
    change_json(place / "tokenizer_config.json", extra_ids=0)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode(REQUEST.prompt)
    assert T5Tokenizer.from_pretrained(place)(REQUEST.prompt).input_ids == [*pieces, 1]
    DiffusionModel.check_weights(directory, card)
    assert drawn(directory, card).std() > 0
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    monkeypatch.setattr("unix_bench.released.find_spec", lambda name: None if "piece" in name else 1)
    with pytest.raises(UserError, match=r"spiece\.model needs sentencepiece to be read: pip install"):
        DiffusionModel.check_weights(directory, card)


def _pickled(directory: Path) -> None:
    file = directory / "unet" / WEIGHTS
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()


def _surprised(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    kept = {key: value for key, value in tensors.items() if key != "conv_in.bias"}
    return {**kept, "surprise": torch.zeros(1), "conv_out.bias": torch.zeros(5)}


def _without_norm(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in tensors.items() if key != "final_layer_norm.weight"}


def in_shards(folder: Path, keep: bool = False) -> Path:
    """Save a UNet in shards; `keep`: beside the whole file. Returns the first shard."""
    whole = (folder / WEIGHTS).read_bytes()
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    unet.save_pretrained(folder, max_shard_size="40KB")
    if keep:
        (folder / WEIGHTS).write_bytes(whole)
    return min(folder.glob("*-of-*.safetensors"))


def _forget_words(directory: Path) -> None:
    place, key = directory / "text_encoder", "embeddings.token_embedding.weight"
    change_json(place / "config.json", vocab_size=40)
    change(place / "model.safetensors", lambda t: {**t, key: t[key][:40].clone()})


INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
DAMAGES: Mapping[str, tuple[Callable[[Path], object], list[str]]] = {
    "no index": (lambda d: (d / INDEX).unlink(), ["model_index.json is missing: copy it from raman07/"]),
    "no JSON": (lambda d: (d / INDEX).write_text("{"), ["model_index.json cannot be read"]),
    "another class": (
        lambda d: change_json(d / INDEX, _class_name="SanaPipeline"),
        ["model_index.json describes SanaPipeline, not StableDiffusionPipeline: copy raman07/"],
    ),
    "code in place of a class": (
        lambda d: change_json(d / INDEX, _class_name=["pipeline", "Mine"]),
        ["names no class of diffusers but ['pipeline', 'Mine'], and code from a folder is not run"],
    ),
    "a part that is code": (
        lambda d: change_json(d / INDEX, unet=["my_unet", "MyUNet"]),
        ["says that unet is ['my_unet', 'MyUNet'], which is no class of diffusers", "code from a folder is not run"],
    ),
    "a part of no class": (
        lambda d: change_json(d / INDEX, vae=["diffusers", "Nothing"]),
        ["vae is ['diffusers', 'No"],
    ),
    "an open class": (
        lambda d: change_json(d / INDEX, text_encoder=["transformers", "AutoModel"]),
        ["leaves the class of text_encoder open (AutoModel)"],
    ),
    "a part not named": (
        lambda d: change_json(d / INDEX, vae="gone"),
        ["model_index.json names no vae: copy raman07/"],
    ),
    "no folder": (lambda d: shutil.rmtree(d / "vae"), ["vae is missing: copy the whole pipeline there"]),
    "no config": (lambda d: (d / "unet/config.json").unlink(), ["unet/config.json is missing: copy it from raman07/"]),
    "no weights": (lambda d: (d / "unet" / WEIGHTS).unlink(), [f"unet/{WEIGHTS} is missing: copy it from raman07/"]),
    "a pickle": (
        _pickled,
        ["unet holds diffusion_pytorch_model.bin, a pickle, which is not read: save it as diffusion"],
    ),
    "truncated": (lambda d: truncate(d / "vae" / WEIGHTS), [f"vae/{WEIGHTS} is not a whole safetensors file"]),
    "text truncated": (
        lambda d: truncate(d / "text_encoder/model.safetensors"),
        ["text_encoder/model.safetensors is not a whole safetensors file"],
    ),
    "tensors": (
        lambda d: change(d / "unet" / WEIGHTS, _surprised),
        [
            "1 missing: conv_in.bias [8]",
            "1 of the wrong shape: conv_out.bias [5] instead of [4]",
            "1 unknown: surprise",
        ],
    ),
    "text tensors": (
        lambda d: change(d / "text_encoder/model.safetensors", _without_norm),
        ["text_encoder", "1 missing: final_layer_norm.weight [32]"],
    ),
    "another network": (
        lambda d: change_json(d / "unet/config.json", _class_name="SanaTransformer2DModel"),
        ["unet/config.json describes SanaTransformer2DModel, not UNet2DConditionModel"],
    ),
    "no network": (
        lambda d: change_json(d / "unet/config.json", norm_num_groups=3),
        ["unet/config.json describes no UNet2DConditionModel ("],
    ),
    "whole and in shards": (
        lambda d: in_shards(d / "unet", keep=True),
        [f"unet holds both {WEIGHTS} and {WEIGHTS}.index.json: leave only the one of raman07/"],
    ),
    "a shard without a tensor": (
        lambda d: change(in_shards(d / "unet"), lambda t: dict([*t.items()][1:])),
        [f"unet/{WEIGHTS}.index.json does not fit its shards: 1 tensors are not where it says"],
    ),
    "whole numbers": (
        lambda d: change(d / "unet" / WEIGHTS, lambda t: {**t, "conv_in.bias": t["conv_in.bias"].to(torch.int8)}),
        ["1 not of floating numbers of 16 bits or more: conv_in.bias I8"],
    ),
    "8 bits": (
        lambda d: change(
            d / "vae" / WEIGHTS, lambda t: {k: v.to(torch.float8_e4m3fn) if "quant" in k else v for k, v in t.items()}
        ),
        ["4 not of floating numbers of 16 bits or more: ", "post_quant_conv.weight F8_E4M3"],
    ),
    "text of whole numbers": (
        lambda d: change(d / "text_encoder/model.safetensors", lambda t: {k: v.to(torch.int64) for k, v in t.items()}),
        ["text_encoder/model.safetensors has tensors of whole numbers or 8 bits: ", "final_layer_norm.weight I64"],
    ),
    "more words than embeddings": (
        _forget_words,
        ["tokenizer has ", " tokens and its text encoder embeddings for 40: copy both from raman07/"],
    ),
    "an empty scheduler": (
        lambda d: (d / SCHEDULER).write_text("{}"),
        ["scheduler_config.json describes None, not DDIMScheduler: copy raman07/"],
    ),
    "another scheduler": (
        lambda d: change_json(d / SCHEDULER, _class_name="PNDMScheduler"),
        ["scheduler_config.json describes PNDMScheduler, not DDIMScheduler"],
    ),
    "a scheduler that says too little": (
        lambda d: change_json(d / SCHEDULER, prediction_type="gone", beta_end="gone"),
        ["scheduler_config.json lacks beta_end, prediction_type, which would be the library's own"],
    ),
    "a scheduler's misspelt key": (
        lambda d: change_json(d / SCHEDULER, timestep_spaceing="trailing"),
        ["scheduler_config.json says timestep_spaceing, which DDIMScheduler does not know"],
    ),
    "what no scheduler predicts": (
        lambda d: change_json(d / SCHEDULER, prediction_type="velocity"),
        ["prediction_type must be one of epsilon, sample, v_prediction, not 'velocity'"],
    ),
    "no vocabulary": (
        lambda d: (d / "tokenizer/merges.txt").unlink(),
        ["tokenizer holds no vocabulary (tokenizer.json"],
    ),
    "no scheduler": (
        lambda d: (d / "scheduler/scheduler_config.json").unlink(),
        ["scheduler/scheduler_config.json is missing"],
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_broken_is_said(copied: Callable[[str], Path], name: str) -> None:
    """By the check, by loading, and on the command line in one line."""
    damage, parts = DAMAGES[name]
    directory, card = copied("sd-2-1"), CARDS["sd-2-1"]
    damage(directory)
    for attempt in (DiffusionModel.check_weights, drawn):
        with pytest.raises(UserError) as error:
            attempt(directory, card)
        for part in parts:
            assert part in str(error.value)
        assert "\n" not in str(error.value)
    words = ("run", "--model", "sd-2-1", "--task", "generation", "--weights", directory, "--limit", 2, "--dry-run")
    refused(bench(*words), *parts)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("StableDiffusionImg2ImgPipeline", "StableDiffusionImg2ImgPipeline does not draw images from prompts alone"),
        ("StableDiffusionControlNetPipeline", "does not draw images from prompts alone: give a text-to-image pipeline"),
        ("WanPipeline", "WanPipeline does not draw images from prompts alone"),
        ("AutoencoderKL", "has no pipeline 'AutoencoderKL'"),
        ("NoSuchPipeline", "has no pipeline 'NoSuchPipeline': see to its model_index.json"),
    ],
)
def test_the_generic_card_refuses_what_is_no_text_to_image(
    copied: Callable[[str], Path], name: str, message: str
) -> None:
    directory = copied("diffusers")
    change_json(directory / INDEX, _class_name=name)
    with pytest.raises(UserError, match=message):
        DiffusionModel.check_weights(directory, CARDS["diffusers"])


def test_the_safety_checker_is_never_loaded(copied: Callable[[str], Path]) -> None:
    """Not even where the index names one, as older releases do, by an older library."""
    directory, card = copied("sd-2-1"), CARDS["sd-2-1"]
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    change_json(directory / INDEX, safety_checker=checker, feature_extractor=["transformers", "CLIPImageProcessor"])
    DiffusionModel.check_weights(directory, card)
    settings = DiffusionModel.complete_settings(directory, card, "generation", card.settings["generation"])
    model = DiffusionModel.load(directory, card, settings, "float32", "cpu")
    assert model.pipeline.safety_checker is None


def test_files_of_early_releases(copied: Callable[[str], Path]) -> None:
    """Stable Diffusion 1's: what they do not say could not be said then, and has been one value ever since."""
    directory, card = copied("sd-2-1"), CARDS["sd-2-1"]
    change_json(directory / SCHEDULER, prediction_type="epsilon")
    expected = drawn(directory, card)
    early = {"_diffusers_version": "0.7.0.dev0"}
    change_json(directory / SCHEDULER, prediction_type="gone", skip_prk_steps=True, **early)
    change_json(directory / "vae/config.json", scaling_factor="gone", **early)
    change_json(directory / "text_encoder/config.json", max_position_embeddings="gone")
    DiffusionModel.check_weights(directory, card)
    assert (drawn(directory, card) == expected).all()


@pytest.mark.parametrize(
    ("name", "file", "changes", "message"),
    [
        ("sd-2-1", "vae/config.json", {"scaling_factor": None}, "says scaling_factor None, which is none"),
        ("sd-2-1", "vae/config.json", {"scaling_factor": 0}, "says scaling_factor 0, which is none"),
        ("sd-2-1", "vae/config.json", {"scaling_factor": "gone"}, "says scaling_factor None, which is none"),
        ("sd-3-5-medium", "base/vae/config.json", {"shift_factor": None}, "says shift_factor None, which is none"),
        ("sd-3-5-medium", "base/transformer/config.json", {"patch_size": None}, "base describes no StableDiffusion3Pi"),
        (
            "sd-3-5-medium",
            "base/text_encoder_2/config.json",
            {"max_position_embeddings": 20},
            "clip_tokens must be from 2 to 20 for these weights, not 77",
        ),
    ],
)
def test_what_no_sample_could_be_drawn_with(
    copied: Callable[[str], Path], name: str, file: str, changes: dict[str, Any], message: str
) -> None:
    directory, card = copied(name), CARDS[name]
    change_json(directory / file, **changes)
    with pytest.raises(UserError, match=message):
        DiffusionModel.complete_settings(directory, card, "generation", card.settings["generation"])


def test_a_schedule_of_flow_says_its_shift(copied: Callable[[str], Path]) -> None:
    directory = copied("sd-3-5-medium")
    change_json(directory / "base" / SCHEDULER, shift="gone")
    with pytest.raises(UserError, match=r"scheduler_config\.json lacks shift, which would be the library's own"):
        DiffusionModel.check_weights(directory, CARDS["sd-3-5-medium"])


def test_luminas_vae_of_another_stride(copied: Callable[[str], Path]) -> None:
    """The pipeline takes 8 for granted, and would silently draw another size."""
    directory = copied("lumina-2")
    change_json(directory / "base" / "vae" / "config.json", block_out_channels=[4, 4])
    with pytest.raises(UserError, match="vae has 2 pixels a latent where Lumina2Pipeline counts on 8"):
        drawn(directory, CARDS["lumina-2"])


def test_no_demo_of_a_class_without_one(tmp_path: Path) -> None:
    card = CARDS["diffusers"].model_copy(update={"architecture": "ChromaPipeline"})
    with pytest.raises(UserError, match="there is no demo of ChromaPipeline"):
        DiffusionModel.write_demo_weights(tmp_path / "x", card)
