"""A card's settings with what the user changes of them."""

from __future__ import annotations

from unix_bench.cards import ModelCard, Value
from unix_bench.errors import UserError, unknown_name


def overridden(card: ModelCard, task: str, changes: dict[str, str]) -> dict[str, Value]:
    """A card's settings for a task with the user's `--set key=value`.

    Raises:
        UserError: The card has none for it, not that one, or a value is of another type.
    """
    stated = card.settings.get(task, {})
    if changes and not stated:
        raise UserError(f"'{card.name}' has no settings for {task}: leave out --set {next(iter(changes))}")
    return override(stated, changes)


def override(stated: dict[str, Value], changes: dict[str, str]) -> dict[str, Value]:
    """A card's settings with the user's `--set key=value`, each read as the type the card has.

    Raises:
        UserError: A key the card does not have, or a value of another type.

    >>> override({"steps": 50, "interval": [0.4, 1.0]}, {"steps": "9", "interval": "0,1"})
    {'steps': 9, 'interval': [0.0, 1.0]}
    """
    settings = dict(stated)
    for key, text in changes.items():
        if key not in settings:
            raise unknown_name("setting", key, settings)
        settings[key] = _parse(key, text, settings[key])
    return settings


def _parse(key: str, text: str, example: Value) -> Value:
    try:
        if isinstance(example, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(example, list):
            return [float(part) for part in text.strip("[]").split(",")]
        return type(example)(text)
    except (ValueError, KeyError) as error:
        kinds = {bool: "true or false", int: "a whole number", float: "a number", list: "numbers with commas between"}
        raise UserError(f"--set {key}={text}: it must be {kinds[type(example)]}, such as {example}") from error
