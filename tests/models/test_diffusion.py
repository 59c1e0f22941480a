"""Pipelines of diffusers: their images against the pipelines called directly, their settings, their command line."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from bench import bench, refused
from PIL import Image

from unix_bench import registry
from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models import ImageRequest
from unix_bench.models.diffusion.adapter import DiffusionModel, place
from unix_bench.models.diffusion.pipelines import TABLE
from unix_bench.models.tiny import tiny_unet
from unix_bench.weights import fill_seeded, stand_in_name

NAMES = ["sd-2-1", "sd-3-5-medium", "flux-1-dev", "pixart-sigma", "sana", "lumina-2"]  # one of each class
CARDS = {name: registry.model(name) for name in [*NAMES, "diffusers", "roentgen-v1", "roentgen-v2"]}
SMALL: Mapping[str, Any] = {"steps": 2, "height": 64, "width": 96}
REQUESTS = [
    ImageRequest("a", "Small left pleural effusion.", 11),
    ImageRequest("b", "Mild cardiomegaly with adjacent atelectasis. " * 40, 12),  # cut
    ImageRequest("c", "", 13),
    ImageRequest("d", "No acute cardiopulmonary process.", 11),
]
OPEN_CXR = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"

Made = Callable[[str], Path]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The demo's weights of a card, made once."""
    root = tmp_path_factory.mktemp("pipelines")

    def make(name: str) -> Path:
        if not (root / name).is_dir():
            DiffusionModel.write_demo_weights(root / name, CARDS[name])
        return root / name

    return make


def loaded(directory: Path, card: ModelCard, precision: str = "float32", /, **changes: Any) -> DiffusionModel:
    stated = {**card.settings["generation"], **SMALL, **changes}
    settings = DiffusionModel.complete_settings(directory, card, "generation", stated)
    return DiffusionModel.load(directory, card, settings, precision, "cpu")


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


# What each class is called with, written out by hand from the cards.
CALLS: Mapping[str, Mapping[str, Any]] = {
    "sd-2-1": {"guidance_scale": 7.5},
    "sd-3-5-medium": {"guidance_scale": 4.5, "max_sequence_length": 512},
    "flux-1-dev": {"guidance_scale": 3.5, "max_sequence_length": 512},
    "pixart-sigma": {"guidance_scale": 4.5, "clean_caption": False, "use_resolution_binning": False},
    "sana": {"guidance_scale": 4.5, "clean_caption": False, "use_resolution_binning": False},
    "lumina-2": {"guidance_scale": 4.0, "cfg_trunc_ratio": 0.25, "cfg_normalization": True},
}


@pytest.mark.parametrize("name", NAMES)
def test_drawn_as_the_pipeline_itself_draws(made: Made, name: str) -> None:
    directory, card = made(name), CARDS[name]
    kind = getattr(diffusers, card.architecture)
    pipeline = kind.from_pretrained(directory / "base" if card.parts else directory)
    if lora := card.settings["generation"]["lora"]:
        pipeline.load_lora_weights(directory, weight_name=lora)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        [request.prompt for request in REQUESTS],
        num_inference_steps=4,
        height=64,
        width=96,
        generator=[torch.Generator().manual_seed(request.seed) for request in REQUESTS],
        **CALLS[name],
    ).images
    drawn = loaded(directory, card, steps=4).draw(REQUESTS)
    for ours, theirs in zip(drawn, expected, strict=True):
        assert ours.size == (96, 64)
        assert (pixels(ours) == pixels(theirs)).all()
    assert np.abs(pixels(drawn[0]) - pixels(drawn[1])).max() > 20
    assert np.abs(pixels(drawn[0]) - pixels(drawn[3])).max() > 0  # one seed, two prompts


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_batch(made: Made, name: str) -> None:
    model = loaded(made(name), CARDS[name])
    together = [pixels(image) for image in model.draw(REQUESTS)]
    for size in (1, 2):
        batches = [REQUESTS[start : start + size] for start in range(0, 4, size)]
        apart = [pixels(image) for batch in batches for image in model.draw(batch)]
        assert max(np.abs(a - b).max() for a, b in zip(together, apart, strict=True)) <= 1
    assert model.draw([]) == []


