"""RadEdit: its walk against diffusers' own pipeline, its files, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench import bench, refused
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizer

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.models import ImageRequest
from unix_bench.models.radedit.adapter import RadEdit

CARD = registry.model("radedit")
SMALL: dict[str, Any] = {"steps": 4, "guidance_scale": 3.0, "size": 64, "max_tokens": 128, "negative_prompt": ""}
LONG = "Small left pleural effusion with adjacent atelectasis. " * 30  # cut
REQUESTS = [
    ImageRequest("a", "No acute cardiopulmonary process.", 11),
    ImageRequest("b", LONG, 12),
    ImageRequest("c", "", 13),
]
OPEN_CXR = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "radedit"
    RadEdit.write_demo_weights(directory, CARD)
    return directory


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copied"))


def loaded(directory: Path, dtype: str = "float32", **changes: Any) -> RadEdit:
    settings = RadEdit.complete_settings(directory, CARD, "generation", {**SMALL, **changes})
    return RadEdit.load(directory, CARD, settings, dtype, "cpu")


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def published_pipeline(directory: Path) -> StableDiffusionPipeline:
    """Put together as public code does it, but for the text model's class."""
    text = directory / "text_encoder"
    stated = json.loads((text / "config.json").read_text())
    bert = BertModel(BertConfig(**{k: v for k, v in stated.items() if k != "model_type"}), add_pooling_layer=False)
    stored = torch.load(text / "pytorch_model.bin", weights_only=True)
    bert.load_state_dict({k.removeprefix("bert."): v for k, v in stored.items() if k.startswith("bert.")})
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel.from_pretrained(directory, subfolder="unet", low_cpu_mem_usage=False),
        vae=AutoencoderKL.from_pretrained(directory / "vae", low_cpu_mem_usage=False),
        text_encoder=bert.eval(),
        tokenizer=BertTokenizer.from_pretrained(text, model_max_length=128),
        scheduler=DDIMScheduler(
            beta_schedule="linear",
            clip_sample=False,
            prediction_type="epsilon",
            timestep_spacing="trailing",
            steps_offset=1,
        ),
        safety_checker=None,
        requires_safety_checker=False,
        feature_extractor=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("changes", [{}, {"steps": 7, "guidance_scale": 7.5}, {"guidance_scale": 1.0, "size": 72}])
def test_drawn_as_diffusers_pipeline_draws(made: Path, changes: dict[str, Any]) -> None:
    settings = {**SMALL, **changes}
    expected = published_pipeline(made)(
        prompt=[request.prompt for request in REQUESTS],
        num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance_scale"],
        height=settings["size"],
        width=settings["size"],
        generator=[torch.Generator().manual_seed(request.seed) for request in REQUESTS],
    ).images
    drawn = loaded(made, **changes).draw(REQUESTS)
    assert [image.size for image in drawn] == [(settings["size"],) * 2] * 3
    for ours, theirs in zip(drawn, expected, strict=True):
        assert np.abs(pixels(ours) - pixels(theirs)).max() <= 1
    assert np.abs(pixels(drawn[0]) - pixels(drawn[1])).max() > 20


def test_latents_and_what_is_made_of_them_are_the_pipelines(made: Path) -> None:
    """Grey levels of a random VAE hide the last step's size and the latents' scale; before rounding both show."""
    pipeline, model = published_pipeline(made), loaded(made)
    prompts = [request.prompt for request in REQUESTS]

    def theirs(output_type: str) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(request.seed) for request in REQUESTS]
        return pipeline(
            prompts, num_inference_steps=4, guidance_scale=3.0, height=64, width=64, generator=generators,
            output_type=output_type,
        ).images  # fmt: skip

    with torch.inference_mode():
        latents = model.latents(model.read(prompts), model.noise(REQUESTS))
        decoded = torch.stack([model._decoded(latent) for latent in latents])
    assert torch.allclose(latents, theirs("latent"), rtol=0, atol=1e-5)
    assert torch.allclose((decoded / 2 + 0.5).clamp(0, 1), theirs("pt"), rtol=0, atol=2e-5)


def test_every_setting_and_the_prompt_matter(made: Path) -> None:
    plain = pixels(loaded(made).draw(REQUESTS[:1])[0])
    same_seed = [ImageRequest("a", "Cardiomegaly.", REQUESTS[0].seed)]
    assert (pixels(loaded(made).draw(same_seed)[0]) != plain).any()
    for changes in ({"steps": 5}, {"guidance_scale": 4.0}, {"max_tokens": 40}, {"negative_prompt": "Cardiomegaly."}):
        assert (pixels(loaded(made, **changes).draw(REQUESTS[:1])[0]) != plain).any(), changes


def test_an_image_does_not_depend_on_its_batch(made: Path) -> None:
    model = loaded(made)
    together = model.draw(REQUESTS)
    for request, image in zip(REQUESTS, together, strict=True):
        assert np.abs(pixels(model.draw([request])[0]) - pixels(image)).max() <= 1
    assert model.draw([]) == []


