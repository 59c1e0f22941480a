"""Losses of single pairs: against the reference code's training losses, and against the walks that write and draw."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import grimp
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.models import PairLosses, ProbePair
from unix_bench.models.unix import TrainBatch, UniX, prepare_image
from unix_bench.models.unix.adapter import UniXAdapter
from unix_bench.models.unix.losses import losses_of_samples
from unix_bench.models.unix.packing import pack_images, pack_reports
from unix_bench.models.unix.preprocess import prepare_target
from unix_bench.models.unix.probe import flow_losses, report_losses

GOLDEN = Path(__file__).parents[1] / "golden" / "unix"
REPORTS = ["Clear lungs.", "Cardiomegaly with a small left pleural effusion; no pneumothorax.", ""]
PROMPTS = ["Pneumonia.", "Frontal chest radiograph. Cardiomegaly, Pleural Effusion and an ICD.", "A"]
SIZES = [(64, 64), (90, 60), (40, 100)]
QUESTION = "Describe the findings of this chest X-ray."


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "train.safetensors")


@pytest.fixture(scope="module")
def tiny() -> UniX:
    return UniX.from_pretrained(GOLDEN)


@pytest.fixture(scope="module")
def demo(demo_weights: Path) -> UniX:
    return UniX.from_pretrained(demo_weights)


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)) for width, height in SIZES]


def samples(golden: dict[str, Tensor], name: str) -> list[list[int]]:
    """Token ids of each sample of a golden batch."""
    at = golden[f"{name}.in.packed_text_indexes"]
    lengths = [len(golden[f"{name}.in.nested_attention_masks.{i}"]) for i in range(2)]
    first = int((at < lengths[0]).sum())
    ids = golden[f"{name}.in.packed_text_ids"].tolist()
    return [ids[:first], ids[first:]]


def same_batch(packed: TrainBatch, golden: dict[str, Tensor], name: str) -> None:
    """Every field that the golden batch has and packing fills is equal."""
    compared = 0
    for field in dataclasses.fields(packed):
        mine, key = getattr(packed, field.name), f"{name}.in.{field.name}"
        if f"{key}.0" in golden:
            for index, one in enumerate(mine):
                assert torch.equal(one, golden[f"{key}.{index}"]), field.name
                compared += 1
        elif mine is not None and key in golden:
            torch.testing.assert_close(mine, golden[key], rtol=0, atol=2e-6)
            compared += 1
    assert compared >= 10


def test_a_packed_report_is_the_references_batch_and_loss(golden: dict[str, Tensor], tiny: UniX) -> None:
    """Golden `vlm`: start, end, [bos] + question + [eos], [bos] + report + [eos] a sample."""
    bos, eos = tiny.config.special_tokens.bos_token_id, tiny.config.special_tokens.eos_token_id
    questions, reports = [], []
    for ids in samples(golden, "vlm"):
        second = ids.index(bos, 3)
        questions.append(ids[2:second])
        reports.append(ids[second + 1 : ids.index(eos, second)])
    assert [len(one) for one in reports] == [9, 6]
    pixels = [golden[f"vlm.in.packed_vit_images.{i}"] for i in range(2)]
    batch = pack_reports(tiny.config, pixels, questions, reports)
    same_batch(batch, golden, "vlm")
    with torch.inference_mode():
        found = losses_of_samples(batch, tiny.losses(batch)["ce"], batch.ce_loss_indexes)
    assert [len(one) for one in found] == [10, 7]
    assert (torch.cat(found) - golden["vlm.out.ce"]).abs().max() < 2e-5
    mean = sum(one.sum() for one in found) / sum(len(one) for one in found)
    assert float(mean) == pytest.approx(float(golden["vlm.out.ce"].mean()), rel=1e-6)


def test_a_packed_image_is_the_references_batch_and_loss(golden: dict[str, Tensor], tiny: UniX) -> None:
    name = "t2i_repa_same"
    prompts = [ids[:-2] for ids in samples(golden, name)]
    times = torch.sigmoid(golden[f"{name}.in.packed_timesteps"][[0, 16]]).tolist()
    noise = list(golden[f"{name}.noise"].split(16))
    batch = pack_images(tiny.config, prompts, list(golden[f"{name}.in.padded_latent"]), noise, times)
    same_batch(batch, golden, name)
    with torch.inference_mode():
        found = losses_of_samples(batch, tiny.losses(batch)["mse"], batch.mse_loss_indexes)
    expected = golden[f"{name}.out.mse"]
    for mine, theirs in zip(found, expected.split(16), strict=True):
        assert float(mine.mean()) == pytest.approx(float(theirs.mean()), rel=1e-5)
    assert float(torch.stack([one.mean() for one in found]).mean()) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_losses_of_a_mixed_batch_fall_to_their_samples(golden: dict[str, Tensor]) -> None:
    """Golden `mixed`: the first sample draws, the second writes."""
    masks = [golden[f"mixed.in.nested_attention_masks.{i}"] for i in range(2)]
    nothing = torch.empty(0, dtype=torch.int64)
    batch = TrainBatch(nothing, nothing, nothing, masks)
    ce = losses_of_samples(batch, golden["mixed.out.ce"], golden["mixed.in.ce_loss_indexes"])
    mse = losses_of_samples(batch, golden["mixed.out.mse"], golden["mixed.in.mse_loss_indexes"])
    assert [len(one) for one in ce] == [0, 12]
    assert [len(one) for one in mse] == [16, 0]


def test_a_sample_begins_where_the_one_before_it_ends() -> None:
    """Losses asked for at the first and the last token of every sample."""
    nothing, masks = torch.empty(0, dtype=torch.int64), [torch.zeros(2, 2), torch.zeros(1, 1), torch.zeros(3, 3)]
    found = losses_of_samples(
        TrainBatch(nothing, nothing, nothing, masks), torch.arange(5), torch.tensor([0, 1, 2, 3, 5])
    )
    assert [one.tolist() for one in found] == [[0, 1], [2], [3, 4]]


def test_a_report_is_encoded_without_the_tokenizers_own_tokens(demo_weights: Path) -> None:
    """A tokenizer that puts a bos before each text, as the released one may."""
    model = UniX.from_pretrained(demo_weights)
    words = len(model.tokenizer.encode(REPORTS[0]))
    special = [("<bos>", model.config.special_tokens.bos_token_id)]
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=special)
    assert len(model.tokenizer.encode(REPORTS[0])) == words + 1
    assert len(report_losses(model, pictures()[:1], [QUESTION], REPORTS[:1])[0]) == words + 1  # its end is the one more


def test_the_report_loss_is_what_writing_would_give(demo: UniX) -> None:
    """Each word's probability from the cached walk that writes reports, token by token."""
    found = report_losses(demo, pictures(), [QUESTION] * 3, REPORTS)
    bos, eos = demo.config.special_tokens.bos_token_id, demo.config.special_tokens.eos_token_id
    for image, report, losses in zip(pictures(), REPORTS, found, strict=True):
        words = demo.tokenizer.encode(report, add_special_tokens=False)
        assert len(losses) == len(words) + 1
        with torch.inference_mode():
            context = demo.new_context(1, 1000)
            demo.read_images(prepare_image(image)[None], context)
            demo.read_text([demo.text_segment(QUESTION)], context)
            for before, word, loss in zip([bos, *words], [*words, eos], losses.tolist(), strict=True):
                scores = demo.logits(demo.read_text([[before]], context))[0, -1].double()
                assert loss == pytest.approx(-float(scores.log_softmax(-1)[word]), abs=2e-4)


