"""Opening again what a run was made from, for whoever scores, checks or merges it."""

from __future__ import annotations

from dataclasses import dataclass

from unix_bench import registry
from unix_bench.cards import TaskCard
from unix_bench.data import DataSet, Study, Subset, load_subset, open_data
from unix_bench.errors import UserError
from unix_bench.plan import eligible_studies
from unix_bench.records import RunRecord
from unix_bench.settings import Settings
from unix_bench.tasks import TaskAdapter, adapter_for


class DataChanged(UserError):
    """The data, or the subset of it, is not what a run was made with."""


@dataclass(frozen=True)
class Reopened:
    """What a run was made from.

    Attributes:
        eligible: The studies it predicts, in order.
    """

    task: TaskCard
    adapter: TaskAdapter
    data: DataSet
    subset: Subset | None
    eligible: list[Study]


def reopened(record: RunRecord, settings: Settings) -> Reopened:
    """Open the data of a run again.

    Raises:
        DataChanged: It is not as it was.
        UserError: It is not there.
    """
    spec = record.predict_spec
    task = registry.task(str(spec["task"]))
    data = open_data(record.data_path, task.sets, settings)
    if data.content_digest != spec["data_digest"]:
        raise DataChanged(
            f"the data in {record.data_path} changed since {record.id} was predicted (content "
            f"{data.content_digest[:12]} instead of {str(spec['data_digest'])[:12]}): restore it, or run again"
        )
    subset = None
    if spec["subset"] is not None:
        subset = load_subset(str(spec["subset"]).rpartition("@")[0], data)
        if subset.tag != spec["subset"]:
            raise DataChanged(
                f"subset {subset.name} changed since {record.id} was predicted ({subset.tag} instead of "
                f"{spec['subset']}): restore it, or run again"
            )
    adapter = adapter_for(task)
    return Reopened(task, adapter, data, subset, eligible_studies(data, adapter, subset, spec["limit"]))