def test_bfloat16_stays_close_and_the_vae_in_float32(made: Path) -> None:
    model = loaded(made, "bfloat16", steps=2)
    assert model.unet.dtype == model.bert.dtype == torch.bfloat16
    assert model.vae.dtype == torch.float32
    difference = pixels(model.draw(REQUESTS[:1])[0]) - pixels(loaded(made, steps=2).draw(REQUESTS[:1])[0])
    assert 0 < np.abs(difference).mean() < 12


def test_nan_is_no_image(copied: Path) -> None:
    change_tensors(copied / "unet", lambda tensors: tensors["conv_out.bias"].fill_(float("nan")))
    with pytest.raises(ValueError, match="drew NaN or Inf"):
        loaded(copied).draw(REQUESTS[:1])


def test_demo_weights_are_tiny_and_the_same_every_time(made: Path, tmp_path: Path) -> None:
    RadEdit.write_demo_weights(tmp_path / "again", CARD)
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert [str(path.parent) for path in files if path.name == "config.json"] == ["text_encoder", "unet", "vae"]
    assert all((made / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in files)
    assert sum((made / path).stat().st_size for path in files) < 1 << 20
    RadEdit.check_weights(made, CARD)


def test_earlier_names_of_the_vae_and_its_other_format(made: Path, copied: Path) -> None:
    """Diffusers reads both; what it makes of them is what is expected."""
    new = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    path = copied / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    for old, name in new.items():
        renamed = {k.replace(f".{name}.", f".{old}."): v for k, v in tensors.items() if f".{name}." in k}
        tensors = {k: v for k, v in tensors.items() if f".{name}." not in k} | renamed
    path.unlink()
    torch.save(tensors, path.with_suffix(".bin"))
    RadEdit.check_weights(copied, CARD)
    theirs = AutoencoderKL.from_pretrained(copied / "vae", low_cpu_mem_usage=False, use_safetensors=False)
    ours = loaded(copied).vae.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.state_dict().items())
    assert np.array_equal(pixels(loaded(copied).draw(REQUESTS[:1])[0]), pixels(loaded(made).draw(REQUESTS[:1])[0]))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def change_config(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def cut_lines(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-100]) + "\n")


