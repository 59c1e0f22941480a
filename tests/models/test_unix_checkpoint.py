"""The released layout: names, strictness, tolerance, files that are broken or hostile."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from unix_bench.errors import UserError
from unix_bench.models.unix import UniX, UniXConfig, checkpoint
from unix_bench.weights import TensorFile

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the golden weights that a test may damage."""
    for name in ("config.json", "model.safetensors", "vae/vae.safetensors"):
        (tmp_path / "UniX" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(GOLDEN / "unix" / name, tmp_path / "UniX" / name)
    return tmp_path / "UniX"


def as_checkpoint(weights: Path, wrap: object) -> None:
    """Turn the safetensors VAE into a released-style .ckpt."""
    source = weights / "vae" / "vae.safetensors"
    torch.save(wrap(load_file(source)), weights / "vae" / checkpoint.VAE_CHECKPOINT)
    source.unlink()


def listed(name: str) -> dict[str, tuple[int, ...]]:
    """The published list of tensors, `N` unfolded."""
    shapes = {}
    for line in (GOLDEN / "released" / f"{name}.txt").read_text().splitlines():
        key, shape = re.match(r"(\S+)\s+\[([\d, ]*)\]", line).groups()
        for n in range(24) if ".N." in key else [0]:
            shapes[key.replace(".N.", f".{n}.")] = tuple(int(size) for size in shape.split(","))
    return shapes


def test_full_size_model_has_the_released_tensors() -> None:
    with torch.device("meta"):
        model = UniX(UniXConfig())
    main = {tie.key: tie.shape for tie in checkpoint.main_ties(model.config, checkpoint.parameter_shapes(model))}
    vae = {tie.key: tie.shape for tie in checkpoint.vae_ties(model.config, checkpoint.parameter_shapes(model.vae))}
    expected = {key: shape for key, shape in listed("main").items() if not checkpoint.UNUSED_MAIN.match(key)}
    tables = {  # kept apart from the list: single tensors of the top level
        key: shape for key, shape in main.items() if not key.startswith(("language_model.", "vit_model."))
    }
    assert {key: shape for key, shape in main.items() if key not in tables} == {
        key: shape for key, shape in expected.items() if key.startswith(("language_model.", "vit_model."))
    }
    assert vae == listed("vae")
    # 3,216,835,600 in all, of which the pooling head and vit_pos_embed are never used
    used = 3_216_835_600 - 12_595_200 - 1_179_648
    assert sum(torch.Size(shape).numel() for shape in main.values()) == used
    assert sum(torch.Size(shape).numel() for shape in vae.values()) == 69_610_963


def test_every_row_of_every_parameter_is_filled(weights: Path) -> None:
    model = UniX.from_pretrained(weights)
    for ties, module in (
        (checkpoint.main_ties(model.config, checkpoint.parameter_shapes(model)), model),
        (checkpoint.vae_ties(model.config, checkpoint.parameter_shapes(model.vae)), model.vae),
    ):
        covered = {name: torch.zeros(len(parameter)) for name, parameter in module.named_parameters()}
        for tie in ties:
            covered[tie.parameter][tie.parameter_rows] += 1
        untouched = [name for name, rows in covered.items() if not name.startswith("vae.") and (rows != 1).any()]
        assert untouched == []


def test_saved_weights_hold_the_bytes_that_were_loaded(weights: Path, tmp_path: Path) -> None:
    UniX.from_pretrained(weights).save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "vae/vae.safetensors"):
        before, after = load_file(weights / name), load_file(tmp_path / "again" / name)
        assert set(after) <= set(before)
        assert all(torch.equal(before[key], tensor) for key, tensor in after.items())
    assert UniXConfig.from_directory(tmp_path / "again") == UniXConfig.from_directory(weights)


def test_wrong_tensors_are_all_named(weights: Path) -> None:
    path = weights / "model.safetensors"
    tensors = load_file(path)
    del tensors["llm2vae.bias"], tensors["language_model.model.layers.1.self_attn.q_proj_moe_gen.weight"]
    tensors["connector.layers.0.weight"] = torch.zeros(64, 31)
    tensors["vit_model.vision_tower.blocks.1.attn.qkv.bias"] = torch.zeros(95)
    tensors["surprise"] = torch.zeros(1)
    save_file(tensors, path)
    with pytest.raises(UserError) as caught:
        UniX.from_pretrained(weights)
    message = str(caught.value)
    for part in (
        str(path),
        "2 missing: ",
        "llm2vae.bias [16]",
        "layers.1.self_attn.q_proj_moe_gen.weight [64, 64]",
        "2 of the wrong shape: ",
        "connector.layers.0.weight [64, 31] instead of [64, 32]",
        "blocks.1.attn.qkv.bias [95] instead of [96]",
        "1 unknown: surprise",
    ):
        assert part in message


@pytest.mark.parametrize(
    "key",
    [
        "language_model.model.repa_loss_fn.projectors.0.mlp.0.weight",
        "vit_pos_embed.pos_embed",
        "vision_model.vision_tower.pos_embed",
        "aligner.layers.0.weight",
        "gen_embed.weight",
    ],
)
def test_unused_tensors_are_tolerated(weights: Path, key: str) -> None:
    tensors = load_file(weights / "model.safetensors")
    save_file({**tensors, key: torch.zeros(3)}, weights / "model.safetensors")
    UniX.check_pretrained(weights)


