"""JSON Schemas of the files of a run, made from the models that read and write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from unix_bench.records.atomic import write_atomic
from unix_bench.records.schema import Phase, Results, RunRecord, Sample, ShardRecord
from unix_bench.spec import PredictSpec, ScoreSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WHOLE: dict[str, type[BaseModel]] = {  # written with every field
    "run.json": RunRecord,
    "results.json": Results,
    "shard.json": ShardRecord,
}
LINES: dict[str, type[BaseModel]] = {"sample.json": Sample, "phase.json": Phase}  # without those that are None
SPECS: dict[str, Any] = {"predict_spec": PredictSpec, "score_spec": ScoreSpec}


def json_schemas() -> dict[str, bytes]:
    """The schemas by the name of their file in `docs/schema`; `sample.json` and `phase.json` are of a line each."""
    whole = {name: _with_specs(kind.model_json_schema(mode="serialization")) for name, kind in WHOLE.items()}
    lines = {name: kind.model_json_schema() for name, kind in LINES.items()}
    return {
        name: (json.dumps({"$schema": DIALECT, **schema}, indent=1, ensure_ascii=False) + "\n").encode()
        for name, schema in {**whole, **lines}.items()
    }


def write_json_schemas(folder: Path) -> None:
    """Write them, as `docs/schema` holds them."""
    for name, content in json_schemas().items():
        write_atomic(folder / name, content)


def _with_specs(schema: dict[str, Any]) -> dict[str, Any]:
    """A record's schema that says what its specs hold."""
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    for name, spec in SPECS.items():
        if name in schema["properties"]:
            own = TypeAdapter(spec).json_schema()
            schema["properties"][name] = {"$ref": f"#/$defs/{spec.__name__}"}
            definitions |= {**own.pop("$defs", {}), spec.__name__: own}
    return schema
