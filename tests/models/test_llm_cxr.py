"""LLM-CXR: prompts, sampling, decoding and its runs, each against something that is not ours."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench import bench, refused
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import GPTNeoXForCausalLM, LogitsProcessorList, PreTrainedTokenizerFast
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from unix_bench import registry
from unix_bench.data import DEMO
from unix_bench.models import ImageRequest, ReportRequest
from unix_bench.models.llm_cxr import LlmCxr
from unix_bench.models.llm_cxr.adapter import prepare_image
from unix_bench.models.llm_cxr.sampling import Sampling, candidates, choose
from unix_bench.weights import mark_stand_in

CARD = registry.model("llm-cxr")
OPEN_CXR = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
PROMPTS = ["Pneumonia.", "Small left pleural effusion. " * 9, "", "No acute process, heart of normal size."]
GREEDY = {"do_sample": False, "top_p": 1.0, "attempts": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "llm-cxr"
    LlmCxr.write_demo_weights(directory, CARD)
    mark_stand_in(directory, "llm-cxr-demo")
    return directory


def loaded(directory: Path, kind: str, dtype: str = "float32", **changes: Any) -> LlmCxr:
    settings = LlmCxr.complete_settings(directory, CARD, kind, {**CARD.settings[kind], **changes})
    return LlmCxr.load(directory, CARD, settings, dtype, "cpu")


def images(n: int) -> list[Image.Image]:
    return [Image.open(path) for path in sorted(DEMO.glob("images/*"))[:n]]


def requested(seed: int = 0) -> list[ImageRequest]:
    return [ImageRequest(f"s{index}", prompt, seed + index) for index, prompt in enumerate(PROMPTS)]


def pixels(drawn: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image) for image in drawn])


# --- sampling


def warped(scores: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Probabilities as transformers makes them."""
    steps = LogitsProcessorList([TemperatureLogitsWarper(how.temperature)])
    if how.top_k:
        steps.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        steps.append(TopPLogitsWarper(how.top_p))
    return steps(torch.zeros(1, 1, dtype=torch.long), scores[None])[0].softmax(dim=0)


@pytest.mark.parametrize("top_k", [0, 1, 7, 1000])
@pytest.mark.parametrize("top_p", [0.05, 0.92, 1.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_candidates_are_those_of_transformers(top_k: int, top_p: float, temperature: float) -> None:
    how = Sampling(True, temperature, top_k, top_p)
    generator = torch.Generator().manual_seed(3)
    for scale in (0.1, 3.0, 20.0):
        scores = torch.randn(300, generator=generator) * scale
        chances, tokens = candidates(scores, how)
        ours = torch.zeros(300).scatter(0, tokens, (chances / chances.sum()).float())
        torch.testing.assert_close(ours, warped(scores, how), rtol=1e-5, atol=1e-7)


def test_tokens_come_as_often_as_they_are_likely() -> None:
    how = Sampling(True, 1.0, 0, 0.92)
    scores = torch.tensor([0.1, 2.0, 1.0, -1.0, 1.5, -4.0])
    generator = torch.Generator().manual_seed(0)
    counts = Counter(choose(scores, how, generator) for _ in range(20_000))
    expected = warped(scores, how)
    assert set(counts) == {token for token in range(6) if expected[token] > 0} < set(range(6))
    for token, count in counts.items():
        assert count / 20_000 == pytest.approx(float(expected[token]), abs=0.015)


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40), st.integers(0, 2**63 - 1))
def test_a_choice_depends_on_its_generator_alone(scores: list[float], seed: int) -> None:
    how, tensor = Sampling(True, 1.0, 0, 0.92), torch.tensor(scores)
    torch.manual_seed(seed % 1000)
    chosen = choose(tensor, how, torch.Generator().manual_seed(seed))
    torch.manual_seed(1)
    assert choose(tensor, how, torch.Generator().manual_seed(seed)) == chosen
    assert chosen in candidates(tensor, how)[1]
    best = choose(tensor, Sampling(False, 1.0, 0, 1.0), torch.Generator())
    assert tensor[best] == tensor.max()


def test_scores_that_are_none() -> None:
    with pytest.raises(ValueError, match="NaN or Inf"):
        choose(torch.tensor([0.0, float("nan")]), Sampling(True, 1.0, 0, 0.92), torch.Generator())


# --- prompts


