"""UniX against what the reference code computed (`tests/golden/unix`), value by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unix_bench.models.unix import UniX, language, prepare_image
from unix_bench.models.unix.flow import (
    SamplerSettings,
    TimeEmbedder,
    integrate,
    latent_places,
    position_table,
    sinusoid,
    time_grid,
)
from unix_bench.models.unix.language import RMSNorm, Rotary, attend, rotate
from unix_bench.models.unix.preprocess import MEAN, STD

TOLERANCE = 3e-5
DECODE_TOLERANCE = 5e-5
GOLDEN = Path(__file__).parents[1] / "golden" / "unix"
CASES = json.loads((GOLDEN / "cases.json").read_text())["gen"]["gen_cases"]
SETTINGS = (
    "num_timesteps",
    "timestep_shift",
    "cfg_text_scale",
    "cfg_img_scale",
    "cfg_interval",
    "cfg_renorm_type",
    "cfg_renorm_min",
)


def assert_close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == expected.shape
    error = (ours.float() - expected.float()).abs().max() / expected.float().std()
    assert error <= tolerance, f"max |error| / std = {error:.2e}"


def relative_l2(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.float() - expected.float()).norm() / expected.float().norm())


def golden(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture(scope="module")
def model() -> UniX:
    return UniX.from_pretrained(GOLDEN)


@pytest.fixture(autouse=True)
def no_gradients() -> object:
    with torch.inference_mode():
        yield


def assert_cache(context: object, expected: dict[str, torch.Tensor], prefix: str, layers: int) -> None:
    for layer in range(layers):
        used_k = context.keys[layer][0, :, : context.length].transpose(0, 1)
        used_v = context.values[layer][0, :, : context.length].transpose(0, 1)
        assert_close(used_k, expected[f"{prefix}.k.{layer}"])
        assert_close(used_v, expected[f"{prefix}.v.{layer}"])


def test_text_prefill_and_a_second_text_on_the_cache(model: UniX) -> None:
    expected = golden("und")
    context = model.new_context(1, 18)
    for name in ("text", "text2"):
        start = int(context.positions[0])
        hidden = model.read_text([expected[f"{name}.ids"].tolist()], context)
        assert_close(hidden[0], expected[f"{name}.hidden"])
        assert_close(model.logits(hidden[0]), expected[f"{name}.logits"])
        assert_cache(context, expected, name, 3)
        assert expected[f"{name}.position_ids"].tolist() == list(range(start, int(context.positions[0])))


def test_image_prefill_prompt_and_every_step_of_the_answer(model: UniX) -> None:
    expected = golden("und")
    pixels = expected["und.image"][None]
    patches = model.vision(pixels).last_hidden_state
    assert_close(patches[0], expected["und.vit_features"])
    assert_close(model.connector(patches)[0], expected["und.connector_out"])

    context = model.new_context(1, 18 + 9 + 13)
    assert_close(model.read_images(pixels, context)[0], expected["und.image_hidden"])
    assert_cache(context, expected, "und.after_image", 3)
    hidden = model.read_text([expected["und.prompt_ids"].tolist()], context)
    assert_close(model.logits(hidden[0]), expected["und.prompt_logits"])
    assert_cache(context, expected, "und.after_prompt", 3)

    steps = []
    for position, token in zip(expected["und.step_position_ids"], expected["und.greedy_ids"].tolist(), strict=True):
        assert context.positions[0] == position
        steps.append(model.logits(model.read_text([[token]], context)[0, -1]))
    assert_close(torch.stack(steps), expected["und.step_logits"])


def test_what_is_taken_in_lies_where_what_is_read_does(model: UniX) -> None:
    """As drawing and answering read: without the hidden states, and texts in more slots than they need."""
    expected = golden("und")
    context = model.new_context(1, 18)
    for name in ("text", "text2"):
        model.take_in_text([expected[f"{name}.ids"].tolist()], context)
        assert_cache(context, expected, name, 3)
    context = model.new_context(1, 18 + 40)
    model.take_in_images(model.see(expected["und.image"][None]), context)
    assert_cache(context, expected, "und.after_image", 3)
    before, prompt = context.length, expected["und.prompt_ids"].tolist()
    model.take_in_text([prompt], context, len(prompt) + 7)
    assert context.valid is not None
    assert context.valid[0, before : context.length].tolist() == [True] * len(prompt) + [False] * 7
    context.length -= 7
    assert_cache(context, expected, "und.after_prompt", 3)


def test_greedy_answer_and_the_stop_case(model: UniX) -> None:
    expected = golden("und")
    question = expected["und.image"][None], [expected["und.prompt_ids"].tolist()]
    greedy = expected["und.greedy_ids"].tolist()
    assert model.generate_ids(*question, max_new_tokens=len(greedy) - 1) == [greedy]
    stop = json.loads((GOLDEN / "cases.json").read_text())["und"]["stop_case_eos_id"]
    assert model.generate_ids(*question, max_new_tokens=20, eos_token_id=stop) == [expected["und.stop_ids"].tolist()]


@pytest.mark.parametrize("name", CASES)
def test_generation_case(model: UniX, name: str) -> None:
    expected, case = golden("gen"), CASES[name]
    prompts, noise = [expected["gen.prompt_ids"].tolist()], expected[case["noise"]][None]
    settings = SamplerSettings(**{key: case[key] for key in SETTINGS})
    rows, columns = (pixels // 16 for pixels in case["image_shapes"])

    field = model.canvas(prompts, (rows, columns)).velocity
    evaluations, states, guided = [], [], []
    times, _ = time_grid(settings.num_timesteps, settings.timestep_shift)
    assert_close(times, expected[f"{name}.timesteps"])
    first = model.time_embedder(times)[0]
    conditional, text_dropped = field(noise, first, True)
    assert_close(conditional[0], expected[f"{name}.v0_cond"])
    if f"{name}.v0_text_uncond" in expected:
        assert_close(text_dropped[0], expected[f"{name}.v0_text_uncond"])
    if f"{name}.v0_img_uncond" in expected:  # nothing to drop from a text-only prompt: the pass we save
        assert_close(field(noise, first, False)[0][0], expected[f"{name}.v0_img_uncond"])

    def counted(x: torch.Tensor, time: torch.Tensor, both: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        evaluations.append(both)
        return field(x, time, both)

    def watch(x: torch.Tensor, velocity: torch.Tensor) -> None:
        guided.append(velocity[0])
        states.append(x[0])

    integrate(counted, model.time_embedder, noise, settings, watch)
    assert_close(guided[0], expected[f"{name}.v0"])
    assert_close(torch.stack(guided), expected[f"{name}.velocities"])
    assert_close(torch.stack(states), expected[f"{name}.trajectory"])
    assert evaluations == [case["cfg_text_scale"] > 1 and count > 1 for count in case["passes_per_step"]]

    arguments = {key: case[key] for key in SETTINGS} | {"prompt_ids": prompts, "noise": noise}
    arguments["size"] = tuple(case["image_shapes"])
    assert_close(model.draw(**arguments, output="latent")[0], expected[f"{name}.latent_to_vae"])
    assert_close(model.draw(**arguments, output="tensor")[0], expected[f"{name}.decoded"], DECODE_TOLERANCE)
    image = np.asarray(model.draw(**arguments)[0]).astype(int)
    assert np.abs(image - expected[f"{name}.image_u8"].numpy().astype(int)).max() <= 1


@pytest.mark.parametrize("name", ["vae64", "vae96x64"])
def test_vae_encode_and_decode(model: UniX, name: str) -> None:
    expected = golden("vae")
    assert_close(model.vae.encode(expected[f"{name}.x"][None])[0], expected[f"{name}.z_mode_scaled"])
    decoded = model.vae.decode(expected[f"{name}.z_mode_scaled"][None])[0]
    assert_close(decoded, expected[f"{name}.decoded"], DECODE_TOLERANCE)


def test_rms_norm_rounds_before_the_weight() -> None:
    expected = golden("pieces")
    norm = RMSNorm(16)
    norm.weight.copy_(expected["rms.weight"])
    assert_close(norm(expected["rms.x"]), expected["rms.y"])
    narrow = norm.to(torch.bfloat16)
    assert torch.equal(narrow(expected["rms.x"].bfloat16()), expected["rms.y_bf16"])
    assert_close(narrow(expected["rms.x"]), expected["rms.y_f32in_bf16weight"])


@pytest.mark.parametrize("bf16", [False, True])
def test_rotary_table(bf16: bool) -> None:
    expected, prefix = golden("pieces"), "rope_bf16buf" if bf16 else "rope"
    rotary = Rotary(16, bf16).to(torch.bfloat16)  # a cast must not touch the frequencies
    positions = expected["rope.positions"][None]
    cos, sin = rotary(positions, torch.float32)
    assert_close(rotary.frequencies, expected[f"{prefix}.inv_freq"])
    assert_close(cos[0, 0], expected[f"{prefix}.cos"])
    assert_close(sin[0, 0], expected[f"{prefix}.sin"])
    if bf16:
        narrow = rotary(positions, torch.bfloat16)
        assert torch.equal(narrow[0][0, 0], expected["rope_bf16buf.cos_bf16"])
        assert torch.equal(narrow[1][0, 0], expected["rope_bf16buf.sin_bf16"])
    else:
        for name in "qk":
            turned = rotate(expected[f"rope.{name}"].transpose(0, 1)[None], (cos, sin))
            assert_close(turned[0].transpose(0, 1), expected[f"rope.{name}_out"])


@pytest.mark.parametrize("kind", ["full", "causal"])
def test_attention_of_packed_sequences(kind: str) -> None:
    """Fewer kv heads than heads; causal means that the last query sees the last key."""
    expected = golden("pieces")
    q_ends, k_ends = expected["varlen.cu_q"].tolist(), expected["varlen.cu_k"].tolist()
    outputs = []
    for q0, q1, k0, k1 in zip(q_ends, q_ends[1:], k_ends, k_ends[1:], strict=False):
        q, k, v = (
            expected[f"varlen.{name}"][start:end].transpose(0, 1)[None]
            for name, start, end in (("q", q0, q1), ("k", k0, k1), ("v", k0, k1))
        )
        mask = torch.ones(q1 - q0, k1 - k0, dtype=torch.bool).tril(k1 - k0 - (q1 - q0)) if kind == "causal" else None
        outputs.append(attend(q, k, v, mask)[0].transpose(0, 1))
    assert_close(torch.cat(outputs), expected[f"varlen.{kind}"])


def test_time_grids_and_embeddings(model: UniX) -> None:
    expected = golden("pieces")
    for name in ("n8_s1", "n8_s3", "n50_s1", "n50_s3", "n24_s2"):
        count, shift = (float(part[1:]) for part in name.split("_"))
        times, steps = time_grid(int(count), shift)
        assert_close(times, expected[f"schedule.{name}.t"])
        assert_close(steps, expected[f"schedule.{name}.dt"])
        guided = json.loads((GOLDEN / "cases.json").read_text())["pieces"]["schedules"][name]
        assert len(times) == guided["steps"]
        assert sum(map(SamplerSettings().guided, times.tolist())) == guided["guided_steps_0p4_1"]
    assert_close(sinusoid(expected["tstep.t"], TimeEmbedder.channels), expected["tstep.sinusoid"])
    assert_close(model.time_embedder(expected["tstep.t"]), expected["tstep.embedding"])


def test_position_tables_and_indexes(model: UniX) -> None:
    expected = golden("pieces")
    for name in ("32_4", "48_3", "64_8"):
        width, side = map(int, name.split("_"))
        assert_close(position_table(width, side), expected[f"sincos2d.{name}"])
    side = model.config.max_latent_size
    for name, rows, columns in (("64x64", 4, 4), ("64x96", 4, 6)):
        places = latent_places(rows, columns, side, model.device)
        assert places.tolist() == expected[f"posids.extrapolate.{name}_p16_m8"].tolist()


@pytest.mark.parametrize("name", ["tall", "wide", "small"])
def test_image_preprocessing(name: str) -> None:
    expected = golden("preprocess")
    pixels = prepare_image(Image.fromarray(expected[f"{name}.input_gray_u8"].numpy()))
    padded = expected[f"{name}.padded384_gray_u8"].float() / 255.0
    for channel in pixels:
        assert_close(channel, (padded - MEAN) / STD)


def test_guidance_holds_above_the_lower_bound_and_up_to_the_upper() -> None:
    settings = SamplerSettings(cfg_interval=(0.4, 0.8))
    times = torch.tensor([0.4, 0.41, 0.8, 0.81]).tolist()  # float32, as the sampler's own
    assert list(map(settings.guided, times)) == [False, True, True, False]
    assert not SamplerSettings(cfg_text_scale=1.0).guided(0.6)


def test_drawing_normalises_queries_in_float32_and_reading_does_not() -> None:
    model = UniX.from_pretrained(GOLDEN, dtype=torch.bfloat16)
    branch = model.language.understanding[0]
    x = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    rotary = model.language.rotary(torch.arange(5)[None], torch.bfloat16)
    rows = branch.qkv_proj(branch.input_norm(x)).unflatten(-1, (-1, 16)).transpose(1, 2)[:, :4]
    weight = branch.q_norm.weight
    for wide in (True, False):
        start = rows.float() if wide else rows
        normed = weight * (start.float() * torch.rsqrt(start.float().pow(2).mean(-1, keepdim=True) + 1e-6)).to(
            start.dtype
        )
        expected = rotate(normed, rotary).bfloat16()
        assert torch.equal(branch.qkv(x, rotary, wide_norm=wide)[0], expected)
    noise = golden("gen")["gen.noise_64x64"][None]
    seen: list[bool] = []
    turned = language._turned

    def spy(rows: torch.Tensor, norm: torch.nn.Module, rotary: Any, wide_norm: bool) -> torch.Tensor:
        seen.append(wide_norm)
        return turned(rows, norm, rotary, wide_norm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "_turned", spy)
        canvas = model.canvas([[290, 5, 291]], (4, 4))
        canvas.velocity(noise, model.time_embedder(torch.ones(1))[0], False)
    # Queries and keys of each layer, of the last the keys alone where nobody asks for more.
    assert seen == [False] * 5 + [True] * 11


def test_rotary_switch() -> None:
    """Frequencies rounded to bfloat16, everything else in float32."""
    expected, und, gen = golden("rope_bf16buf"), golden("und"), golden("gen")
    model = UniX.from_pretrained(GOLDEN, rotary_bf16=True)
    context = model.new_context(1, 18)
    for name in ("text", "text2"):
        hidden = model.read_text([und[f"{name}.ids"].tolist()], context)
        assert_close(model.logits(hidden[0]), expected[f"{name}.logits"])
    question = und["und.image"][None], [und["und.prompt_ids"].tolist()]
    greedy = expected["und.greedy_ids"].tolist()
    assert model.generate_ids(*question, max_new_tokens=len(greedy) - 1) == [greedy]
    case = CASES["g3_global_s3"]
    arguments = {key: case[key] for key in SETTINGS} | {"size": tuple(case["image_shapes"]), "output": "latent"}
    latent = model.draw(prompt_ids=[gen["gen.prompt_ids"].tolist()], noise=gen[case["noise"]][None], **arguments)
    assert_close(latent[0], expected["g3_global_s3.latent_to_vae"])


def test_bfloat16_stays_near_the_emulated_run() -> None:
    """Indicative: the golden is a CPU emulation of the CUDA run."""
    expected, und, gen = golden("bf16"), golden("und"), golden("gen")
    model = UniX.from_pretrained(GOLDEN, dtype=torch.bfloat16, rotary_bf16=True)
    context = model.new_context(1, 18)
    for name in ("text", "text2"):
        hidden = model.read_text([und[f"{name}.ids"].tolist()], context)
        assert hidden.dtype == torch.bfloat16
        assert relative_l2(model.logits(hidden[0]), expected[f"{name}.logits"]) < 0.025
    noise = gen["gen.noise_64x64"][None]
    canvas = model.canvas([gen["gen.prompt_ids"].tolist()], (4, 4))
    conditional, text_dropped = canvas.velocity(noise, model.time_embedder(torch.ones(1))[0], True)
    assert relative_l2(conditional[0], expected["g2_global_s1.v0_cond"]) < 0.02
    assert relative_l2(text_dropped[0], expected["g2_global_s1.v0_text_uncond"]) < 0.02
    case = CASES["g2_global_s1"]
    arguments = {key: case[key] for key in SETTINGS} | {"size": (64, 64), "output": "tensor"}
    decoded = model.draw(prompt_ids=[gen["gen.prompt_ids"].tolist()], noise=noise, **arguments)
    assert relative_l2(decoded[0], expected["g2_global_s1.decoded"]) < 0.075