def test_the_flow_loss_is_the_error_of_the_velocity_that_draws(demo: UniX) -> None:
    times, seeds = [0.25, 0.9, 1.0], [5, 6, 7]
    found = flow_losses(demo, pictures(), PROMPTS, seeds, 96, times)
    assert found.shape == (3, 3)
    for index, (image, prompt, seed) in enumerate(zip(pictures(), PROMPTS, seeds, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            latent = demo.vae.encode(prepare_target(image, 96, 16)[None])[0]
            canvas = demo.canvas([demo.text_segment(prompt)], (latent.shape[1], latent.shape[2]))
            clean = latent.flatten(1).T
            for time, mine in zip(times, found[index].tolist(), strict=True):
                noise = torch.randn(clean.shape, generator=generator)
                x = (1 - time) * clean + time * noise
                velocity, _ = canvas.velocity(x[None], demo.time_embedder(torch.tensor([time]))[0], False)
                error = (velocity[0] - (noise - clean)).square().mean()
                assert mine == pytest.approx(float(error), rel=1e-4)


def adapter(model: UniX) -> UniXAdapter:
    return UniXAdapter(model, {"size": 96, "timesteps": [0.3, 0.8], "rotary_bf16": False})


def pairs() -> list[ProbePair]:
    texts = zip("abc", pictures(), REPORTS, PROMPTS, strict=True)
    return [ProbePair(name, image, QUESTION, report, prompt) for name, image, report, prompt in texts]


def test_the_batch_changes_a_loss_by_rounding_alone(demo: UniX) -> None:
    model = adapter(demo)
    together = model.losses(pairs(), [1, 2, 3])
    backwards = model.losses(pairs()[::-1], [3, 2, 1])[::-1]
    alone = [model.losses([pair], [seed])[0] for pair, seed in zip(pairs(), [1, 2, 3], strict=True)]
    for other in (backwards, alone):
        for mine, theirs in zip(together, other, strict=True):
            assert mine.report_tokens == theirs.report_tokens
            assert mine.report_nats == pytest.approx(theirs.report_nats, rel=1e-5)
            assert mine.flow_mse == pytest.approx(theirs.flow_mse, rel=1e-5)
    assert len({round(one.flow_mse or 0.0, 4) for one in together}) == 3


def test_the_seed_decides_the_noise_and_nothing_else(demo: UniX) -> None:
    model, pair = adapter(demo), pairs()[:1]
    first, again, other = (model.losses(pair, [seed])[0] for seed in (1, 1, 2))
    assert first == again
    assert first.report_nats == other.report_nats
    assert first.flow_mse != other.flow_mse


def test_a_pair_gives_the_losses_it_has_the_text_for(demo: UniX) -> None:
    first, second, third = pairs()
    lacking = [
        dataclasses.replace(first, report=None, prompt=None),
        dataclasses.replace(second, prompt=None),
        dataclasses.replace(third, report=None),
    ]
    found = adapter(demo).losses(lacking, [1, 2, 3])
    whole = adapter(demo).losses(pairs(), [1, 2, 3])
    assert found[0] == PairLosses()
    assert found[1].report_nats == pytest.approx(whole[1].report_nats, rel=1e-5)
    assert found[1].flow_mse is None
    assert (found[2].report_nats, found[2].report_tokens) == (None, None)
    assert found[2].flow_mse == pytest.approx(whole[2].flow_mse, rel=1e-5)


def test_bfloat16_is_near(demo: UniX, demo_weights: Path) -> None:
    rounded = adapter(UniX.from_pretrained(demo_weights, torch.bfloat16)).losses(pairs(), [1, 2, 3])
    for mine, theirs in zip(rounded, adapter(demo).losses(pairs(), [1, 2, 3]), strict=True):
        assert mine.report_nats == pytest.approx(theirs.report_nats, rel=0.02)
        assert mine.flow_mse == pytest.approx(theirs.flow_mse, rel=0.02)
        assert mine != theirs


def test_a_text_too_long_for_the_model_is_an_error(demo: UniX) -> None:
    for lengthy in ({"report": "Clear lungs. " * 2000}, {"prompt": "Pneumonia. " * 2000}):
        with pytest.raises(ValueError, match="longer than 2048 tokens"):
            adapter(demo).losses([dataclasses.replace(pairs()[0], **lengthy)], [1])


@pytest.mark.parametrize(
    ("sides", "size", "expected"),
    [((300, 200), 96, (96, 64)), ((50, 100), 128, (64, 128)), ((10, 4000), 128, (16, 128)), ((7, 7), 64, (64, 64))],
)
def test_images_are_learnt_in_their_own_aspect(sides: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    pixels = prepare_target(Image.new("L", sides, 255), size, 16)
    assert tuple(pixels.shape) == (3, expected[1], expected[0])
    assert torch.equal(pixels, torch.ones_like(pixels))
    assert float(prepare_target(Image.new("RGB", sides), size, 16).max()) == -1.0


@pytest.mark.parametrize("times", [[], [0.0, 0.5], [1.5], [math.nan], 0.5])
def test_impossible_times(demo_weights: Path, times: object) -> None:
    stated = {"size": 0, "timesteps": times, "rotary_bf16": True}
    with pytest.raises(UserError, match="timesteps must be one or several numbers above 0 and at most 1"):
        UniXAdapter.complete_settings(demo_weights, registry.model("unix"), "probe", stated)


def test_the_model_knows_its_losses_and_they_do_not_know_it() -> None:
    graph = grimp.build_graph("unix_bench")
    model, losses = "unix_bench.models.unix.model", "unix_bench.models.unix.losses"
    assert graph.direct_import_exists(importer=model, imported=losses)
    assert graph.find_shortest_chain(importer=losses, imported=model) is None