def test_the_prompt_of_dolly_as_published(made: Path) -> None:
    words = loaded(made, "generation").vocabulary
    text = words.words.decode(words.about_text("Do {this}.", "A {finding}."), skip_special_tokens=False)
    assert text == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nDo {this}.\n\nInput:\nA {finding}.\n\n### Response:\n"
    )


def test_an_image_stands_where_its_word_stood(made: Path) -> None:
    """The brackets stay, as in the public code."""
    words = loaded(made, "report").vocabulary
    codes = list(range(16))
    ids = words.about_image("Describe it.", codes)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(made / "llm" / "tokenizer.json"))
    place = next(at for at, token in enumerate(ids) if token >= len(tokenizer))
    assert words.first_code == len(tokenizer)
    assert [token - len(tokenizer) for token in ids[place : place + 16]] == codes
    before, after = tokenizer.decode(ids[:place]), tokenizer.decode(ids[place + 16 :])
    assert before.endswith("Describe it.\n\nInput:\n<")
    assert after == ">\n\n### Response:\n"
    assert tokenizer(before + "image" + after)["input_ids"] == [*ids[:place], words.image[1], *ids[place + 16 :]]


def test_an_answer_is_words_and_codes(made: Path) -> None:
    words = loaded(made, "report").vocabulary
    said = words.words.encode(" The heart is normal , and it 's clear .\n").ids
    n = words.first_code
    assert words.text_in([n + 3, *said, n + 63]) == "The heart is normal, and it's clear."
    assert words.codes_in([n + 3, *said, n + 63, n]) == [3, 63, 0]
    assert (words.text_in([]), words.codes_in(said)) == ("", [])


def test_spaces_stay_where_the_tokenizer_says_so(made: Path, tmp_path: Path) -> None:
    from unix_bench.models.llm_cxr.vocabulary import Vocabulary

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((made / "llm" / name).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"clean_up_tokenization_spaces": false}')
    words = Vocabulary.from_directory(tmp_path, 64, "it")
    assert words.text_in(words.words.encode("normal , and").ids) == "normal , and"


# --- images


@pytest.mark.parametrize("size", [(256, 256), (700, 256), (256, 701), (3000, 2501), (40, 90), (257, 256)])
def test_the_middle_of_an_image_is_read(size: tuple[int, int]) -> None:
    """A ramp that is symmetrical about the middle stays so, and the shorter side is seen whole."""
    width, height = size
    x = np.abs(np.arange(width) - (width - 1) / 2) / width
    y = np.abs(np.arange(height) - (height - 1) / 2) / height
    ramp = Image.fromarray((255 * (x[None, :] + y[:, None])).round().astype(np.uint8))
    seen = prepare_image(ramp, 256)
    assert seen.shape == (3, 256, 256)
    assert seen.dtype == torch.float32
    assert seen.min() >= -1
    assert seen.max() <= 1
    assert (seen[0] == seen[2]).all()
    uneven = 0.06 if min(size) != max(size) else 0.01  # half a pixel of the cut
    assert (seen - seen.flip(2)).abs().max() < uneven + 0.02
    assert (seen - seen.flip(1)).abs().max() < uneven + 0.02
    short = seen[0, 128] if width <= height else seen[0, :, 128]
    assert float(short[0] - short[128]) == pytest.approx(1.0, abs=0.05)  # half of the range of [-1, 1]


