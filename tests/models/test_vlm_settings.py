"""Settings of chat-style models: checked strictly, said in a sentence; prompts filled in once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench import bench, refused
from hypothesis import given
from hypothesis import strategies as st

from unix_bench import registry
from unix_bench.cards import bundled
from unix_bench.errors import UserError
from unix_bench.models.vlm.settings import ReportSettings

CARDS = ("medgemma-4b", "medgemma-27b", "medgemma-1.5-4b", "chexone", "nv-reason-cxr", "lingshu-7b", "lingshu-32b",
         "healthgpt-pro-4b", "llava-med", "janus-pro-1b")  # fmt: skip


STATED = registry.model("medgemma-4b").settings["report"]


def stated(**changes: Any) -> dict[str, Any]:
    return {**STATED, **changes}


@pytest.mark.parametrize("name", CARDS)
def test_the_bundled_settings_are_complete(name: str) -> None:
    card = registry.model(name)
    assert card.family == "vlm"
    assert all((card.hub_id, card.licence, card.parameters, card.verified["weights"]))
    assert ReportSettings.checked(card.settings["report"], card.title).model_dump() == card.settings["report"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": True}, "MedGemma's report setting max_new_tokens must be a whole number from 1, not True"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1, not 0"),
        ({"temperature": -1.0}, "temperature must be a number from 0 (greedy) to 100, not -1.0"),
        ({"temperature": float("nan")}, "temperature must be a number from 0"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be a number above 0 and at most 1, not 0.0"),
        ({"top_p": 0.9}, "top_p and top_k must be 1.0 and 0 where temperature is 0, since nothing is drawn"),
        ({"top_k": 5}, "top_p and top_k must be 1.0 and 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be a number above 0"),
        ({"extract": "box"}, 'extract must be "all", "boxed" or "section", not \'box\''),
        ({"extract": "section"}, 'section must be a name where extract is "section", and empty elsewhere'),
        ({"section": "findings"}, "section must be a name where"),
        ({"prompt": ""}, "prompt must be text in quotes, not empty"),
        ({"prompt": "  \n "}, "MedGemma's report setting prompt must hold words, not white space alone"),
        (
            {"extract": "section", "section": " findings "},
            "section must be a name without white space around it, not ' findings '",
        ),
        ({"prompt": "Look. {indication}"}, "prompt may hold {instruction}, not {indication}"),
        ({"prompt_with_indication": "{indicaton}"}, "may hold {indication} and {instruction}, not {indicaton}"),
        ({"prompt_with_indication": "{instruction}"}, "prompt_with_indication must hold {indication}, or be empty"),
        ({"beams": 3}, "MedGemma's settings for report are system, prompt,"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        ReportSettings.checked(stated(**changes), "MedGemma")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(instruction=st.text(), indication=st.text())
def test_what_is_put_into_a_prompt_is_not_read_again(instruction: str, indication: str) -> None:
    settings = ReportSettings.checked(
        stated(prompt="A{instruction}\\boxed{}", prompt_with_indication="{indication}|{instruction}"), "x"
    )
    assert settings.question(instruction, None) == f"A{instruction}\\boxed{{}}"
    said = indication.strip()
    assert settings.question(instruction, indication) == (
        f"{said}|{instruction}" if said else f"A{instruction}\\boxed{{}}"
    )


def test_llava_med_draws_as_its_makers_script() -> None:
    """Which passes temperature alone, so that the 50 of `generate` holds."""
    settings = registry.model("llava-med").settings["report"]
    assert [settings[name] for name in ("temperature", "top_p", "top_k")] == [0.2, 1.0, 50]


def test_an_indication_is_not_shown_where_the_card_does_not_say_so() -> None:
    assert ReportSettings.checked(stated(), "x").question("Describe it.", "Cough") == "Describe it."


def test_the_command_line_says_it() -> None:
    run = ("run", "--task", "report", "--dry-run", "--quiet", "--model")
    refused(bench(*run, "medgemma-4b", "--set", "max_new_tokens=5000"), "max_new_tokens must be 1 to 4092")
    refused(bench(*run, "janus-pro-1b", "--set", "max_new_tokens=4096"), "max_new_tokens must be 1 to 4080")
    refused(bench(*run, "llava-med", "--set", "max_new_tokens=4096"), "max_new_tokens must be 1 to 4080")
    refused(bench(*run, "chexone", "--set", "max_new_tokens=4096"), "max_new_tokens must be 1 to 4095")
    refused(bench(*run, "medgemma-4b", "--set", "extract=box"), 'MedGemma 4B\'s report setting extract must be "all"')
    refused(bench(*run, "medgemma-4b", "--set", "beams=3"), "unknown setting 'beams'")
    cards = Path("unix-bench/baselines")
    cards.mkdir(parents=True)
    card = (bundled("baselines") / "chexone.toml").read_text().replace('name = "chexone"', 'name = "mine"')
    (cards / "mine.toml").write_text(card.replace("Qwen2_5_VLFor", "Qwen9For"))
    refused(bench(*run, "mine"), "card 'mine': unknown architecture 'Qwen9ForConditionalGeneration'")
    (cards / "mine.toml").write_text(card.replace('["report"]', '["report", "generation"]'))
    refused(
        bench("run", "--task", "generation", "--dry-run", "--model", "mine"), "CheXOne writes reports here; it has no"
    )
