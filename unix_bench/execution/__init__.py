"""Working through batches on some device, and showing how far it is."""

from unix_bench.execution.batches import Outcome, batch_plan, run_inline
from unix_bench.execution.devices import choose_device, choose_dtype, describe_environment, set_arithmetic
from unix_bench.execution.progress import ProgressLine

__all__ = [
    "Outcome",
    "ProgressLine",
    "batch_plan",
    "choose_device",
    "choose_dtype",
    "describe_environment",
    "run_inline",
    "set_arithmetic",
]
