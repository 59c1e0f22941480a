"""The interval that all means and ratios of the protocols get: one bootstrap of patients, the same seed everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from unix_bench.scoring.statistics import Interval, Measure, intervals

SEED, REPLICATES = 0, 2000
INTERVAL = f"95 % by a bootstrap of patients, {REPLICATES} replicates, seed {SEED}"


def patient_intervals(measures: Sequence[Measure], patients: Sequence[str]) -> list[Interval | None]:
    """Intervals of measures of the same studies, all from the same weights of patients; raises as `intervals`.

    Args:
        measures: Of the same n studies.
        patients: [n] whose study it is.
    """
    return intervals(measures, patients, SEED, REPLICATES)
