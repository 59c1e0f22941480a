"""Who is given whose answer: orders that the run's seed decides, the same on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from unix_bench.data import Study
from unix_bench.protocols.base import patient_of
from unix_bench.spec import sample_seed


def deranged(studies: Sequence[Study], seed: int) -> dict[str, Study]:
    """Give every study another one, each once; of another patient wherever that can be.

    Studies lie in a ring, those of a patient side by side, and each is given the one as many places further as the
    patient with most studies has: no patient meets itself unless it has more than half of the ring, and then as seldom
    as can be.

    Args:
        studies: At least two.
        seed: Of the run; orders patients, and the studies of each.

    Returns:
        Study id -> the study whose answer it is given.
    """
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in sorted(studies, key=lambda study: _place(seed, "study", study.id)):
        groups[patient_of(study)].append(study)
    ring = [
        study for patient in sorted(groups, key=lambda name: _place(seed, "patient", name)) for study in groups[patient]
    ]
    step = max(map(len, groups.values())) % len(ring) or 1
    return {study.id: ring[(index + step) % len(ring)] for index, study in enumerate(ring)}


def matched(studies: Sequence[Study], pool: Sequence[Study], seed: int) -> dict[str, Study]:
    """Give every study one of the pool, none twice: one that shows the same findings while there is one, else any.

    Rows of single findings then hold images that show them, as far as the pool has labels.

    Args:
        studies: No more than the pool has.
        pool: Studies of other patients.
        seed: Of the run; decides which.

    Returns:
        Study id -> the study whose answer it is given.
    """
    left: dict[tuple[str, ...] | None, list[Study]] = defaultdict(list)
    for study in sorted(pool, key=lambda study: _place(seed, "pool", study.id), reverse=True):
        left[_shown(study)].append(study)
    given: dict[str, Study] = {}
    for study in sorted(studies, key=lambda study: _place(seed, "study", study.id)):
        alike = left[_shown(study)] if study.reference.labels else []
        if alike:
            given[study.id] = alike.pop()
    rest = sorted((one for group in left.values() for one in group), key=lambda one: _place(seed, "pool", one.id))
    others = [study for study in studies if study.id not in given]
    return given | {study.id: other for study, other in zip(others, rest[: len(others)], strict=True)}


def _shown(study: Study) -> tuple[str, ...] | None:
    """The findings it shows; None: nobody judged it."""
    labels = study.reference.labels
    return tuple(sorted(finding for finding, label in labels.items() if label == 1)) if labels else None


def _place(seed: int, kind: str, name: str) -> tuple[int, str]:
    return sample_seed(seed, f"reference point, {kind}", name), name