# Settings that change what is drawn; where the card's value does not let it show, with what else it takes to.
CHANGES: Mapping[str, list[dict[str, Any]]] = {
    "sd-2-1": [{"guidance_rescale": 0.7}, {"clip_tokens": 9}, {"eta": 1.0}],
    "sd-3-5-medium": [{"max_sequence_length": 9}, {"clip_tokens": 9}],
    "flux-1-dev": [{"true_cfg_scale": 4.0}, {"clip_tokens": 9}, {"max_sequence_length": 9}],
    "pixart-sigma": [{"max_sequence_length": 9}],
    "sana": [{"complex_human_instruction": False}, {"max_sequence_length": 9}],
    "lumina-2": [{"system_prompt": False}, {"cfg_trunc_ratio": 1.0}, {"max_sequence_length": 200}],
}


@pytest.mark.parametrize("name", NAMES)
def test_settings_matter(made: Made, name: str) -> None:
    directory, card = made(name), CARDS[name]
    plain = pixels(loaded(directory, card, steps=4).draw(REQUESTS[1:2])[0])
    shared: list[dict[str, Any]] = [{"steps": 5}, {"guidance_scale": 2.0}]
    for changes in [*shared, *CHANGES[name]]:
        changed = loaded(directory, card, **{"steps": 4, **changes}).draw(REQUESTS[1:2])[0]
        assert (pixels(changed) != plain).any(), changes
    guided = {"steps": 4, **({"true_cfg_scale": 3.0} if name == "flux-1-dev" else {})}
    one, other = (
        loaded(directory, card, negative_prompt=text, **guided).draw(REQUESTS[:1])[0] for text in ("", "Edema.")
    )
    assert (pixels(one) != pixels(other)).any()


def test_cfg_normalization_matters_where_lumina_is_guided(made: Made) -> None:
    images = [
        pixels(
            loaded(made("lumina-2"), CARDS["lumina-2"], cfg_trunc_ratio=1.0, cfg_normalization=on).draw(REQUESTS[:1])[0]
        )
        for on in (True, False)
    ]
    assert (images[0] != images[1]).any()


@pytest.mark.parametrize("name", ["sana", "pixart-sigma"])
def test_binning_changes_nothing_at_the_cards_size(name: str) -> None:
    """Which is why the cards can have it off, unlike the script."""
    module = getattr(diffusers, CARDS[name].architecture).__module__
    bins = vars(__import__(module, fromlist=["x"]))["ASPECT_RATIO_512_BIN"]
    settings = CARDS[name].settings["generation"]
    asked = (settings["height"], settings["width"])
    assert diffusers.image_processor.PixArtImageProcessor.classify_height_width_bin(*asked, ratios=bins) == asked


