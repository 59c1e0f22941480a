"""Scoring protocols: exact ways of turning predictions into numbers, by the name that task cards give them."""

from collections.abc import Callable
from dataclasses import dataclass

from unix_bench.cards import TaskCard
from unix_bench.data import open_data
from unix_bench.errors import UserError, unknown_name
from unix_bench.protocols.base import Pair, Ranking, Row, Scored, Scoring, Value, covers
from unix_bench.protocols.generation import PublishedGeneration, SoundGeneration, Training
from unix_bench.protocols.probe import SoundProbe
from unix_bench.protocols.report import PublishedReport, SoundReport
from unix_bench.settings import Settings
from unix_bench.spec import OnError

__all__ = ["Pair", "Ranking", "Row", "Scored", "Scoring", "Value", "choose_protocol", "covers", "scoring_for"]


@dataclass(frozen=True)
class _Asked:
    """What a scoring is made from."""

    task: TaskCard
    on_error: OnError | None
    allow_external: bool
    settings: Settings


def _sound_generation(asked: _Asked) -> SoundGeneration:
    settings, named = asked.settings, asked.settings.training_data
    training = Training.of(open_data(named, asked.task.sets, settings), settings) if named else None
    return SoundGeneration(settings, asked.on_error, training)


# (kind, protocol) of a task card -> what makes the scoring.
SCORINGS: dict[tuple[str, str], Callable[[_Asked], Scoring]] = {
    ("report", "sound"): lambda asked: SoundReport(asked.settings, asked.on_error, asked.allow_external),
    ("report", "unix"): lambda asked: PublishedReport(asked.settings, asked.on_error),
    ("generation", "sound"): _sound_generation,
    ("generation", "chexgenbench"): lambda asked: PublishedGeneration(asked.settings, asked.on_error),
    ("probe", "sound"): lambda asked: SoundProbe(asked.on_error),
}


def choose_protocol(task: TaskCard, stated: str | None) -> str:
    """The stated protocol, or the task's default.

    Raises:
        UserError: The task has no such protocol, or its card names one that nothing scores.
    """
    known = [protocol for kind, protocol in SCORINGS if kind == task.kind]
    for named in task.protocols:
        if named not in known:
            raise UserError(f"task card '{task.name}': {unknown_name(f'{task.kind} protocol', named, known)}")
    if stated is not None and stated not in task.protocols:
        raise unknown_name(f"protocol of {task.name}", stated, task.protocols)
    return stated or next(iter(task.protocols))


def scoring_for(
    task: TaskCard,
    protocol: str,
    on_error: OnError | None,
    allow_external: bool,
    settings: Settings,
) -> Scoring:
    """The protocol of a task, ready to score.

    Args:
        task: Whose protocol.
        protocol: As `choose_protocol` gives it.
        on_error: What a failed prediction is to count as; None: as the protocol has it.
        allow_external: May commands be run that metric cards name?
        settings: Where weights are.

    Raises:
        UserError: The policy for failed predictions has no meaning under the protocol, or the training set or an
            encoder that settings name is not there.
    """
    return SCORINGS[task.kind, protocol](_Asked(task, on_error, allow_external, settings))