def test_weights_without_the_unused_tensors_load(weights: Path) -> None:
    tensors = load_file(weights / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if not checkpoint.UNUSED_MAIN.match(key)}
    assert len(kept) < len(tensors)
    save_file(kept, weights / "model.safetensors")
    UniX.check_pretrained(weights)


LIGHTNING = ("pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint")


class ModelCheckpoint:
    """Stands where pytorch_lightning.callbacks.ModelCheckpoint stands in a released checkpoint."""

    def __init__(self) -> None:
        self.best = 0.1


@pytest.mark.parametrize("bare", [True, False])
def test_released_vae_checkpoint(weights: Path, bare: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bare tensors, or a Lightning checkpoint with a callback class, losses, and none of its code at hand."""
    expected = UniX.from_pretrained(weights).vae.state_dict()

    def wrap(tensors: dict[str, torch.Tensor]) -> object:
        if bare:
            return tensors
        tensors["loss.logvar"] = torch.zeros(())
        return {"epoch": 3, "state_dict": tensors, "callbacks": {ModelCheckpoint: {"best": ModelCheckpoint()}}}

    monkeypatch.setattr(ModelCheckpoint, "__module__", LIGHTNING[-1])
    with monkeypatch.context() as patch:
        for name in LIGHTNING:
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setattr(sys.modules[LIGHTNING[-1]], "ModelCheckpoint", ModelCheckpoint, raising=False)
        as_checkpoint(weights, wrap)
    loaded = UniX.from_pretrained(weights).vae.state_dict()
    assert all(torch.equal(expected[key], tensor) for key, tensor in loaded.items())


class Hostile:
    def __reduce__(self) -> object:
        return (Path.touch, (Path("owned"),))


def test_code_in_a_checkpoint_is_not_run(weights: Path) -> None:
    as_checkpoint(weights, lambda tensors: {"state_dict": tensors, "extra": Hostile()})
    with pytest.raises(UserError, match="code from a checkpoint is never run"):
        UniX.from_pretrained(weights)
    assert not Path("owned").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "vae/vae.safetensors"])
@pytest.mark.parametrize("size", [0, 4, 100, 200_000])
def test_truncated_safetensors(weights: Path, name: str, size: int) -> None:
    (weights / name).write_bytes((weights / name).read_bytes()[:size])
    with pytest.raises(UserError, match=rf"{re.escape(name)} is not a whole safetensors file"):
        UniX.from_pretrained(weights)


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_truncated_vae_checkpoint(weights: Path, size: int) -> None:
    as_checkpoint(weights, lambda tensors: tensors)
    path = weights / "vae" / checkpoint.VAE_CHECKPOINT
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"kl-f16d16\.ckpt (is not a whole torch checkpoint|holds more than tensors)"):
        UniX.from_pretrained(weights)


def test_old_style_pickle_is_not_run(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UserError):
        TensorFile.open(tmp_path / "old.pth")
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "model.safetensors is missing"),
        ("vae/vae.safetensors", "vae holds no VAE"),
    ],
)
def test_missing_file(weights: Path, name: str, message: str) -> None:
    (weights / name).unlink()
    with pytest.raises(UserError, match=message):
        UniX.from_pretrained(weights)


def test_two_vae_files_are_ambiguous(weights: Path) -> None:
    shutil.copyfile(weights / "vae" / "vae.safetensors", weights / "vae" / "other.safetensors")
    with pytest.raises(UserError, match=r"several VAE files \(other\.safetensors, vae\.safetensors\)"):
        UniX.from_pretrained(weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a valid configuration file"),
        ("[]", "does not hold a JSON object"),
        ('{"llm_config": {"num_attention_heads": 3}}', "not an even multiple"),
        ('{"llm_config": {"hidden_size": "wide"}}', "llm_config.hidden_size"),
        ('{"vae_config": {"ddconfig": {"ch": 33}}}', "ch 33 times ch_mult is not a multiple of 32"),
        ('{"vit_config": {"num_attention_heads": 5}}', "hidden_size 1024 is not a multiple"),
        ('{"llm_config": {"vocab_size": 10}}', "outside the vocabulary"),
    ],
)
def test_bad_config(weights: Path, text: str, message: str) -> None:
    (weights / "config.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        UniX.from_pretrained(weights)
    assert "config.json" in str(caught.value)


def test_config_defaults_are_the_released_sizes(tmp_path: Path) -> None:
    config = UniXConfig.from_directory(tmp_path)
    assert (config.language.hidden_size, config.language.num_hidden_layers, config.language.vocab_size) == (
        2048,
        24,
        102_400,
    )
    assert (config.vision.hidden_size, config.vision.image_size) == (1024, 384)
    assert config.special_tokens.end_of_image == 100_580


def test_vae_sizes_come_from_the_released_yaml(weights: Path) -> None:
    stated = (GOLDEN / "unix" / "config.json").read_text()
    config = json.loads(stated)
    vae = config.pop("vae_config")
    (weights / "config.json").write_text(json.dumps(config))
    params = {"ddconfig": vae["ddconfig"], "embed_dim": 16, "monitor": "val/rec_loss", "lossconfig": {"target": "x"}}
    document = {"model": {"base_learning_rate": 4.5e-6, "target": "ldm.AutoencoderKL", "params": params}}
    (weights / "vae" / "config.yaml").write_text(yaml.safe_dump(document))
    assert UniXConfig.from_directory(weights).vae.ddconfig.ch == 32
    UniX.check_pretrained(weights)
    (weights / "vae" / "config.yaml").write_text("model: {}")
    with pytest.raises(UserError, match=r"config\.yaml.*no model\.params"):
        UniXConfig.from_directory(weights)
