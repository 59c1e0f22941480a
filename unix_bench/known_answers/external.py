"""Does a model's server keep to the protocol? It is asked as a run would ask it, and a little harder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unix_bench import registry
from unix_bench.cards import ModelCard, TaskCard
from unix_bench.errors import UserError
from unix_bench.execution import choose_device, choose_dtype
from unix_bench.known_answers.answer import Answer
from unix_bench.known_answers.phantom import SIDE, draw
from unix_bench.model_folders import find_command, find_weights, refuse_external
from unix_bench.models import ReportRequest, model_family
from unix_bench.models.external import (
    Refused,
    Server,
    ServerError,
    expand,
    introduce,
    needs_folder,
    picture,
    report_items,
    sent_image,
)
from unix_bench.reference_points import FAMILY as REFERENCE_POINT
from unix_bench.settings import Settings

Output = str | Image.Image
Sent = dict[str, Any]
WELL = "done"
LEVELS = 1  # grey levels that an image may differ by where only the batch does
PROMPTS = ("No acute cardiopulmonary process.", "Small left pleural effusion; the heart is enlarged.")
# A model may say of one drawn chest what it says of another, but hardly of all.
UNLIKE = ("large heart", "white left lung", "noise")
CROPPED = (0, 0, SIDE, SIDE - 32)  # images of a run are of many sizes
SEED = (1 << 62) + 5  # as large as a run's


def ask_model(
    card: ModelCard, stated: Path | None, device: str, dtype: str, allow_external: bool, settings: Settings
) -> list[Answer]:
    """Try a model's files, or the server that its command starts.

    Args:
        card: Which model.
        stated: Its folder; None: as configured.
        device: What it is to run on; "auto": as fits. So the next.
        dtype: In which precision.
        allow_external: May its command be run?
        settings: Where the weights are.

    Raises:
        UserError: They are not there, or the command may not be run.
    """
    if card.family == REFERENCE_POINT:
        raise UserError(f"'{card.name}' is a reference point and has no weights: there is nothing to check")
    family = model_family(card.family)
    if stated is None and settings.weights is None and (not card.command or needs_folder(card)):
        raise UserError(f"no weights of {card.title} are configured: say --weights, or set UNIX_BENCH_WEIGHTS")
    if not card.command:
        family.check_weights(find_weights(card, family, stated, settings), card)
        return [Answer.same("its files would load", "yes", "yes")]
    refuse_external(card, allow_external)
    folder = find_command(card, family, stated, settings)
    family.check_weights(folder, card)  # what is not there is no wrong answer
    device = choose_device(device)
    dtype = choose_dtype(dtype, device, deterministic=False, on_gpu=card.dtype)
    return [answer for name in card.tasks for answer in _ask_server(card, folder, registry.task(name), dtype, device)]


def _ask_server(card: ModelCard, folder: Path, task: TaskCard, dtype: str, device: str) -> Iterator[Answer]:
    """What came of each step with one task; the first that a server does not survive is the last."""
    text = f"{task.name}: it says who it is, and takes the card's settings"
    try:
        wanted = card.settings.get(task.name, {})
        introduce(card, folder, task.kind, wanted)
        command = expand(card, folder)
        with Server(card.title, command, folder, pass_on=True) as server:
            yield Answer(text, WELL, f"{WELL}, by {command[0]}", right=True)
            text = f"{task.name}: it loads, and answers a ping"
            server.load(task.kind, wanted, dtype, device)
            yield Answer.same(text, WELL, WELL)
            text = f"{task.name}: it answers"
            for answer in _ask_samples(server, task):
                text = f"after '{answer.text}'"
                yield answer
            text = f"{task.name}: it ends when it is told to"
            code = server.shutdown()
            yield Answer.same(text, "exit code 0", "still at work" if code is None else f"exit code {code}")
    except (ServerError, Refused, MemoryError, UserError) as error:
        yield Answer(text, WELL, str(error), right=False)


def _ask_samples(server: Server, task: TaskCard) -> Iterator[Answer]:
    """Is each sample answered for itself alone, whatever stands before and after it?"""
    name, reports = task.name, task.kind == "report"
    make = _report_samples if reports else _prompts
    first, second, unlike, bad = make(server, task.instruction or "")

    def ask(*items: Sent) -> list[Output | None]:
        found = server.ask(task.kind, items)
        return [None if item.error is not None else item.text if reports else picture(server, item) for item in found]

    (alone,) = ask(first)
    yield _is_output(f"{name}: it answers", alone)
    (again,) = ask(first)
    yield _as_alone(f"{name}: the same twice", [again], [alone], levels=0)
    (beside,) = ask(second)
    yield _is_output(f"{name}: it answers another one", beside)
    if not reports:
        yield _other(f"{name}: another prompt draws another image", alone, beside)
    for third in unlike:
        (apart,) = ask(third)
        if apart is not None and _distance(alone, apart) > LEVELS:
            break
    change = "image gets another report" if reports else "seed draws another image"
    yield _other(f"{name}: another {change}", alone, apart)
    yield from _in_batches(name, ask, [(first, alone), (second, beside), (third, apart)], bad)


def _in_batches(
    name: str, ask: Callable[..., list[Output | None]], samples: Sequence[tuple[Sent, Output | None]], bad: Sent
) -> Iterator[Answer]:
    """Hold what comes of samples in batches against what came of each alone."""
    first, second, third = samples
    for text, batch in (
        ("in a batch of two as alone", (first, second)),
        ("in the other order as alone", (second, first)),
        ("in a batch of three as alone", (third, first, second)),
    ):
        outputs = ask(*(item for item, _ in batch))
        yield _as_alone(f"{name}: {text}", outputs, [alone for _, alone in batch])
    outputs = ask(first[0], bad, third[0])
    given = ", ".join("error" if output is None else "output" for output in outputs)
    yield Answer.same(f"{name}: a sample that cannot be done fails alone", "output, error, output", given)
    yield _as_alone(f"{name}: beside it as alone", [outputs[0], outputs[2]], [first[1], third[1]])


def _report_samples(server: Server, instruction: str) -> tuple[Sent, Sent, list[Sent], Sent]:
    """Two phantoms, others with nothing else changed of the first but its image, and a file that is no image."""
    clear = ReportRequest("phantom clear", draw("clear"), instruction, None, SEED)
    told = "Dyspnoea;\n\u201cheart failure\u201d?"
    heart = ReportRequest("phantom \u2013 heart", draw("large heart"), instruction, told, SEED)
    others = [replace(clear, id=f"phantom {name}", image=draw(name).crop(CROPPED)) for name in UNLIKE]
    first, second, *unlike = report_items(server, [clear, heart, *others])
    return first, second, unlike, {**first, "id": "no image", **sent_image(server, b"no image", 2 + len(UNLIKE))}


def _prompts(server: Server, instruction: str) -> tuple[Sent, Sent, list[Sent], Sent]:
    """Two prompts, the first with another seed, and one that is none."""
    first, second = ({"id": text, "prompt": text, "seed": SEED} for text in PROMPTS)
    return first, second, [{**first, "id": "another seed", "seed": SEED + 1}], {**first, "id": "none", "prompt": None}


def _is_output(text: str, output: Output | None) -> Answer:
    """Is it a text that says something, or an image of more than one grey value?"""
    flat = isinstance(output, Image.Image) and np.ptp(np.asarray(output)) == 0
    return Answer(text, "an output", _shown(output), right=bool(output) and not flat)


def _other(text: str, one: Output | None, other: Output | None) -> Answer:
    if other is None:
        return Answer(text, "another", _shown(other), right=False)
    right = _distance(one, other) > LEVELS
    return Answer(text, "another", "another" if right else f"the same: {_shown(other)}", right=right)


def _as_alone(
    text: str, outputs: Sequence[Output | None], alone: Sequence[Output | None], levels: int = LEVELS
) -> Answer:
    """Are outputs those that came of the same samples before?"""
    wrong = [output for output, own in zip(outputs, alone, strict=True) if _distance(own, output) > levels]
    return Answer(text, "equal", f"not equal: {_shown(wrong[0])}" if wrong else "equal", right=not wrong)


def _distance(one: Output | None, other: Output | None) -> float:
    """Grey levels between images; of texts, or of what is no image, 0 or infinitely many."""
    if (
        isinstance(one, Image.Image)
        and isinstance(other, Image.Image)
        and (one.size, one.mode) == (other.size, other.mode)
    ):
        return float(np.abs(np.asarray(one, dtype=np.int64) - np.asarray(other, dtype=np.int64)).max())
    return 0.0 if one == other else float("inf")


def _shown(output: Output | None) -> str:
    if isinstance(output, Image.Image):
        return f"{output.width} x {output.height}, {output.mode}"
    return "an error" if output is None else repr(output[:60])
