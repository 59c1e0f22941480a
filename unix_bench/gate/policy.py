"""What a candidate must not lose, as data: a bundled policy a task, or the user's own TOML."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unix_bench.errors import UserError
from unix_bench.scoring.metrics import metric_cards
from unix_bench.scoring.statistics import Margin


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Primary(_Part):
    """A metric that decides.

    Attributes:
        otherwise: Metrics to take in its place, in this order, where the baseline has no value of it.
        absolute: What may be lost, in the metric's unit; or
        relative: as a share of the baseline's value.
    """

    metric: str
    otherwise: list[str] = []
    absolute: float | None = Field(default=None, ge=0.0)
    relative: float | None = Field(default=None, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _one_margin(self) -> Primary:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("give either absolute or relative")
        return self

    @property
    def margin(self) -> Margin:
        if self.relative is not None:
            return Margin(self.relative, relative=True)
        return Margin(self.absolute or 0.0)


class Policy(_Part):
    """When a candidate passes.

    Attributes:
        alpha: Level of every one-sided test.
        minimum_n: Studies below which nothing is decided.
        max_failed: Largest share of the candidate's predictions that may fail.
    """

    task: str
    alpha: float = Field(default=0.05, gt=0.0, lt=0.5)
    minimum_n: int = Field(default=50, ge=1)
    max_failed: float = Field(default=0.01, ge=0.0, le=1.0)
    primary: list[Primary] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Policy:
        names = [primary.metric for primary in self.primary]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} stands there twice")
        return self


def check_names(policy: Policy, measured: Collection[str]) -> None:
    """Refuse what no run of the task can have.

    Args:
        policy: The user's.
        measured: Metrics that the runs have, those of plug-ins among them.

    Raises:
        UserError: A metric is of another task, or there is none of that name; names the nearest.
    """
    cards = metric_cards()
    for name in (name for primary in policy.primary for name in (primary.metric, *primary.otherwise)):
        if name in measured:
            continue
        if name not in cards:
            known = {*measured, *(card.name for card in cards.values() if card.task == policy.task)}
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
            raise UserError(f"policy: unknown metric '{name}': {hint}(`unix-bench list metrics` shows all)")
        if cards[name].task != policy.task:
            raise UserError(f"policy: {name} is a metric of the task {cards[name].task}, and the runs do {policy.task}")


def load_policy(path: Path | None, task: str) -> Policy:
    """The user's policy, or the bundled one of the task.

    Raises:
        UserError: The file is no policy, has an unknown key, or is one of another task; says where.
    """
    try:
        if path is None:
            bundled = files("unix_bench.gate").joinpath("policies", f"{task}.toml")
            text = bundled.read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        stated: dict[str, Any] = tomllib.loads(text)
        policy = Policy.model_validate(stated)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the policy"
        raise UserError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"policy {path or f'for {task}'} cannot be read: {what}") from error
    if policy.task != task:
        raise UserError(f"{path} is a policy of the task {policy.task}, and the runs do {task}")
    return policy
