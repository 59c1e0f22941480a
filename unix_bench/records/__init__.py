"""The files of a run: schema, reading, and writing that survives a crash."""

from unix_bench.records.atomic import write_atomic
from unix_bench.records.code import describe_code
from unix_bench.records.frame import load
from unix_bench.records.json_schema import json_schemas, write_json_schemas
from unix_bench.records.migrate import NewerRecord
from unix_bench.records.phases import PhaseLog, read_phases
from unix_bench.records.run_folder import (
    WRITER,
    RunFolder,
    all_runs,
    find_results,
    find_run,
    find_scoring,
    find_standing,
    in_standing_order,
    read_record,
)
from unix_bench.records.schema import Code, Counts, Metric, Phase, Results, RunRecord, Sample

__all__ = [
    "WRITER",
    "Code",
    "Counts",
    "Metric",
    "NewerRecord",
    "Phase",
    "PhaseLog",
    "Results",
    "RunFolder",
    "RunRecord",
    "Sample",
    "all_runs",
    "describe_code",
    "find_results",
    "find_run",
    "find_scoring",
    "find_standing",
    "in_standing_order",
    "json_schemas",
    "load",
    "read_phases",
    "read_record",
    "write_atomic",
    "write_json_schemas",
]
