"""Is a data set what it says it is? Every image opened, every row looked at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from unix_bench.data.check import check_images
from unix_bench.data.study import FINDINGS, DataSet, Study

SHOWN = 20  # rows that one remark lists


@dataclass(frozen=True)
class Remark:
    """One thing a user should know; an error means that the set cannot be trusted as it is."""

    level: Literal["error", "warning", "note"]
    what: str
    where: str
    text: str


@dataclass(frozen=True)
class Audit:
    """All remarks, and the two digests."""

    name: str
    studies: int
    content_digest: str
    pixel_digest: str
    sizes: str
    modes: dict[str, int]
    remarks: list[Remark]

    @property
    def sound(self) -> bool:
        return not any(remark.level == "error" for remark in self.remarks)


def audit(data: DataSet, cache: Path, advance: Callable[[], None] = lambda: None) -> Audit:
    """Open every image and hold the rows against each other.

    Args:
        data: What to look at; its reader has refused malformed rows already.
        cache: Where images that passed are noted, so that a second look takes seconds.
        advance: Called after each image.
    """
    check = check_images(data.studies, cache, advance)
    by_id = {study.id: study for study in data.studies}
    remarks = [Remark("error", "unreadable image", by_id[one].where, why) for one, why in check.unreadable.items()]
    remarks += [Remark("warning", "set", data.name, note) for note in data.notes]
    remarks += _patients_in_two_splits(data.studies)
    digests = ((s, check.opened[s.id].digest) for s in data.studies if s.id in check.opened)
    remarks += _same("duplicate image", "the same file contents", digests)
    remarks += _same("duplicate prompt", "the same prompt", ((s, s.inputs.prompt) for s in data.studies), level="note")
    for what, text, lacking in (
        ("missing report", "no reference report", [s for s in data.studies if s.reference.report is None]),
        ("missing prompt", "no prompt", [s for s in data.studies if s.inputs.prompt is None]),
        ("no labels", "no label of the 14", [s for s in data.studies if not s.reference.labels]),
    ):
        remarks += _as_one(what, text, lacking)
    sizes = [(image.width, image.height) for image in check.opened.values()]
    return Audit(
        name=data.name,
        studies=len(data.studies),
        content_digest=data.content_digest,
        pixel_digest=check.pixel_digest,
        sizes=_sizes(sizes),
        modes=dict(Counter(image.mode for image in check.opened.values())),
        remarks=remarks,
    )


def _patients_in_two_splits(studies: Iterable[Study]) -> list[Remark]:
    splits: dict[str, set[str]] = defaultdict(set)
    first: dict[str, Study] = {}
    for study in studies:
        if study.patient_id is not None and study.split is not None:
            splits[study.patient_id].add(study.split)
            first.setdefault(study.patient_id, study)
    return [
        Remark("error", "patient in two splits", first[one].where, f"patient {one} is in {', '.join(sorted(names))}")
        for one, names in splits.items()
        if len(names) > 1
    ]


def _same(
    what: str, text: str, keyed: Iterable[tuple[Study, str | None]], level: Literal["warning", "note"] = "warning"
) -> list[Remark]:
    """Studies that share a key that should be their own."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study, key in keyed:
        if key is not None:
            groups[key].append(study)
    return [
        Remark(level, what, group[0].where, f"{text} as {_rows(group[1:])}")
        for group in groups.values()
        if len(group) > 1
    ]


def _rows(studies: list[Study]) -> str:
    """Their rows, without the file's name, which the first one has."""
    rows = ", ".join(study.where.rpartition(", ")[2] for study in studies[:SHOWN])
    return rows + (f" and {len(studies) - SHOWN} more" if len(studies) > SHOWN else "")


def _as_one(what: str, text: str, studies: list[Study]) -> list[Remark]:
    """One note for all of them: they are many, and no mistake."""
    if not studies:
        return []
    return [Remark("note", what, studies[0].where, f"{text}: {len(studies)} studies, this one the first")]


def _sizes(sizes: list[tuple[int, int]]) -> str:
    if not sizes:
        return "none"
    widths, heights = zip(*sizes, strict=True)
    return f"{min(widths)}-{max(widths)} x {min(heights)}-{max(heights)} pixels"


def describe(data: DataSet) -> dict[str, object]:
    """The card of a set: what is in it, counted."""

    def words(texts: Iterable[str | None]) -> str:
        lengths = [len(text.split()) for text in texts if text is not None]
        spread = f", {min(lengths)}-{max(lengths)} words, median {median(lengths):g}" if lengths else ""
        return f"{len(lengths)} texts{spread}"

    counts = {
        finding: {
            name: sum(study.reference.labels.get(finding) == label for study in data.studies)
            for name, label in (("positive", 1), ("uncertain", -1), ("negative", 0), ("unknown", None))
        }
        for finding in FINDINGS
    }
    return {
        "name": data.name,
        "studies": len(data.studies),
        "patients": len({study.patient_id for study in data.studies if study.patient_id}),
        "views": dict(Counter(study.view or "not stated" for study in data.studies)),
        "splits": dict(Counter(study.split or "not stated" for study in data.studies)),
        "reference text": data.reference_text,
        "reports": words(study.reference.report for study in data.studies),
        "prompts": words(study.inputs.prompt for study in data.studies),
        "licence": data.licence,
        "citation": data.citation,
        "restricted": data.restricted,
        "notes": " ".join(data.notes) or "none",
        "content digest": data.content_digest,
        "findings": counts,
    }
