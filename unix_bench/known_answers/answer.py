"""What was asked of weights, what had to be answered, and what was."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

SHOWN = 12  # digits of a digest that a table has room for


@dataclass(frozen=True)
class Answer:
    """One question, what had to be answered, what was, and whether that is right."""

    text: str
    expected: str
    given: str
    right: bool

    @classmethod
    def same(cls, text: str, expected: str, given: str) -> Answer:
        """An answer that is right where it is the expected one to the letter."""
        return cls(text, expected, given, right=expected == given)


def known() -> dict[str, Any]:
    """The questions of every model."""
    return tomllib.loads(files("unix_bench").joinpath("known_answers.toml").read_text(encoding="utf-8"))


def ask_digest(path: Path, published: Mapping[str, str]) -> Answer:
    """Whether a file is the published one.

    Args:
        path: The file.
        published: File name -> "algorithm:digest".
    """
    algorithm, _, expected = published[path.name].partition(":")
    with path.open("rb") as stream:
        given = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return Answer(
        f"{path.name} is the published file",
        f"{algorithm} {expected[:SHOWN]}...",
        f"{algorithm} {given[:SHOWN]}...",
        right=given == expected,
    )


def ask_order(text: str, near: Mapping[str, float], far: Mapping[str, float]) -> Answer:
    """Whether every cosine of `near` is above every one of `far`, both by what was compared."""
    expected = f"{_names(near)} above {_names(far)}"
    return Answer(text, expected, figures({**near, **far}), right=min(near.values()) > max(far.values()))


def figures(values: Mapping[str, float], places: int = 2) -> str:
    """Rounded, in the order given.

    >>> figures({"noise": 0.123, "texture": -1})
    'noise 0.12, texture -1.00'
    """
    return ", ".join(f"{name} {value:.{places}f}" for name, value in values.items())


def _names(values: Mapping[str, float]) -> str:
    names: Sequence[str] = list(values)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
