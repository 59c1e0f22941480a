"""What makes UniX fast changes no answer and no image, and computes nothing that is thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from unix_bench.data import DEMO, read_folder
from unix_bench.models.unix import UniX, answering, drawing
from unix_bench.models.unix.answering import Desk, write_answers
from unix_bench.models.unix.cost import image_flops, report_flops
from unix_bench.models.unix.flow import SamplerSettings, time_grid
from unix_bench.models.unix.preprocess import prepare_image
from unix_bench.models.unix.replay import WARM_UP
from unix_bench.models.unix.room import even_parts, images_at_once
from unix_bench.models.unix.speed import Speed

PROMPTS = ["Pneumonia.", "Frontal chest radiograph. No Finding.", "A", "Cardiomegaly, Pleural Effusion and an ICD."]
LONGEST = 24


class Touched(TorchDispatchMode):
    """Which memory a function reads or writes that it did not make, and that it never waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: set[int] = set()
        self._made: set[int] = set()
        self._kept: list[Any] = []  # so that no address is given twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        given = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, torch.Tensor)]
        self.outside |= {one.untyped_storage().data_ptr() for one in given} - self._made
        found = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(found) if isinstance(one, torch.Tensor)]
        self._made |= {one.untyped_storage().data_ptr() for one in tensors} - self.outside
        self._kept += tensors
        return found


class Recorded:
    """`Replay` without a GPU: the calls of the warm up, the state put back, then the function itself.

    It must find all it works on where that lay when it was recorded.
    """

    def __init__(
        self, function: Callable[..., Any], inputs: tuple[Any, ...], changes: tuple[Any, ...] = (), pool: Any = None
    ) -> None:
        self._function, self._inputs = function, tuple(one.clone() for one in inputs)
        before = [one.clone() for one in changes]
        for _ in range(WARM_UP - 1):
            function(*self._inputs)
        with Touched() as first:
            function(*self._inputs)
        self._outside = first.outside
        for one, kept in zip(changes, before, strict=True):
            one.copy_(kept)
        made.append(self)

    def __call__(self, *inputs: Any) -> Any:
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        with Touched() as now:
            found = self._function(*self._inputs)
        assert now.outside == self._outside, "a replay would work on what was there when it was recorded"
        return found


made: list[Recorded] = []


@pytest.fixture
def model(demo_weights: Path) -> UniX:
    return UniX.from_pretrained(demo_weights)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Recorded]]:
    monkeypatch.setattr(drawing, "Replay", Recorded)
    monkeypatch.setattr(answering, "Replay", Recorded)
    made.clear()
    yield made
    made.clear()


@pytest.fixture(scope="module")
def questions(demo_weights: Path) -> tuple[torch.Tensor, list[list[int]], list[list[int]], int]:
    """Pixels and prompts, each answered alone, and the end token with which the answers' lengths differ most."""
    model = UniX.from_pretrained(demo_weights)
    paths = sorted(read_folder(DEMO).root.glob("images/*.jpg"))[::6][:11]
    pixels = torch.stack([prepare_image(Image.open(path), model.config.vision.image_size) for path in paths])
    texts = [model.text_segment(PROMPTS[index % len(PROMPTS)] * (1 + index % 3)) for index in range(len(paths))]
    with torch.inference_mode():
        free = [alone(model, pixels, texts, index, end=-1) for index in range(len(paths))]
        ends = {token for answer in free for token in answer}
        lengths = {end: [(one.index(end) if end in one else LONGEST) for one in free] for end in ends}
        end = max(lengths, key=lambda token: (len(set(lengths[token])), token))
        answers = [one[:length] for one, length in zip(free, lengths[end], strict=True)]
    assert len(set(map(len, answers))) >= 4, "the test is about answers that end one after the other"
    return pixels, texts, answers, end


def answers_of(model: UniX, pixels: Any, texts: list[list[int]], end: int, seats: int = 99) -> list[list[int]]:
    desk = Desk(model, min(seats, len(texts)), max(map(len, texts)), LONGEST, end)
    return write_answers(desk, pixels, texts)


def alone(model: UniX, pixels: torch.Tensor, texts: list[list[int]], index: int, end: int) -> list[int]:
    return answers_of(model, lambda part: pixels[index : index + 1], [texts[index]], end)[0]


