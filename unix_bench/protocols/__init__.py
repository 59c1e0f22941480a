"""Scoring protocols: exact ways of turning predictions into numbers, by the name that task cards give them."""

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


def choose_protocol(task: TaskCard, stated: str | None) -> str:
    """The stated protocol, or the task's default.

    Raises:
        UserError: The task has no such protocol.
    """
    if stated is not None and stated not in task.protocols:
        raise unknown_name(f"protocol of {task.name}", stated, task.protocols)
    return stated or next(iter(task.protocols))


def scoring_for(
    task: TaskCard,
    protocol: str,
    on_error: OnError | None,
    allow_external: bool,
    settings: Settings,
    quiet: bool = False,
) -> Scoring:
    """The protocol of a task, ready to score.

    Args:
        task: Whose protocol.
        protocol: One of the card's.
        on_error: What a failed prediction is to count as; None: as the protocol has it.
        allow_external: May commands be run that metric cards name?
        settings: Where weights are.
        quiet: No progress.

    Raises:
        UserError: The policy for failed predictions has no meaning under the protocol, or the training set or an
            encoder that settings name is not there.
    """
    named = settings.training_data
    if (task.kind, protocol) == ("generation", "sound"):
        training = Training.of(open_data(named, task.sets, settings), settings, quiet) if named else None
        return SoundGeneration(settings, on_error, training)
    if named and settings.origin.get("training_data") == "command line":
        raise UserError(f"--training-data has no meaning for {task.name} under {protocol}: leave it out")
    if task.kind == "generation":
        return PublishedGeneration(settings, on_error)
    if task.kind == "probe":
        return SoundProbe(on_error)
    if protocol == "unix":
        return PublishedReport(settings, on_error)
    return SoundReport(settings, on_error, allow_external)
