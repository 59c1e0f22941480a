"""Does a model's server keep to the protocol? It is asked as a run would ask it, and a little harder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unix_bench import registry
from unix_bench.cards import ModelCard, TaskCard
from unix_bench.errors import UserError
from unix_bench.execution import choose_device, choose_dtype
from unix_bench.known_answers.answer import Answer
from unix_bench.known_answers.phantom import draw
from unix_bench.models import ReportRequest, model_family
from unix_bench.models.external import (
    Refused,
    Server,
    ServerError,
    expand,
    introduce,
    picture,
    report_items,
    sent_image,
)
from unix_bench.settings import Settings
from unix_bench.sources import find_command, find_weights

Output = str | Image.Image
Ask = Callable[[Sequence[Mapping[str, Any]]], list[Output | None]]
WELL = "done"
LEVELS = 1  # grey levels that an image may differ by where only the batch does
PROMPTS = ("No acute cardiopulmonary process.", "Small left pleural effusion; the heart is enlarged.")


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
    family = model_family(card.family)
    if not card.command:
        if stated is None and settings.weights is None:
            raise UserError(f"no weights of {card.title} are configured: say --weights, or set UNIX_BENCH_WEIGHTS")
        family.check_weights(find_weights(card, family, stated, settings), card)
        return [Answer.same("its files would load", "yes", "yes")]
    if not allow_external:
        raise UserError(
            f"model '{card.name}' is run by a command that its card names: say --allow-external to allow that"
        )
    folder = find_command(card, family, stated, settings)
    device = choose_device(device)
    dtype = choose_dtype(dtype, device, deterministic=False, on_gpu=card.dtype)
    return [answer for name in card.tasks for answer in _ask_server(card, folder, registry.task(name), dtype, device)]


def _ask_server(card: ModelCard, folder: Path, task: TaskCard, dtype: str, device: str) -> Iterator[Answer]:
    """What came of each step with one task; the first that a server does not survive is the last."""
    text = f"{task.name}: it says who it is, and takes the card's settings"
    try:
        wanted = card.settings.get(task.name, {})
        introduce(card, folder, task.kind, wanted)
        with Server(card.title, expand(card, folder), folder, pass_on=True) as server:
            yield Answer.same(text, WELL, WELL)
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
    make = _report_samples if task.kind == "report" else _prompts
    first, second, bad = make(server, task.instruction or "")

    def ask(*items: Mapping[str, Any]) -> list[Output | None]:
        found = server.ask(task.kind, items)
        read: Callable[[Any], Output] = (lambda item: item.text) if task.kind == "report" else _drawn(server)
        return [None if item.error is not None else read(item) for item in found]

    (alone,) = ask(first)
    yield Answer(f"{task.name}: it answers", "an output", _shown(alone), right=bool(alone) and not _is_flat(alone))
    (again,) = ask(first)
    yield _equal(f"{task.name}: the same twice", alone, again, 0)
    together, other = ask(first, second)
    yield _equal(f"{task.name}: in a batch of two as alone", alone, together, LEVELS)
    yield Answer(f"{task.name}: the other one of the batch", "an output", _shown(other), right=bool(other))
    if task.kind == "generation":
        (reseeded,) = ask({**first, "seed": first["seed"] + 1})
        yield Answer(
            f"{task.name}: another seed draws another image",
            "another image",
            "the same" if _distance(alone, reseeded) == 0 else "another image",
            right=_distance(alone, reseeded) != 0,
        )
    outputs = ask(first, bad, second)
    given = ", ".join("error" if output is None else "output" for output in outputs)
    yield Answer.same(f"{task.name}: a sample that cannot be done fails alone", "output, error, output", given)


def _report_samples(server: Server, instruction: str) -> tuple[dict[str, Any], ...]:
    """Two phantoms, and a file that is no image."""
    requests = [
        ReportRequest("phantom clear", draw("clear"), instruction, None),
        ReportRequest(
            "phantom \u2013 heart", draw("large heart"), instruction, "Dyspnoea;\n\u201cheart failure\u201d?"
        ),
    ]
    first, second = report_items(server, requests)
    bad = {**first, "id": "no image", **sent_image(server, b"no image", 2)}
    return first, second, bad


def _prompts(server: Server, instruction: str) -> tuple[dict[str, Any], ...]:
    """Two prompts with seeds as large as a run's, and one that is none."""
    first, second = ({"id": text, "prompt": text, "seed": (1 << 62) + 5} for text in PROMPTS)
    return first, second, {"id": "no prompt", "prompt": None, "seed": 0}


def _drawn(server: Server) -> Callable[[Any], Output]:
    return lambda item: picture(server, item)


def _equal(text: str, one: Output | None, other: Output | None, levels: int) -> Answer:
    far = _distance(one, other)
    return Answer(text, "equal", "equal" if far <= levels else f"not equal: {_shown(other)}", right=far <= levels)


def _distance(one: Output | None, other: Output | None) -> float:
    """Grey levels between images; of texts, or of what is no image, 0 or infinitely many."""
    if (
        isinstance(one, Image.Image)
        and isinstance(other, Image.Image)
        and (one.size, one.mode) == (other.size, other.mode)
    ):
        return float(np.abs(np.asarray(one, dtype=np.int64) - np.asarray(other, dtype=np.int64)).max())
    return 0.0 if one == other else float("inf")


def _is_flat(output: Output | None) -> bool:
    """Is it an image of one grey value?"""
    return isinstance(output, Image.Image) and np.ptp(np.asarray(output)) == 0


def _shown(output: Output | None) -> str:
    if isinstance(output, Image.Image):
        return f"{output.width} x {output.height}, {output.mode}"
    return "an error" if output is None else repr(output[:60])
