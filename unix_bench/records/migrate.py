"""Records of earlier versions, made into records of this one: a chain of small steps, each one version on.

Version 2: `sd` of a metric; `absent`, `training` and `uncertain` of a scoring; `weights_path` and `code` of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from unix_bench.errors import UserError
from unix_bench.records.schema import SCHEMA_VERSION, Results, RunRecord

Document = dict[str, Any]


class NewerRecord(UserError):
    """A record that a later unix-bench wrote."""


def _run_from_1(record: Document) -> Document:
    return {"weights_path": None, "code": None, **record}


def _results_from_1(record: Document) -> Document:
    spec = {"absent": {}, "training": None, "uncertain": "negative", **record["score_spec"]}
    return {**record, "score_spec": spec, "metrics": [{"sd": None, **metric} for metric in record["metrics"]]}


STEPS: Mapping[type[BaseModel], Mapping[int, Callable[[Document], Document]]] = {
    RunRecord: {1: _run_from_1},
    Results: {1: _results_from_1},
}


def migrated(document: Any, kind: type[BaseModel]) -> Any:
    """A record as the version of this code has it; what is no record stays as it is.

    Args:
        document: As JSON gives it.
        kind: Which record it should be.

    Raises:
        NewerRecord: A later unix-bench wrote it.
        ValueError: It states no version, or is not what that version was.
    """
    steps = STEPS.get(kind)
    if steps is None or not isinstance(document, dict):
        return document
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("schema_version: it states none, or none that ever was")
    if version > SCHEMA_VERSION:
        raise NewerRecord(
            f"it is of schema version {version}, and this unix-bench reads up to {SCHEMA_VERSION}: upgrade unix-bench"
        )
    try:
        for step in range(version, SCHEMA_VERSION):
            document = {**steps[step](document), "schema_version": step + 1}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no record of schema version {version}") from error
    return document
