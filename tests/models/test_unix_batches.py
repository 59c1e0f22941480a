"""A sample depends on itself alone: not on its batch, its neighbours or their lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unix_bench.data import DEMO, read_folder
from unix_bench.models.unix import UniX, UniXConfig
from unix_bench.models.unix.config import (
    AutoencoderConfig,
    LanguageConfig,
    SpecialTokens,
    VAEConfig,
    VisionConfig,
)
from unix_bench.weights import fill_seeded

PROMPTS = ["Pneumonia.", "Frontal chest radiograph. No Finding.", "A", "Cardiomegaly, Pleural Effusion and an ICD."]


@pytest.fixture(scope="module")
def demo(demo_weights: Path) -> UniX:
    return UniX.from_pretrained(demo_weights)


def drawn(model: UniX, prompts: list[str], seeds: list[int], **settings: object) -> np.ndarray:
    images = model.draw(prompts=prompts, seeds=seeds, size=(64, 96), num_timesteps=6, **settings)
    return np.stack([np.asarray(image) for image in images]).astype(int)


@pytest.mark.parametrize("renorm", ["global", "channel", "text_channel"])
def test_images_do_not_depend_on_the_batch(demo: UniX, renorm: str) -> None:
    together = drawn(demo, PROMPTS, [1, 2, 3, 4], cfg_renorm_type=renorm)
    assert together.shape == (4, 64, 96, 3)
    alone = np.concatenate(
        [
            drawn(demo, [prompt], [seed], cfg_renorm_type=renorm)
            for prompt, seed in zip(PROMPTS, [1, 2, 3, 4], strict=True)
        ]
    )
    backwards = drawn(demo, PROMPTS[::-1], [4, 3, 2, 1], cfg_renorm_type=renorm)[::-1]
    assert np.abs(together - alone).max() <= 1
    assert np.abs(together - backwards).max() <= 1
    assert np.abs(together[0] - together[1]).max() > 1


def test_seed_and_prompt_decide_the_image(demo: UniX) -> None:
    first = drawn(demo, PROMPTS[:1], [1])
    assert np.array_equal(first, drawn(demo, PROMPTS[:1], [1]))
    assert not np.array_equal(first, drawn(demo, PROMPTS[:1], [2]))
    assert not np.array_equal(first, drawn(demo, PROMPTS[1:2], [1]))


def test_reports_do_not_depend_on_the_batch(demo: UniX) -> None:
    paths = sorted(read_folder(DEMO).root.glob("images/*.jpg"))[::18]
    images = [Image.open(path) for path in paths]
    together = demo.write_reports(images, PROMPTS, max_new_tokens=24)
    alone = [demo.write_reports([i], [p], max_new_tokens=24)[0] for i, p in zip(images, PROMPTS, strict=True)]
    assert together == alone
    assert len(set(together)) > 1


def test_an_answer_that_ends_early_leaves_the_others_alone(demo: UniX) -> None:
    pixels = torch.randn(3, 3, 384, 384, generator=torch.Generator().manual_seed(0))
    questions = [demo.text_segment(prompt) for prompt in PROMPTS[:3]]
    free = demo.generate_ids(pixels, questions, 12, eos_token_id=0)
    early = next(token for token in free[0][2:] if token not in free[1][1:])
    stopped = demo.generate_ids(pixels, questions, 12, eos_token_id=early)
    assert stopped[0] == free[0][: free[0].index(early, 1)]
    assert stopped[1] == free[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": ["a"], "seeds": [1], "size": (40, 64)}, "multiple of 16"),
        ({"prompts": ["a"], "seeds": [1], "size": (64, 256)}, "at most 128"),
        ({"prompts": ["a"], "size": (64, 64)}, "either noise or seeds"),
        ({"seeds": [1], "size": (64, 64)}, "either prompts or prompt_ids"),
        ({"prompts": ["a", "b"], "seeds": [1], "size": (64, 64)}, r"noise must be \[2, 16, 16\]"),
        ({"prompts": ["a"], "seeds": [1], "size": (64, 64), "num_timesteps": 1}, "num_timesteps"),
        ({"prompts": ["a"], "seeds": [1], "size": (64, 64), "cfg_renorm_type": "none"}, "cfg_renorm_type"),
    ],
)
def test_impossible_drawings(demo: UniX, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demo.draw(**arguments)


def random_model(kv_heads: int) -> UniX:
    """Four heads over one or more kv heads, an eight-fold VAE, sides that differ from the goldens'."""
    config = UniXConfig(
        language=LanguageConfig(
            hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=kv_heads, vocab_size=50,
        ),
        vision=VisionConfig(
            image_size=48, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40
        ),
        vae=VAEConfig(ddconfig=AutoencoderConfig(ch=32, ch_mult=(1, 1, 2, 2), num_res_blocks=1, resolution=128,
                                                 attn_resolutions=(16, 32))),
        special_tokens=SpecialTokens(bos_token_id=40, eos_token_id=41, start_of_image=42, end_of_image=43),
        max_latent_size=6,
    )  # fmt: skip
    model = UniX(config).eval()
    fill_seeded(model, 5)
    return model


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_shared_kv_heads_equal_repeated_ones(kv_heads: int, tmp_path: Path) -> None:
    """Head h reads kv head h // group: a model whose kv heads are written out once a head computes the same."""
    shared, full = random_model(kv_heads), random_model(4)
    width, head = 48, 12
    target = dict(full.named_parameters())
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if ".qkv_proj." not in name:
                target[name].copy_(parameter)
                continue
            q, k, v = parameter.split([width, kv_heads * head, kv_heads * head])
            copies = [
                x.unflatten(0, (kv_heads, head)).repeat_interleave(4 // kv_heads, dim=0).flatten(0, 1) for x in (k, v)
            ]
            target[name].copy_(torch.cat([q, *copies]))
    shared.save_pretrained(tmp_path / "w", torch.float32)
    again = UniX.from_pretrained(tmp_path / "w")
    noise = torch.randn(2, 24, 16, generator=torch.Generator().manual_seed(1))
    settings = {"prompt_ids": [[40, 3, 41], [40, 7, 8, 9, 41]], "noise": noise, "size": (32, 48), "num_timesteps": 4}
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    expected = full.draw(**settings, output="tensor")
    for model in (shared, again):
        torch.testing.assert_close(model.draw(**settings, output="tensor"), expected, rtol=0, atol=2e-5)
        answers = model.generate_ids(pixels, settings["prompt_ids"], 8)
        assert answers == full.generate_ids(pixels, settings["prompt_ids"], 8)