@pytest.mark.parametrize(("stated", "expected"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_half_precision_stays_close(made: Made, stated: str, expected: torch.dtype) -> None:
    model = loaded(made("sd-2-1"), CARDS["sd-2-1"], stated)
    assert model.pipeline.unet.dtype == model.pipeline.text_encoder.dtype == expected
    whole = loaded(made("sd-2-1"), CARDS["sd-2-1"])
    difference = pixels(model.draw(REQUESTS[:1])[0]) - pixels(whole.draw(REQUESTS[:1])[0])
    assert 0 < np.abs(difference).mean() < 12


def test_offloaded_models_draw_the_same(made: Made) -> None:
    """Onto the CPU itself, since no GPU is to be had: the hooks are the same."""
    plain, hooked = (loaded(made("sd-2-1"), CARDS["sd-2-1"]) for _ in range(2))
    place(hooked.pipeline, "model", "cpu")
    assert (pixels(hooked.draw(REQUESTS[:1])[0]) == pixels(plain.draw(REQUESTS[:1])[0])).all()


def test_layers_wait_elsewhere_in_sequential_offload(made: Made) -> None:
    """Drawing so needs a GPU: from the CPU onto itself accelerate does not bring layers in."""
    model = loaded(made("sd-2-1"), CARDS["sd-2-1"])
    place(model.pipeline, "sequential", "cpu")
    assert {parameter.device.type for parameter in model.pipeline.unet.parameters()} == {"meta"}


def test_attention_slicing_draws_the_same(made: Made) -> None:
    sliced = loaded(made("sd-2-1"), CARDS["sd-2-1"], attention_slicing=True)
    processors = {type(one).__name__ for one in sliced.pipeline.unet.attn_processors.values()}
    assert processors == {"SlicedAttnProcessor"}
    plain = loaded(made("sd-2-1"), CARDS["sd-2-1"])
    assert np.abs(pixels(sliced.draw(REQUESTS[:1])[0]) - pixels(plain.draw(REQUESTS[:1])[0])).max() <= 1


def test_nan_is_no_image(made: Made) -> None:
    model = loaded(made("sd-2-1"), CARDS["sd-2-1"])
    torch.nn.init.constant_(model.pipeline.unet.conv_out.bias, float("nan"))
    with pytest.raises(ValueError, match="drew NaN"):
        model.draw(REQUESTS[:1])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_the_vae_makes_is_looked_at_before_it_is_clamped(made: Made, value: str) -> None:
    """The clamp would make Inf a white image, which counted as a success."""
    for name in ("sd-2-1", "sana"):
        model = loaded(made(name), CARDS[name])
        torch.nn.init.constant_(model.pipeline.vae.decoder.conv_out.bias, float(value))
        with pytest.raises(ValueError, match="the model drew NaN or Inf"):
            model.draw(REQUESTS[:1])


@pytest.mark.parametrize("name", CARDS)
def test_cards_and_demo_weights(made: Made, name: str, tmp_path: Path) -> None:
    card = CARDS[name]
    directory = made(name)
    DiffusionModel.write_demo_weights(tmp_path / "again", card)
    files = sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    assert all((directory / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in files)
    assert sum((directory / path).stat().st_size for path in files) < 2_000_000
    DiffusionModel.check_weights(directory, card)
    stated = card.settings["generation"]
    complete = DiffusionModel.complete_settings(directory, card, "generation", stated)
    assert complete == stated or not card.architecture
    assert stand_in_name(directory) is None  # said of them where they are made as such
    assert "weights" in card.verified
    with pytest.raises(UserError, match="has no settings for report"):
        DiffusionModel.complete_settings(directory, card, "report", {})


def test_every_class_of_the_table_has_a_card_and_takes_its_arguments() -> None:
    assert {CARDS[name].architecture for name in NAMES} == TABLE.keys()
    for name, asked in TABLE.items():
        assert asked.called <= inspect.signature(getattr(diffusers, name).__call__).parameters.keys()


def directly(
    kind: Any, directory: Path, _made: Mapping[str, Any] = MappingProxyType({}), **arguments: Any
) -> list[np.ndarray]:
    """What a pipeline that is called as its users call it makes of the requests."""
    pipeline = kind.from_pretrained(directory, **_made)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(request.seed) for request in REQUESTS]
    prompts = [request.prompt for request in REQUESTS]
    drawn = pipeline(prompts, generator=generators, num_inference_steps=2, height=64, width=96, **arguments).images
    return [pixels(image) for image in drawn]


def test_any_other_class_is_given_its_own_arguments(made: Made, tmp_path: Path) -> None:
    """Perturbed attention: Stable Diffusion's parts, and two more arguments, which the generic card does not know."""
    kind = diffusers.StableDiffusionPAGPipeline
    kind.from_pretrained(made("sd-2-1"), pag_applied_layers="mid", safety_checker=None).save_pretrained(
        tmp_path / "pag"
    )
    model = loaded(tmp_path / "pag", CARDS["diffusers"])
    assert model.settings.own == {"eta": 0.0, "guidance_rescale": 0.0, "pag_scale": 3.0, "pag_adaptive_scale": 0.0}
    expected = directly(kind, tmp_path / "pag", guidance_scale=5.0)
    for ours, theirs in zip(model.draw(REQUESTS), expected, strict=True):
        assert (pixels(ours) == theirs).all()


def test_an_image_holds_no_watermark(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which SDXL would draw into it, where the package is installed."""
    module = sys.modules[diffusers.StableDiffusionXLPipeline.__module__]
    monkeypatch.setattr(module, "is_invisible_watermark_available", lambda: True)
    base = diffusers.StableDiffusionPipeline.from_pretrained(made("sd-2-1"))
    others = diffusers.StableDiffusion3Pipeline.from_pretrained(made("sd-3-5-medium") / "base")
    unet = tiny_unet(64, addition_embed_type="text_time", addition_time_embed_dim=8,
                     projection_class_embeddings_input_dim=80)  # fmt: skip
    fill_seeded(unet, 0)
    diffusers.StableDiffusionXLPipeline(
        vae=base.vae, scheduler=base.scheduler, unet=unet, text_encoder=base.text_encoder, tokenizer=base.tokenizer,
        text_encoder_2=others.text_encoder_2, tokenizer_2=others.tokenizer_2, add_watermarker=False,
    ).save_pretrained(tmp_path / "sdxl")  # fmt: skip
    model = loaded(tmp_path / "sdxl", CARDS["diffusers"])
    assert model.pipeline.watermark is None
    expected = directly(diffusers.StableDiffusionXLPipeline, tmp_path / "sdxl", _made={"add_watermarker": False},
                        guidance_scale=5.0)  # fmt: skip
    for ours, theirs in zip(model.draw(REQUESTS), expected, strict=True):
        assert (pixels(ours) == theirs).all()


def test_no_caption_is_cleaned_unasked(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class's default is to, which would depend on packages and could not be unsaid with the generic card."""
    monkeypatch.setattr("unix_bench.models.diffusion.settings.find_spec", lambda name: None)
    shutil.copytree(made("pixart-sigma"), tmp_path / "alpha")
    index = tmp_path / "alpha" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "PixArtAlphaPipeline"}))
    stated = CARDS["diffusers"].settings["generation"]
    complete = DiffusionModel.complete_settings(tmp_path / "alpha", CARDS["diffusers"], "generation", stated)
    assert (complete["clean_caption"], complete["use_resolution_binning"]) == (False, False)


