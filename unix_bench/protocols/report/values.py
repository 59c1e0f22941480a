"""From what the meters read to the values of a table's row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unix_bench.protocols.base import Row, Value
from unix_bench.protocols.bootstrap import patient_intervals
from unix_bench.protocols.report.meters import Measured, Meter
from unix_bench.scoring.statistics import FEW_POSITIVES

Found = Sequence[tuple[Meter, Measured]]


def row_values(row: Row, found: Found, clusters: Sequence[str]) -> list[Value]:
    """Every metric of a row with its interval, all of them on the same resamples.

    Args:
        row: The pairs that count.
        found: Each meter and what it read of all pairs.
        clusters: Patient of each pair: what is resampled.
    """
    wanted = [
        (name, measured)
        for meter, measured in found
        for name in meter.names
        if row.pathology is None or name not in meter.once
    ]
    computed = _computed(row, [measured for _, measured in found], clusters)
    values = []
    for name, measured in wanted:
        value = computed.get(name) or Value(name, None, row.why_empty if not row.members else measured.reason)
        values.append(replace(value, better=measured.better))
    return values


def _computed(row: Row, found: Sequence[Measured], clusters: Sequence[str]) -> dict[str, Value]:
    if not row.members:
        return {}
    named = [
        (name, measured, measure.of_members(row.members))
        for measured in found
        for name, measure in measured.measures.items()
    ]
    bounds = patient_intervals([measure for *_, measure in named], [clusters[index] for index in row.members])
    values = {}
    for (name, measured, measure), ci in zip(named, bounds, strict=True):
        there = measured.positives.get(name)
        support = None if there is None else int(there[row.members].sum())
        few = len(row.members) < measured.reliable_from.get(name, 0)
        few = few or (support is not None and support < FEW_POSITIVES)
        values[name] = Value(name, measure.shown(), flags=["few-positives"] if few else [], ci=ci, support=support)
    return values
