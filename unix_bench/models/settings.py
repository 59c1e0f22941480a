"""Settings of a card, checked where a user's words come in: each family has a strict model of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from unix_bench.errors import UserError

Settings = TypeVar("Settings", bound=BaseModel)


def checked_settings(kind: type[Settings], stated: Mapping[str, Any], all_of: str, one_of: str) -> Settings:
    """The settings as stated, if they are just these and each is possible.

    Args:
        kind: Strict and frozen; the description of a field says what its value must be.
        stated: Name -> value.
        all_of: What the list of names belongs to, such as "a UniX card's settings for report".
        one_of: What goes before the name of one, such as "UniX's report setting".

    Raises:
        UserError: A setting is missing, unknown, of another type, out of bounds, or does not go with another.
    """
    fields = kind.model_fields
    wrong = sorted(stated.keys() ^ fields.keys())
    if wrong:
        raise UserError(f"{all_of} are {', '.join(fields) or 'none'}: see to {', '.join(wrong)}")
    try:
        return kind.model_validate(dict(stated))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a model's own word on settings that do not go together
            raise UserError(f"{one_of} {first['ctx']['error']}") from error
        name = str(first["loc"][0])
        raise UserError(f"{one_of} {name} must be {fields[name].description}, not {stated[name]!r}") from error