def test_a_square_of_the_right_size_is_read_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
    seen = prepare_image(Image.fromarray(noise), 32)
    assert np.array_equal(((seen + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8), noise)
    assert (seen.min(), seen.max()) == (-1, 1)


# --- decoding


def published(directory: Path) -> GPTNeoXForCausalLM:
    return GPTNeoXForCausalLM.from_pretrained(directory / "llm", dtype=torch.float32).eval()


def test_greedy_answers_are_those_of_transformers(made: Path) -> None:
    model, theirs = loaded(made, "generation", **GREEDY, batched=True), published(made)
    prompts = [model.vocabulary.about_text("Draw it.", text) for text in PROMPTS]
    answers = list(model._answers(prompts, [torch.Generator()] * 4))
    assert len({len(answer) for answer in answers}) >= 1
    for prompt, answer in zip(prompts, answers, strict=True):
        told = theirs.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=300, eos_token_id=model.vocabulary.end,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()  # fmt: skip
        assert told == [*answer, model.vocabulary.end]


@pytest.mark.parametrize("batched", [False, True])
def test_sampled_answers_are_those_without_cache_padding_or_batch(made: Path, batched: bool) -> None:
    """The whole text is read again for each token, and transformers says which tokens may follow."""
    model, theirs = loaded(made, "report", batched=batched, max_new_tokens=20), published(made)
    end = model.vocabulary.end
    prompts = [model.vocabulary.about_image("Write." * (1 + k), model.read(image)) for k, image in enumerate(images(3))]
    answers = list(model._answers(prompts, [torch.Generator().manual_seed(k) for k in range(3)]))
    for seed, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        generator, told = torch.Generator().manual_seed(seed), list(prompt)
        while len(told) < len(prompt) + 20 and told[-1] != end:
            chances = warped(theirs(torch.tensor([told])).logits[0, -1].detach(), Sampling(True, 1.0, 0, 0.92)).double()
            order = chances.argsort(descending=True, stable=True)
            drawn = torch.rand((), generator=generator, dtype=torch.float64)
            told.append(int(order[int((chances[order].cumsum(0) <= drawn).sum())]))
        assert [token for token in told[len(prompt) :] if token != end] == answer


def test_a_text_that_is_too_long(made: Path) -> None:
    with pytest.raises(ValueError, match=r"a prompt of \d+ tokens and an answer of 300 are more than the model's 2048"):
        loaded(made, "generation").draw([ImageRequest("a", "effusion " * 2000, 1)])


# --- images and reports


def test_images_depend_on_seed_and_prompt_alone(made: Path) -> None:
    model = loaded(made, "generation")
    together = pixels(model.draw(requested()))
    assert together.shape == (4, 32, 32, 3)
    torch.manual_seed(5)
    backwards = pixels(model.draw(requested()[::-1])[::-1])
    alone = pixels([model.draw([request])[0] for request in requested()])
    batched = pixels(loaded(made, "generation", batched=True).draw(requested()))
    assert (together == backwards).all()
    assert (together == alone).all()
    assert np.abs(together.astype(int) - batched).max() <= 1
    for other in ([ImageRequest("s0", PROMPTS[0], 99)], [ImageRequest("s0", PROMPTS[3], 0)]):
        assert (pixels(model.draw(other))[0] != together[0]).any()
    assert model.draw([]) == []


def test_bfloat16_one_by_one_does_not_depend_on_the_batch(made: Path) -> None:
    model = loaded(made, "generation", "bfloat16")
    assert model.language.dtype == torch.bfloat16
    assert next(model.vqgan.parameters()).dtype == torch.float32
    assert (pixels(model.draw(requested())) == pixels([model.draw([one])[0] for one in requested()])).all()


def test_an_image_has_all_its_codes_or_there_is_none(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(made, "generation", attempts=3)
    n = model.vocabulary.first_code
    said = [[n] * 15, [n] * 17, [5, n + 1, 6, *[n + 2] * 15]]
    asked: list[int] = []

    def answers(prompts: list[Any], generators: list[Any]) -> list[list[int]]:
        asked.append(len(prompts))
        return [said[len(asked) - 1]] * len(prompts)

    monkeypatch.setattr(model, "_answers", answers)
    drawn = model.draw(requested()[:2])
    assert asked == [2, 2, 2]  # words between the codes do no harm
    assert (pixels(drawn)[0] == pixels([model.picture([1] + [2] * 15)])[0]).all()
    said[2] = []
    asked.clear()
    with pytest.raises(ValueError, match="none of 3 answers is an image of 16 codes; they hold 15, 17, 0"):
        model.draw(requested())


def test_every_attempt_is_another_one(made: Path) -> None:
    """At this heat a third of the answers are images; where the first is none, a later one is."""
    hot = {"temperature": 2.0, "max_new_tokens": 40}
    once, often = (loaded(made, "generation", **hot, attempts=attempts) for attempts in (1, 60))
    failed = []
    for request in [ImageRequest("a", "Edema.", seed) for seed in range(12)]:
        try:
            drawn = once.draw([request])
        except ValueError:
            failed.append(request)
        else:
            assert (pixels(drawn) == pixels(often.draw([request]))).all()
    assert 2 < len(failed) < 12
    assert len(often.draw(failed)) == len(failed)


def test_reports_depend_on_image_and_seed(made: Path) -> None:
    model = loaded(made, "report")
    asked = [ReportRequest(f"s{index}", image, "Describe it.", seed=index) for index, image in enumerate(images(4))]
    reports = model.write(asked)
    assert len(set(reports)) == 4
    assert all(reports)
    assert model.write(asked[::-1]) == reports[::-1]
    assert [model.write([one])[0] for one in asked] == reports
    assert loaded(made, "report", batched=True).write(asked) == reports
    assert model.write([replace(asked[0], id="other")]) == reports[:1]
    assert model.write([replace(asked[0], seed=9)]) != reports[:1]
    assert model.write([replace(asked[0], image=asked[1].image)]) != reports[:1]
    assert model.write([]) == []
    prompt = model.vocabulary.about_image(CARD.settings["report"]["instruction"], model.read(asked[0].image))
    generator = torch.Generator().manual_seed(0)
    assert model.vocabulary.text_in(next(iter(model._answers([prompt], [generator])))) == reports[0]


# --- through the command line


def run(results: str, task: str, *words: object) -> tuple[dict[str, Any], bytes]:
    """Samples by id, and the bytes of results.json."""
    said = bench("run", "--model", "llm-cxr", "--task", task, "--results", results, "--quiet", *words)
    assert said.exit_code == 0, said.output
    (folder,) = Path(results).glob("llm-cxr-demo-*")
    lines = [json.loads(line) for file in folder.glob("samples-*.jsonl") for line in file.read_text().splitlines()]
    (file,) = folder.glob("scores/*/results.json")
    return {line["id"]: (line.get("report"), line.get("image")) for line in lines}, file.read_bytes()


def data_sets() -> list[Any]:
    absent = pytest.mark.skipif(not OPEN_CXR.is_dir(), reason="the shared data are not here")
    return ["demo", pytest.param(str(OPEN_CXR), marks=absent, id="open_cxr")]


@pytest.mark.parametrize("data", data_sets())
@pytest.mark.parametrize("task", ["report", "generation"])
def test_runs_repeat_and_do_not_depend_on_the_batch(task: str, data: str) -> None:
    words = ("--data", data, "--limit", 4)
    samples, results = run("a", task, *words)
    assert len(samples) == 4
    assert run("b", task, *words) == (samples, results)
    assert run("c", task, *words, "--batch-size", 3)[0] == samples


def test_a_sample_that_is_no_image_has_failed() -> None:
    said = bench("run", "--model", "llm-cxr", "--task", "generation", "--limit", 2, "--quiet", "--results", "a",
                 "--set", "temperature=50", "--set", "attempts=2", "--json")  # fmt: skip
    assert said.exit_code == 1, said.output
    (file,) = Path("a").glob("*/samples-*.jsonl")
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert "none of 2 answers is an image of 16 codes" in line["error"]
        assert line.get("image") is None
    assert list(Path("a").glob("*/images/*")) == []


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("report", "top_p=0", "LLM-CXR's report setting top_p must be a number above 0 and at most 1, not 0.0"),
        ("report", "temperature=nan", "temperature must be a number above 0, not nan"),
        ("report", "top_k=-1", "top_k must be a whole number, 0 for all tokens, not -1"),
        ("report", "max_new_tokens=2048", "max_new_tokens must be 1 to 2047 here, not 2048"),
        ("report", "instruction=", "instruction must be a text, not ''"),
        ("report", "instruction=See <image>.", "instruction must not hold '<image>'"),
        ("report", "instruction=Say it. ### End", "instruction must not hold '### End'"),
        ("report", "do_sample=false", "with do_sample false nothing is drawn: set temperature to 1.0, top_k to 0 and"),
        ("report", "attempts=2", "unknown setting 'attempts'"),
        ("generation", "attempts=0", "attempts must be a whole number of 1 or more, not 0"),
        ("generation", "max_new_tokens=15", "max_new_tokens must be 16 to 2047 here, not 15"),
        ("generation", "batched=1", "it must be true or false"),
    ],
)
def test_impossible_settings(task: str, change: str, message: str) -> None:
    refused(bench("run", "--model", "llm-cxr", "--task", task, "--quiet", "--dry-run", "--set", change), message)


def test_greedy_attempts_are_all_the_same() -> None:
    words = ("--set", "do_sample=false", "--set", "top_p=1.0", "--dry-run", "--quiet")
    refused(bench("run", "--model", "llm-cxr", "--task", "generation", *words), "every attempt is the same")


def test_words_of_a_study_end_nothing(made: Path) -> None:
    model = loaded(made, "generation")
    with pytest.raises(ValueError, match="the question holds '### End', which means something of its own"):
        model.draw([ImageRequest("a", "No effusion. ### End", 0)])


def test_tasks_that_it_does_not_do() -> None:
    refused(bench("run", "--model", "llm-cxr", "--task", "probe", "--quiet"), "probe")
