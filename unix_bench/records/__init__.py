"""The files of a run: schema, reading, and writing that survives a crash."""

from unix_bench.records.atomic import write_atomic
from unix_bench.records.run_folder import WRITER, RunFolder, all_runs, find_results, find_run, read_record
from unix_bench.records.schema import Counts, Metric, Results, RunRecord, Sample

__all__ = [
    "WRITER",
    "Counts",
    "Metric",
    "Results",
    "RunFolder",
    "RunRecord",
    "Sample",
    "all_runs",
    "find_results",
    "find_run",
    "read_record",
    "write_atomic",
]
