"""The files of a run: schema, reading, and writing that survives a crash."""

from unix_bench.records.atomic import write_atomic
from unix_bench.records.code import describe_code
from unix_bench.records.finding import (
    all_runs,
    find_begun,
    find_results,
    find_run,
    find_scoring,
    find_shards,
    find_standing,
    in_standing_order,
)
from unix_bench.records.frame import load
from unix_bench.records.json_schema import json_schemas, write_json_schemas
from unix_bench.records.lease import Heartbeat, read_heartbeat
from unix_bench.records.migrate import NewerRecord
from unix_bench.records.phases import PhaseLog, read_phases
from unix_bench.records.run_folder import SHARDS, RunFolder, read_record
from unix_bench.records.schema import Code, Counts, Metric, Phase, Results, RunRecord, Sample, ShardRecord
from unix_bench.records.status import RunStatus, status_of

__all__ = [
    "SHARDS",
    "Code",
    "Counts",
    "Heartbeat",
    "Metric",
    "NewerRecord",
    "Phase",
    "PhaseLog",
    "Results",
    "RunFolder",
    "RunRecord",
    "RunStatus",
    "Sample",
    "ShardRecord",
    "all_runs",
    "describe_code",
    "find_begun",
    "find_results",
    "find_run",
    "find_scoring",
    "find_shards",
    "find_standing",
    "in_standing_order",
    "json_schemas",
    "load",
    "read_heartbeat",
    "read_phases",
    "read_record",
    "status_of",
    "write_atomic",
    "write_json_schemas",
]
