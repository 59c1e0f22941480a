"""Fixed subsets for nightly runs: whole patients, every finding in its share, the same ids everywhere.

A subset is a small file of ids, made once by `unix-bench data subset` and kept with the user's cards; ids of restricted
sets stay there. Two sites with the same set and the same seed make the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from unix_bench.cards import USER_FOLDERS
from unix_bench.data.study import FINDINGS, DataSet, Study
from unix_bench.errors import UserError, unknown_name
from unix_bench.settings import expand

FOLDER = "subsets"


class Subset(BaseModel):
    """A subset of one data set.

    Attributes:
        version: Of the way it was chosen.
        data_digest: Content digest of the set it was chosen from; of another set it says nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    version: Literal[1] = 1
    data: str
    data_digest: str
    seed: int
    ids: tuple[str, ...]

    @property
    def tag(self) -> str:
        """Name and digest of the ids, as every spec and signature states them."""
        return f"{self.name}@{hashlib.sha256(json.dumps(self.ids).encode()).hexdigest()[:8]}"


def choose_subset(name: str, data: DataSet, studies: Sequence[Study], size: int, seed: int) -> Subset:
    """Choose at most `size` of the studies: whole patients, in an order that the seed alone decides.

    Iterative stratification (Sechidis et al., ECML 2011): the patients of the finding that has fewest left are given,
    one by one, to the side that still wants more of it, inside or outside; those without a finding fill up.

    Raises:
        UserError: There are fewer studies than asked for.
    """
    if size >= len(studies):
        raise UserError(f"{data.name} has {len(studies)} studies for this task: a subset of {size} is not one")
    patients: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        patients[study.patient_id or study.id].append(study)
    order = sorted(patients, key=lambda patient: hashlib.sha256(f"{seed} {patient}".encode()).digest())
    positives = {patient: _positives(patients[patient]) for patient in order}
    total = _positives(studies)
    share = size / len(studies)
    inside = {finding: count * share for finding, count in total.items()}  # positives still wanted on either side
    outside = {finding: count * (1.0 - share) for finding, count in total.items()}
    room = {True: float(size), False: float(len(studies) - size)}
    left, chosen = dict.fromkeys(order), set[str]()

    def put(patient: str, wanted: bool) -> None:
        del left[patient]
        wanted = wanted and len(patients[patient]) <= room[True]
        room[wanted] -= len(patients[patient])
        for finding, count in positives[patient].items():
            (inside if wanted else outside)[finding] -= count
        if wanted:
            chosen.add(patient)

    while left:
        rest = Counter(finding for patient in left for finding in positives[patient])
        if not rest:
            break
        finding = min(rest, key=lambda finding: (rest[finding], finding))
        for patient in [patient for patient in left if positives[patient][finding]]:
            put(patient, (inside[finding], room[True]) > (outside[finding], room[False]))
    for patient in list(left):
        put(patient, room[True] > 0)
    if not chosen:
        raise UserError(f"no patient of {data.name} has {size} studies or fewer: ask for a larger subset")
    ids = tuple(study.id for study in studies if (study.patient_id or study.id) in chosen)
    return Subset(name=name, data=data.name, data_digest=data.content_digest, seed=seed, ids=ids)


def _positives(studies: Sequence[Study]) -> Counter[str]:
    return Counter(finding for study in studies for finding in FINDINGS if study.reference.labels.get(finding) == 1)


def subset_path(name: str) -> Path:
    """Where a new subset of that name belongs: with the cards of the working directory."""
    return USER_FOLDERS[0] / FOLDER / f"{name}.json"


def load_subset(name: str, data: DataSet) -> Subset:
    """The user's subset of that name, for this data set.

    Raises:
        UserError: There is none, it is damaged, or it was chosen from another set.
    """
    places = [expand(folder) / FOLDER for folder in USER_FOLDERS]
    path = next((place / f"{name}.json" for place in places if (place / f"{name}.json").is_file()), None)
    if path is None:
        known = [found.stem for place in places for found in place.glob("*.json")]
        raise unknown_name("subset", name, known or ["none yet: `unix-bench data subset` makes them"])
    try:
        subset = Subset.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} is no subset file: make it again with `unix-bench data subset`") from error
    if subset.data_digest != data.content_digest:
        raise UserError(f"{path} was chosen from another state of {subset.data}: make it again for {data.name}")
    return subset
