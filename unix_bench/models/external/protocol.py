"""What a server may say, line by line: JSON of protocol 1, as docs/external.md has it. Nothing else is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PROTOCOL = 1
Seconds = Annotated[float, Field(gt=0.0, le=86_400.0)]
Kind = Literal["report", "generation"]


class BadAnswer(ValueError):
    """A line is not what the protocol has; the message is the end of a sentence that begins with its author."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Hello(_Message):
    """Who a server is, said before it loads anything.

    Attributes:
        name: The card's name.
        version: Of the server's code; changes whenever its answers would.
        weights: Digest of its weights, or the commit they are of.
        tasks: Kind of task -> names of the settings that it takes for it, all of them.
        images: How it wants images: "inline" as base64, or the "path" of a file.
        load_seconds: How long loading may take.
        item_seconds: How long a sample may take; a batch has as much for each.
    """

    protocol: int
    name: str = Field(min_length=1, max_length=200)
    version: str = Field(min_length=1, max_length=200)
    weights: str = Field(min_length=1, max_length=200)
    tasks: dict[Kind, list[str]] = Field(min_length=1)
    images: Literal["inline", "path"] = "inline"
    load_seconds: Seconds = 1800.0
    item_seconds: Seconds = 300.0


class Item(_Message):
    """What became of one sample; exactly one of the four is stated beside the id."""

    id: str
    text: str | None = None
    image: str | None = None
    path: str | None = None
    error: str | None = None


class Refusal(_Message):
    """That a question as a whole is not answered, and why; `memory`: there was too little."""

    error: str
    memory: bool = False


class _Items(_Message):
    items: list[Item]


class _Nothing(_Message):
    """That it is done."""


Answer = TypeVar("Answer", bound=_Message)


def encode(message: str, number: int, content: Mapping[str, Any]) -> bytes:
    """A question as a line."""
    return json.dumps({"message": message, "number": number, **content}).encode() + b"\n"


def decode(line: bytes, number: int, kind: type[Answer]) -> Answer | Refusal:
    """The answer to the question of that number.

    Raises:
        BadAnswer: The line is something else.

    >>> decode(b'{"number": 3, "error": "no GPU"}', 3, Hello)
    Refusal(error='no GPU', memory=False)
    >>> decode(b"Loading checkpoint", 1, Hello)
    Traceback (most recent call last):
        ...
    unix_bench.models.external.protocol.BadAnswer: printed 'Loading checkpoint' where JSON was due: print to stderr
    """
    try:
        said = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise BadAnswer(f"answered with bytes that are not UTF-8: {line[:60]!r}") from error
    except (ValueError, RecursionError) as error:
        raise BadAnswer(
            f"printed {line[:60].decode(errors='replace')!r} where JSON was due: print to stderr"
        ) from error
    if not isinstance(said, dict) or said.pop("number", None) != number:
        raise BadAnswer(f"did not answer question {number}: {line[:60].decode(errors='replace')}")
    try:
        return Refusal.model_validate(said) if "error" in said else kind.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise BadAnswer(f"answered what protocol {PROTOCOL} does not have: {where}: {first['msg']}") from error


def decode_done(line: bytes, number: int) -> Refusal | None:
    """See whether a question that has no answer but "done" was answered so.

    Raises:
        BadAnswer: The line is something else.
    """
    said = decode(line, number, _Nothing)
    return said if isinstance(said, Refusal) else None


def decode_items(line: bytes, number: int, ids: Sequence[str], given: set[str]) -> list[Item] | Refusal:
    """One item a sample, in the order of `ids`.

    Args:
        line: The answer.
        number: Of the question.
        ids: Of the samples that were sent.
        given: Fields that may hold the output.

    Raises:
        BadAnswer: Samples are missing, others are there, or one is not what its task has.
    """
    said = decode(line, number, _Items)
    if isinstance(said, Refusal):
        return said
    found = [item.id for item in said.items]
    if sorted(found) != sorted(ids):
        missing, other = sorted(set(ids) - set(found)), sorted(set(found) - set(ids))
        wrong = [f"{what} {names[0]!r}" for what, names in (("without", missing), ("with", other)) if names]
        raise BadAnswer(
            f"gave {len(found)} answers to {len(ids)} samples, {' and '.join(wrong) or 'one of them twice'}"
        )
    by_id = {item.id: _checked(item, given) for item in said.items}
    return [by_id[identity] for identity in ids]


def _checked(item: Item, given: set[str]) -> Item:
    stated = item.model_fields_set - {"id"}
    if len(stated) != 1 or not stated <= {*given, "error"} or getattr(item, next(iter(stated))) is None:
        wanted = ", ".join([*sorted(given), "error"])
        raise BadAnswer(
            f"answered sample {item.id!r} with {', '.join(sorted(stated)) or 'nothing'}: one of {wanted} is due"
        )
    try:
        str(getattr(item, next(iter(stated)))).encode()
    except UnicodeEncodeError as error:
        raise BadAnswer(f"answered sample {item.id!r} with half a character (a lone surrogate)") from error
    return item