def test_eta_is_refused_where_no_noise_is_added(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made("sd-2-1"), tmp_path / "pndm")
    index = tmp_path / "pndm" / "model_index.json"
    index.write_text(
        json.dumps({**json.loads(index.read_text()), "scheduler": ["diffusers", "DPMSolverMultistepScheduler"]})
    )
    ours = diffusers.DDIMScheduler.from_pretrained(tmp_path / "pndm" / "scheduler")
    diffusers.DPMSolverMultistepScheduler.from_config(ours.config).save_pretrained(tmp_path / "pndm" / "scheduler")
    assert loaded(tmp_path / "pndm", CARDS["sd-2-1"]).draw(REQUESTS[:1])
    with pytest.raises(UserError, match="eta does nothing with DPMSolverMultistepScheduler"):
        loaded(tmp_path / "pndm", CARDS["sd-2-1"], eta=0.5)


def test_a_class_without_a_negative_prompt(made: Made, tmp_path: Path) -> None:
    kind = diffusers.LatentConsistencyModelPipeline
    base = diffusers.StableDiffusionPipeline.from_pretrained(made("sd-2-1"))
    unet = diffusers.UNet2DConditionModel.from_config(base.unet.config, time_cond_proj_dim=8)
    fill_seeded(unet, 0)
    parts = {**base.components, "unet": unet, "scheduler": diffusers.LCMScheduler(original_inference_steps=50)}
    kind(**parts, requires_safety_checker=False).save_pretrained(tmp_path / "lcm")
    model = loaded(tmp_path / "lcm", CARDS["diffusers"])
    expected = directly(kind, tmp_path / "lcm", guidance_scale=5.0)
    for ours, theirs in zip(model.draw(REQUESTS), expected, strict=True):
        assert (pixels(ours) == theirs).all()
    with pytest.raises(UserError, match="takes no negative_prompt"):
        loaded(tmp_path / "lcm", CARDS["diffusers"], negative_prompt="Edema.")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sana", {"steps": 0}, "Sana 0.6B's setting steps must be a whole number from 1, not 0"),
        ("sana", {"steps": 2.0}, "steps must be a whole number from 1, not 2.0"),
        ("sana", {"guidance_scale": float("nan")}, "guidance_scale must be a number from 0, not nan"),
        ("sana", {"height": 80}, "height must be a multiple of 32, not 80"),
        ("sana", {"width": True}, "width must be a whole number of pixels, not True"),
        ("sana", {"offload": "disk"}, "offload must be none, model or sequential, not 'disk'"),
        ("sana", {"eta": 0.0}, "complex_human_instruction: see to eta"),  # its scheduler takes none
        ("sd-2-1", {"eta": float("inf")}, "eta must be a number, not inf"),
        ("sana", {"complex_human_instruction": "no"}, "complex_human_instruction must be true or false, not 'no'"),
        ("sana", {"max_sequence_length": 9.0}, "max_sequence_length must be a whole number, not 9.0"),
        ("sana", {"cfg_trunc_ratio": 1.0}, "complex_human_instruction: see to cfg_trunc_ratio"),
        ("sana", {"attention_slicing": True}, "attention_slicing does nothing in SanaPipeline"),
        ("sana", {"lora": "../lora.safetensors"}, "lora must be a .safetensors file below the weights' folder"),
        ("sana", {"lora": "lora.bin"}, "lora must be a .safetensors file below the weights' folder, not 'lora.bin'"),
        ("sana", {"lora_scale": float("nan")}, "lora_scale must be a number, not nan"),
        ("sana", {"offload": "model"}, "offload=model is for a GPU's memory and this run is on the CPU"),
        ("sd-2-1", {"clip_tokens": 78}, "clip_tokens must be from 2 to 77 for these weights, not 78"),
        ("sd-2-1", {"clip_tokens": 1}, "clip_tokens must be from 2 to 77"),
        ("flux-1-dev", {"max_sequence_length": 513}, "max_sequence_length must be from 1 to 512, not 513"),
        ("diffusers", {"surprise": 1}, "guidance_rescale, clip_tokens: see to surprise"),
        ("flux-1-dev", {"negative_prompt": "Edema."}, "negative_prompt does nothing while true_cfg_scale is 1 or less"),
        (
            "sd-2-1",
            {"negative_prompt": "Edema.", "guidance_scale": 1.0},
            "negative_prompt does nothing while guidance_scale is",
        ),
        ("sd-2-1", {"guidance_rescale": 0.7, "guidance_scale": 1.0}, "guidance_rescale does nothing while guidance_"),
        ("lumina-2", {"negative_prompt": "Edema.", "guidance_scale": 0.5}, "negative_prompt does nothing while"),
        ("sd-2-1", {"lora_scale": 0.5}, "lora_scale does nothing without a LoRA: name one, or leave it at 1"),
        ("sd-3-5-medium", {"height": 1040}, "height must be at most 1024 for these weights, not 1040"),
        ("lumina-2", {"width": 8208}, "width must be at most 8192 for these weights, not 8208"),
        (
            "lumina-2",
            {"max_sequence_length": 512},
            "max_sequence_length must be at most 511 for these weights, not 512",
        ),
    ],
)
def test_impossible_settings(made: Made, name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        loaded(made(name), CARDS[name], **changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_setting_left_out(made: Made) -> None:
    stated = {key: value for key, value in CARDS["sana"].settings["generation"].items() if key != "clean_caption"}
    with pytest.raises(UserError, match="see to clean_caption"):
        DiffusionModel.complete_settings(made("sana"), CARDS["sana"], "generation", stated)


def test_captions_are_cleaned_or_it_is_said(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline itself would go on without."""
    monkeypatch.setattr("unix_bench.models.diffusion.settings.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install beautifulsoup4 ftfy, or --set clean_caption=false"):
        loaded(made("sana"), CARDS["sana"], clean_caption=True)


def run(name: str, results: Path, *words: object) -> tuple[Path, bytes, list[np.ndarray]]:
    """A run's folder, its results and its images, by the order of its samples."""
    said = bench("run", "--model", name, "--task", "generation", "--limit", 4, "--set", "height=64", "--set",
                 "width=64", "--set", "steps=2", "--results", results, "--json", "--quiet", *words)  # fmt: skip
    assert said.exit_code == 0, said.output
    folder = results / json.loads(said.stdout)["run"]
    (scored,) = folder.glob("scores/*/results.json")
    lines = [json.loads(line) for file in folder.glob("samples-*.jsonl") for line in file.read_text().splitlines()]
    images = {line["id"]: pixels(Image.open(folder / line["image"])) for line in lines}
    return folder, scored.read_bytes(), [images[key] for key in sorted(images)]


@pytest.mark.parametrize(("name", "data"), [("sd-2-1", "demo"), *((name, OPEN_CXR) for name in NAMES)])
def test_on_the_command_line(name: str, data: str | Path, tmp_path: Path) -> None:
    if isinstance(data, Path) and not data.is_dir():
        pytest.skip("open_cxr is not here")
    folder, results, images = run(name, tmp_path / "one", "--data", data)
    _, again, _ = run(name, tmp_path / "two", "--data", data)
    assert results == again
    assert json.loads(results)["demo"] is True
    assert folder.name.startswith(f"{name}-demo-")
    assert len(images) == 4
    assert images[0].shape == (64, 64, 3)
    _, _, others = run(name, tmp_path / "three", "--data", data, "--batch-size", 3)
    assert max(np.abs(a - b).max() for a, b in zip(images, others, strict=True)) <= 1


def test_from_the_local_cache_of_the_hub(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ("run", "--model", "diffusers", "--task", "generation", "--limit", 2, "--set", "height=64", "--set",
             "width=64", "--set", "steps=1", "--quiet", "--json", "--results", tmp_path, "--weights")  # fmt: skip
    said = "--weights ours/tiny is neither a folder nor a repository in the local cache of huggingface_hub"
    refused(bench(*words, "ours/tiny"), said)
    kept, commit = tmp_path / "hub" / "models--ours--tiny", "0" * 40
    (kept / "snapshots").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    (kept / "snapshots" / commit).symlink_to(made("pixart-sigma"), target_is_directory=True)
    done = bench(*words, "ours/tiny")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / json.loads(done.stdout)["run"] / "run.json").read_text())
    assert record["predict_spec"]["settings"]["clean_caption"] is False  # the class's own, added
