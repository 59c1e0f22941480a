"""Settings of a user's UniX card: what is of the wrong type is said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench import bench, refused

from unix_bench import plan, registry
from unix_bench.cards import bundled
from unix_bench.errors import UserError
from unix_bench.models.unix.adapter import UniXAdapter
from unix_bench.plan import PredictOptions
from unix_bench.settings import load_settings


def complete(directory: Path, kind: str, **changes: Any) -> dict[str, Any]:
    card = registry.model("unix")
    return UniXAdapter.complete_settings(directory, card, kind, {**card.settings[kind], **changes})


@pytest.mark.parametrize("kind", ["report", "generation", "probe"])
def test_the_bundled_settings_stay_as_they_are(demo_weights: Path, kind: str) -> None:
    stated = registry.model("unix").settings[kind]
    assert complete(demo_weights, kind) == {**stated, **({"size": 128} if "size" in stated else {})}


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("generation", {"size": "64"}, "UniX's generation setting size must be a whole number, not '64'"),
        ("generation", {"size": 64.0}, "size must be a whole number, not 64.0"),
        ("generation", {"size": -16}, "size must be a multiple of 16 up to 128"),
        ("generation", {"num_timesteps": True}, "num_timesteps must be a whole number, not True"),
        ("generation", {"num_timesteps": 1}, "UniX cannot draw so: num_timesteps must be 2 or more"),
        ("generation", {"cfg_text_scale": "2"}, "cfg_text_scale must be a number, not '2'"),
        ("generation", {"cfg_text_scale": float("nan")}, "must be finite numbers"),
        ("generation", {"cfg_interval": 0.4}, "cfg_interval must be two numbers, not 0.4"),
        ("generation", {"cfg_interval": [0.4]}, "UniX cannot draw so: "),
        ("generation", {"cfg_renorm_type": 1}, "cfg_renorm_type must be a name in quotes, not 1"),
        ("generation", {"cfg_renorm_type": "none"}, "must be one of global, channel, text_channel"),
        ("generation", {"rotary_bf16": 1}, "rotary_bf16 must be true or false, not 1"),
        ("report", {"max_new_tokens": True}, "UniX's report setting max_new_tokens must be a whole number, not True"),
        ("report", {"max_new_tokens": 0}, "max_new_tokens must be 1 to 2048, not 0"),
        ("report", {"size": 0}, "settings for report are rotary_bf16, max_new_tokens: see to size"),
        ("probe", {"timesteps": ["0.5"]}, "timesteps must be one or several numbers above 0 and at most 1"),
    ],
)
def test_what_is_wrong_is_said(demo_weights: Path, kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        complete(demo_weights, kind, **changes)
    assert message in str(error.value)


def test_whole_numbers_are_numbers(demo_weights: Path) -> None:
    assert complete(demo_weights, "generation", cfg_text_scale=2, cfg_interval=[0, 1])["cfg_text_scale"] == 2


@pytest.mark.parametrize(("right", "wrong"), [("size = 0", 'size = "64"'), ("_scale = 2.0", '_scale = "2"')])
def test_a_card_with_a_wrong_type(right: str, wrong: str) -> None:
    cards = Path("unix-bench/baselines")
    cards.mkdir(parents=True)
    card = (bundled("baselines") / "unix.toml").read_text().replace('name = "unix"', 'name = "mine"')
    (cards / "mine.toml").write_text(card.replace(right, wrong))
    refused(
        bench("run", "--model", "mine", "--task", "generation", "--dry-run", "--quiet"), "UniX's generation setting"
    )


def test_a_gpu_is_given_the_cards_batch_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "choose_device", lambda stated: "cuda:0")
    settings = load_settings()

    def planned(model: str, **stated: Any) -> tuple[int, str]:
        options = PredictOptions(model=model, task="generation", data="demo", executor="inline", **stated)
        spec = plan.plan_run(options, settings).spec
        return spec.batch_size, spec.dtype

    assert planned("unix") == (32, "bfloat16")
    assert planned("unix", batch_size=3, dtype="float16") == (3, "float16")
    assert planned("sana") == (8, "float16")
    assert planned("sd-2-1", deterministic=True) == (8, "float32")
