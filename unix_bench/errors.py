"""What a user is told when something of theirs is wrong: one sentence, never a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend; the command line prints the message and exits with `exit_code`."""

    exit_code = 2


class AnswerIsNo(UserError):
    """All was done that was asked for, and the answer is "no"."""

    exit_code = 1


class TooManyFailures(AnswerIsNo):
    """The run is over and its results are written, but more samples failed than `--max-failed` allows."""


class Interrupted(KeyboardInterrupt):
    """Somebody asked to stop, and what was at work is done and recorded."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not there, with the nearest one that is.

    >>> print(unknown_name("model", "unx", ["unix", "sana"]))
    unknown model 'unx': did you mean 'unix'? (known: sana, unix)
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown {kind} '{name}': {hint}(known: {', '.join(names)})")