@pytest.mark.parametrize("seats", [1, 2, 3, 5, 8, 11, 40])
@pytest.mark.parametrize("changes", [{}, {"retire": False}, {"look_every": 5}])
def test_answers_do_not_depend_on_seats(model: UniX, questions: Any, seats: int, changes: dict[str, Any]) -> None:
    pixels, texts, answers, end = questions
    model.be_fast(replace(model.speed, **changes))
    asked: list[slice] = []

    def of(part: slice) -> torch.Tensor:
        asked.append(part)
        return pixels[part]

    with torch.inference_mode():
        assert answers_of(model, of, texts, end, seats) == answers
    assert [index for part in asked for index in range(*part.indices(len(texts)))] == list(range(len(texts)))
    if seats == 5 and not changes:
        assert len(asked) > 3, "others were seated before all were finished"


def test_the_last_answers_do_not_wait_for_rows_that_are_finished(
    model: UniX, questions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, texts, answers, end = questions
    rows: list[int] = []
    step = answering.Desk._advance

    def counted(desk: answering.Desk, seats: int, reach: int) -> None:
        rows.append(seats)
        step(desk, seats, reach)

    monkeypatch.setattr(answering.Desk, "_advance", counted)
    for retire in (True, False):
        rows.clear()
        model.be_fast(replace(model.speed, retire=retire))
        with torch.inference_mode():
            answers_of(model, lambda part: pixels[part], texts, end)
        assert len(rows) == min(LONGEST, max(map(len, answers)) + 1)
        assert (sum(rows) < 11 * len(rows)) == retire


@pytest.mark.parametrize("seats", [3, 11])
def test_recorded_steps_write_the_same_answers(
    model: UniX, questions: Any, recording: list[Recorded], seats: int
) -> None:
    pixels, texts, answers, end = questions
    model.be_fast(replace(model.speed, graphs=True, look_every=4))
    with torch.inference_mode():
        assert answers_of(model, lambda part: pixels[part], texts, end, seats) == answers
    assert 0 < len(recording) < 6


def test_what_was_recorded_for_one_batch_serves_the_next(
    model: UniX, questions: Any, recording: list[Recorded]
) -> None:
    pixels, texts, answers, end = questions
    model.be_fast(replace(model.speed, graphs=True, look_every=4))
    asked = {"max_new_tokens": LONGEST, "eos_token_id": end}
    first = model.generate_ids(pixels, texts, **asked)
    count = len(recording)
    assert [one[1:] for one in first] == answers
    assert model.generate_ids(pixels, texts, **asked) == first
    assert [one[1:] for one in model.generate_ids(pixels[:4], texts[:4], **asked)] == answers[:4]
    assert len(recording) == count


def drawn(model: UniX, prompts: list[str], **settings: Any) -> np.ndarray[Any, Any]:
    seeds = [len(prompt) for prompt in prompts]
    images = model.draw(prompts=prompts, seeds=seeds, size=(64, 96), num_timesteps=6, **settings)
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_recorded_passes_draw_the_same_images(model: UniX, recording: list[Recorded]) -> None:
    expected = drawn(model, PROMPTS)
    longer = [prompt + " There is no pneumothorax." for prompt in PROMPTS]
    expected_longer = drawn(model, longer)
    model.be_fast(replace(model.speed, graphs=True))
    for prompts, images in ((PROMPTS, expected), (PROMPTS[::-1], expected[::-1]), (longer, expected_longer)):
        assert np.abs(drawn(model, prompts) - images).max() <= 1
    assert len(recording) <= 4, "the second batch has the shapes of the first"


@pytest.mark.parametrize("changes", [{"together": False}, {"decoded_at_once": 3}])
def test_switches_change_nothing(model: UniX, changes: dict[str, Any]) -> None:
    expected = drawn(model, PROMPTS)
    model.be_fast(replace(model.speed, **changes))
    assert np.abs(drawn(model, PROMPTS) - expected).max() <= 1


def test_few_images_at_once_are_the_same(model: UniX, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = drawn(model, PROMPTS)
    monkeypatch.setattr("unix_bench.models.unix.model.images_at_once", lambda *sizes: 3)
    assert np.abs(drawn(model, PROMPTS) - expected).max() <= 1
    cpu = torch.device("cpu")
    assert images_at_once(model.config, 10**9, 5, torch.float32, cpu) == 1
    assert images_at_once(model.config, 24, 5, torch.float32, cpu) > 8
    assert even_parts(8, 3) == [slice(0, 2), slice(2, 5), slice(5, 8)]
    assert even_parts(0, 3) == []


def counting() -> FlopCounterMode:
    """Counts attention on the CPU too, which torch leaves out."""

    def attention(q: Any, k: Any, v: Any, *others: Any, out_shape: Any = None, **more: Any) -> int:
        return int(sdpa_flop_count(q, k, v))

    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={on_cpu: attention})


def test_images_cost_what_they_must(model: UniX) -> None:
    """Counted by torch as they are drawn: not one operation more than the formula's."""
    prompts, tokens = [[290, 5, 6, 291], [290, 7, 8, 291], [290, 9, 8, 291]], 24
    settings = {
        "prompt_ids": prompts,
        "seeds": [1, 2, 3],
        "size": (64, 96),
        "num_timesteps": 6,
        "timestep_shift": 1.0,
        "output": "latent",
    }
    with counting() as counter:
        model.draw(**settings)
    times = time_grid(6, 1.0)[0].tolist()
    guided = sum(map(SamplerSettings().guided, times))
    width = model.config.language.hidden_size
    embedded_times = 2 * len(times) * (256 + width) * width
    assert 0 < guided < len(times)
    expected = 3 * image_flops(model.config, tokens, 4, len(times), guided) + embedded_times
    assert counter.get_total_flops() == expected


def test_reports_cost_what_they_must(model: UniX) -> None:
    pixels = torch.randn(2, 3, 384, 384, generator=torch.Generator().manual_seed(0))
    with counting() as seeing, torch.inference_mode():
        model.see(pixels)
    with counting() as counter:
        answers = model.generate_ids(pixels, [[290, 5, 6, 291]] * 2, 7, eos_token_id=-1)
    assert [len(answer) for answer in answers] == [8, 8]
    read_and_written = counter.get_total_flops() - seeing.get_total_flops()
    assert read_and_written == 2 * report_flops(model.config, 4, 7)


def test_nothing_recorded_outlives_a_change_of_the_model(model: UniX, recording: list[Recorded]) -> None:
    model.be_fast(replace(model.speed, graphs=True))
    drawn(model, PROMPTS)
    count = len(recording)
    model.be_fast(replace(model.speed, together=False))
    drawn(model, PROMPTS)
    assert len(recording) == 2 * count
    with torch.no_grad():
        model.latent_positions.mul_(1.5)
    changed = drawn(model, PROMPTS)
    model.be_fast(Speed())
    assert np.abs(changed - drawn(model, PROMPTS)).max() <= 1
    model.be_fast(replace(model.speed, graphs=True))
    drawn(model, PROMPTS)
    assert model.to(torch.bfloat16)._canvas is None
    assert len(model.draw(prompts=PROMPTS, seeds=[1, 2, 3, 4], size=(64, 64), num_timesteps=3)) == 4


def test_an_error_leaves_no_memory_taken(model: UniX, recording: list[Recorded]) -> None:
    model.be_fast(replace(model.speed, graphs=True))
    drawn(model, PROMPTS)
    with pytest.raises(ValueError, match="at least one token"):
        model.draw(prompt_ids=[[], [1]], seeds=[1, 2], size=(64, 64))
    assert model._canvas is None


def test_equal_prompts_are_recorded_once(model: UniX, recording: list[Recorded]) -> None:
    model.be_fast(replace(model.speed, graphs=True))
    full = [[5] * model._room([[5]], (4, 6))] * 2
    for _ in range(3):
        model.draw(prompt_ids=full, seeds=[1, 2], size=(64, 96), num_timesteps=3)
    assert len(recording) == 1


def test_nothing_is_drawn_and_written_for_nobody(model: UniX) -> None:
    assert model.draw(prompts=[], seeds=[], size=(64, 64)) == []
    assert model.write_reports([], []) == []
    with pytest.raises(ValueError, match="1 images but 2 instructions"):
        model.write_reports([Image.new("L", (8, 8))], ["a", "b"])
