"""Task adapters: what the bench asks of a model, and how it keeps the answers."""

from unix_bench.cards import TaskCard
from unix_bench.tasks.base import TaskAdapter
from unix_bench.tasks.generation import GenerationTask
from unix_bench.tasks.probe import ProbeTask
from unix_bench.tasks.report import ReportTask

__all__ = ["GenerationTask", "ProbeTask", "ReportTask", "TaskAdapter", "adapter_for"]


def adapter_for(card: TaskCard) -> TaskAdapter:
    """The adapter behind a task card."""
    if card.kind == "generation":
        return GenerationTask()
    if card.kind == "probe":
        return ProbeTask(card.instruction or "")
    return ReportTask(card.instruction or "")
