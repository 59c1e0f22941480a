"""Working through batches by some workers, on some devices, and showing how far it is."""

from unix_bench.execution.crew import EXECUTORS, Crew, Executor, choose_crew, gather
from unix_bench.execution.devices import choose_device, choose_dtype, describe_environment, set_arithmetic
from unix_bench.execution.ledger import Outcome, batch_plan
from unix_bench.execution.progress import PROGRESS, ProgressLine, progress_as
from unix_bench.execution.scheduler import Scheduler, WorkerState
from unix_bench.execution.stopping import graceful_stop
from unix_bench.execution.workers import Make

__all__ = [
    "EXECUTORS",
    "PROGRESS",
    "Crew",
    "Executor",
    "Make",
    "Outcome",
    "ProgressLine",
    "Scheduler",
    "WorkerState",
    "batch_plan",
    "choose_crew",
    "choose_device",
    "choose_dtype",
    "describe_environment",
    "gather",
    "graceful_stop",
    "progress_as",
    "set_arithmetic",
]
