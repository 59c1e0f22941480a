"""A card's command, with its placeholders filled in."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError

WEIGHTS, PYTHON = "{weights}", "{python}"
OWN_ENVIRONMENT, PROGRAM = ".venv", Path("bin/python")
# The layout that a stand-in has, and the bundled cards.
TEMPLATE_COMMAND = [PYTHON, f"{WEIGHTS}/server.py"]


def needs_folder(card: ModelCard) -> bool:
    """Does the command lie in, or speak of, the model's folder?"""
    return any(WEIGHTS in word for word in card.command)


def expand(card: ModelCard, folder: Path) -> list[str]:
    """The command as it is run, in `folder`.

    `{weights}` is the folder, `{python}` the interpreter of the environment `.venv` in it, else the one that runs us.

    Raises:
        UserError: The environment is there, and no interpreter in it.

    >>> card = ModelCard(name="a", title="A", family="external", tasks=["report"], command=["true", "{weights}/a"])
    >>> expand(card, Path("/models/a"))
    ['true', '/models/a/a']
    """
    folder = folder.absolute()  # it runs there
    python = _interpreter(folder) if any(PYTHON in word for word in card.command) else ""
    return [word.replace(WEIGHTS, str(folder)).replace(PYTHON, python) for word in card.command]


def _interpreter(folder: Path) -> str:
    environment = folder / OWN_ENVIRONMENT
    python = environment / PROGRAM
    if shutil.which(python) is not None:
        return str(python)
    if environment.exists() or environment.is_symlink():  # a link to nowhere too was meant to be used
        raise UserError(
            f"{python} is not there, or may not be run: lay the model's environment there or link it (docs/external.md)"
        )
    return sys.executable


def check_command(card: ModelCard, folder: Path) -> None:
    """See whether the command can be started, without starting it.

    Raises:
        UserError: Its program, or a file in the model's folder that it names, is not there.
    """
    if not card.command:
        raise UserError(f"card '{card.name}' has no command: say what starts its server (see docs/external.md)")
    words = expand(card, folder)
    for stated, word in zip(card.command, words, strict=True):
        if stated.startswith(WEIGHTS) and not Path(word).exists():
            raise UserError(f"{word} is missing: {_advice(card)}")
    if not _found(words, folder):
        raise UserError(f"card '{card.name}': the program {words[0]} of its command is not there, or may not be run")


def _found(words: Sequence[str], folder: Path) -> bool:
    path = words[0] if "/" not in words[0] else str(folder.absolute() / words[0])
    return shutil.which(path) is not None


def _advice(card: ModelCard) -> str:
    return (
        f"write the server of {card.title} from the template (`unix-bench external template --out server.py`, "
        "docs/external.md)"
    )