def _lose_and_add(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["conv_in.bias"]
    tensors["surprise"] = torch.zeros(1)
    tensors["conv_out.bias"] = torch.zeros(5)


BROKEN: Mapping[str, tuple[Callable[[Path], object], list[str]]] = {
    "no unet": (lambda d: shutil.rmtree(d / "unet"), ["unet/config.json is missing: copy it from microsoft/radedit"]),
    "no vae weights": (
        lambda d: (d / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
        ["vae/diffusion_pytorch_model.safetensors is missing"],
    ),
    "no text weights": (lambda d: (d / "text_encoder/pytorch_model.bin").unlink(), ["pytorch_model.bin is missing"]),
    "no vocabulary": (lambda d: (d / "text_encoder/vocab.txt").unlink(), ["text_encoder/vocab.txt is missing: copy"]),
    "damaged vocabulary": (
        lambda d: (d / "text_encoder/vocab.txt").write_bytes(b"\xff\xfe"),
        ["text_encoder holds no vocabulary of BERT", "copy vocab.txt of microsoft/BiomedVLP-BioViL-T"],
    ),
    "another class": (
        lambda d: change_config(d / "unet/config.json", _class_name="SanaTransformer2DModel"),
        ["unet/config.json describes SanaTransformer2DModel, not UNet2DConditionModel: copy microsoft/radedit to"],
    ),
    "folders swapped": (
        lambda d: [(d / "vae").rename(d / "x"), (d / "unet").rename(d / "vae"), (d / "x").rename(d / "unet")],
        ["describes AutoencoderKL, not UNet2DConditionModel"],
    ),
    "tensors": (
        lambda d: change_tensors(d / "unet", _lose_and_add),
        [
            "1 missing: conv_in.bias [8]",
            "1 of the wrong shape: conv_out.bias [5] instead of [4]",
            "1 unknown: surprise",
        ],
    ),
    "truncated": (
        lambda d: truncate(d / "unet/diffusion_pytorch_model.safetensors"),
        ["unet/diffusion_pytorch_model.safetensors is not a whole safetensors file"],
    ),
    "text truncated": (lambda d: truncate(d / "text_encoder/pytorch_model.bin"), ["pytorch_model.bin"]),
    "no network": (
        lambda d: change_config(d / "unet/config.json", norm_num_groups=3),
        ["unet/config.json describes no UNet2DConditionModel (", "copy microsoft/radedit there again"],
    ),
    "no configuration": (
        lambda d: (d / "vae/config.json").write_text('{"_class_name": "AutoencoderKL"}'),
        ["vae/config.json says block_out_channels None: copy stabilityai/sdxl-vae there again"],
    ),
    "a number that is none": (
        lambda d: change_config(d / "unet/config.json", cross_attention_dim="32"),
        ["unet/config.json says cross_attention_dim '32', not a whole number from 1: copy it again"],
    ),
    "no scale": (
        lambda d: change_config(d / "vae/config.json", scaling_factor=None),
        ["vae/config.json says scaling_factor None, not a number above 0: copy it again"],
    ),
    "a scale of 0": (lambda d: change_config(d / "vae/config.json", scaling_factor=0), ["says scaling_factor 0, not"]),
    "a cut vocabulary": (
        lambda d: cut_lines(d / "text_encoder/vocab.txt"),
        ["text_encoder has a vocabulary of ", " words and the text model embeddings for "],
    ),
    "whole numbers": (
        lambda d: change_tensors(d / "unet", lambda t: t.update({"conv_in.bias": t["conv_in.bias"].to(torch.int8)})),
        ["1 not of floating numbers of 16 bits or more: conv_in.bias I8"],
    ),
    "another VAE": (
        lambda d: change_config(d / "vae/config.json", latent_channels=16),
        ["one number of latent channels (in_channels 4, out_channels 4, latent_channels 16)"],
    ),
    "another text model": (
        lambda d: change_config(d / "unet/config.json", cross_attention_dim=1024),
        ["the UNet attends to tokens of width 1024 and the text encoder gives 32"],
    ),
    "its sibling": (
        lambda d: change_config(d / "text_encoder/config.json", _name_or_path="microsoft/BiomedVLP-CXR-BERT-general"),
        ["is that of microsoft/BiomedVLP-CXR-BERT-general"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said(copied: Path, name: str) -> None:
    """By the check and by loading alike, and on the command line in one line."""
    damage, parts = BROKEN[name]
    damage(copied)
    checks = (RadEdit.check_weights, lambda directory, card: RadEdit.load(directory, card, SMALL, "float32", "cpu"))
    for attempt in checks:
        with pytest.raises(UserError) as error:
            attempt(copied, CARD)
        assert all(part in str(error.value) for part in parts), error.value
        assert "\n" not in str(error.value)
    words = ("run", "--model", "radedit", "--task", "generation", "--weights", copied, "--limit", 1, "--set", "size=64")
    refused(bench(*words), *parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "RadEdit's setting steps must be a whole number from 1 to 1000, not 0"),
        ({"steps": 4.0}, "steps must be a whole number from 1 to 1000, not 4.0"),
        ({"guidance_scale": 0.5}, "guidance_scale must be a number of 1 or more, not 0.5"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number of 1 or more, not nan"),
        ({"size": 60}, "size must be a multiple of 8 for these weights, not 60"),
        ({"size": True}, "size must be a whole number of pixels, not True"),
        ({"max_tokens": 129}, "max_tokens must be from 2 to 128 for these weights, not 129"),
        ({"guidance_scale": 1.0, "negative_prompt": "x"}, "negative_prompt does nothing at guidance_scale=1"),
        ({"negative_prompt": 1}, "negative_prompt must be a text, not 1"),
        ({"sampler": "ddpm"}, "steps, guidance_scale, size, max_tokens, negative_prompt: see to sampler"),
    ],
)
def test_impossible_settings(made: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        RadEdit.complete_settings(made, CARD, "generation", {**SMALL, **changes})
    assert message in str(error.value)


def test_settings_of_the_card(made: Path) -> None:
    stated = CARD.settings["generation"]
    assert RadEdit.complete_settings(made, CARD, "generation", stated) == stated
    with pytest.raises(UserError, match="has no settings for report"):
        RadEdit.complete_settings(made, CARD, "report", {})
    assert set(CARD.parts) == {"vae", "text_encoder"}
    assert "biovilt" in CARD.metric_overlap


def run(results: Path, *words: object) -> tuple[Path, bytes, list[np.ndarray]]:
    """A run's folder, its results and its images, by the order of its samples."""
    said = bench("run", "--model", "radedit", "--task", "generation", "--limit", 4, "--set", "size=64", "--set",
                 "steps=3", "--results", results, "--json", "--quiet", *words)  # fmt: skip
    assert said.exit_code == 0, said.output
    folder = results / json.loads(said.stdout)["run"]
    (scored,) = folder.glob("scores/*/results.json")
    lines = [json.loads(line) for file in folder.glob("samples-*.jsonl") for line in file.read_text().splitlines()]
    images = {line["id"]: pixels(Image.open(folder / line["image"])) for line in lines}
    return folder, scored.read_bytes(), [images[name] for name in sorted(images)]


@pytest.mark.parametrize("data", ["demo", OPEN_CXR])
def test_on_the_command_line(data: str | Path, tmp_path: Path) -> None:
    if isinstance(data, Path) and not data.is_dir():
        pytest.skip("open_cxr is not here")
    folder, results, images = run(tmp_path / "one", "--data", data)
    _, again, _ = run(tmp_path / "two", "--data", data)
    assert results == again
    assert json.loads(results)["demo"] is True
    assert folder.name.startswith("radedit-demo-")
    assert len(images) == 4
    assert images[0].shape == (64, 64, 3)
    _, _, others = run(tmp_path / "three", "--data", data, "--batch-size", 3)
    assert max(np.abs(a - b).max() for a, b in zip(images, others, strict=True)) <= 1
