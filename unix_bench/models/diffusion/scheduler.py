"""Configurations of schedulers, which the library completes with defaults and reads no matter what stands in them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import diffusers
from packaging.version import InvalidVersion, Version

from unix_bench.errors import UserError
from unix_bench.released import read_json

SCHEDULER = "scheduler_config.json"
BETAS = ("beta_start", "beta_end", "beta_schedule")
DECIDE = (*BETAS, "prediction_type", "shift")  # the walk; a class takes some of them
PREDICTION_TYPE_SINCE = "0.9"  # of diffusers; before, all networks predicted the noise


def check_scheduler(folder: Path, kind: Any, release: str) -> None:
    """See that a scheduler's file is one of its class, and says itself what decides the walk.

    Args:
        folder: Where it lies.
        kind: Class that the pipeline's index names.
        release: Where it comes from, for messages.

    Raises:
        UserError: It is missing, damaged, of another class, says too little or what its class does not know.
    """
    path = folder / SCHEDULER
    stated = read_json(path, release)
    if (named := stated.get("_class_name")) != kind.__name__:
        raise UserError(f"{path} describes {named}, not {kind.__name__}: copy {release} there again")
    taken = inspect.signature(kind.__init__).parameters
    unknown = sorted(key for key in stated if not key.startswith("_") and key not in taken.keys() | _of_others(kind))
    if unknown:
        raise UserError(f"{path} says {', '.join(unknown)}, which {kind.__name__} does not know: copy {release} again")
    if lost := [key for key in _needed(stated) if key in taken and key not in stated]:
        raise UserError(
            f"{path} lacks {', '.join(lost)}, which would be the library's own: copy {release} again, or state it there"
        )
    for key, value in stated.items():
        if key in taken and (choices := [*_choices(taken[key].annotation)]) and value not in choices:
            known = ", ".join(map(str, choices))
            raise UserError(f"{path}: {key} must be one of {known}, not {value!r}: copy {release} again")


def written_before(stated: Mapping[str, Any], version: str) -> bool:
    """Was a configuration written by a diffusers older than this one? False where it does not say."""
    try:
        return Version(str(stated.get("_diffusers_version"))) < Version(version)
    except InvalidVersion:
        return False


def _needed(stated: Mapping[str, Any]) -> list[str]:
    needless = {*BETAS} if stated.get("trained_betas") is not None else set()
    if written_before(stated, PREDICTION_TYPE_SINCE):
        needless.add("prediction_type")
    flow = ["flow_shift"] if stated.get("use_flow_sigmas") else []
    return [key for key in (*DECIDE, *flow) if key not in needless]


def _of_others(kind: Any) -> set[str]:
    """What classes take that read the same file: releases keep such keys when they go from one to another."""
    others = [getattr(diffusers, name, None) for name in kind._compatibles]
    return {key for other in others if other for key in inspect.signature(other.__init__).parameters}


def _choices(annotation: Any) -> Iterator[object]:
    """The values of a `Literal`, alone or beside None."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif any(get_origin(one) is Literal for one in get_args(annotation)):
        for one in get_args(annotation):
            yield from get_args(one) if get_origin(one) is Literal else [None]
