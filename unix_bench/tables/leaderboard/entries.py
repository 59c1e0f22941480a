"""What a leaderboard is made of: entries, and the kind that entries of one table share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import metric_card
from unix_bench.scoring.statistics import between_seeds

NOT_STATED = "not stated"
# Parts of a signature that two comparable values may differ in; whether their data is the same, the kind says.
OF_THE_RUN = ("n", "failed", "seed", "data", "pixels", "subset", "on_error")
Place = tuple[str, str | None]  # metric, pathology


@dataclass(frozen=True, order=True)
class Kind:
    """What must be equal for values to stand in one table; every part is text, empty for none.

    Attributes:
        protocol: With its version.
        data: Name and content digest.
        subset: Name and digest of its ids.
        limit: How many studies, from the first.
        demo: Are these a stand-in's numbers?
    """

    task: str
    protocol: str
    data: str
    reference_text: str
    subset: str
    limit: str
    demo: bool

    @property
    def heading(self) -> str:
        """In words, with the digest in short."""
        name, _, digest = self.data.rpartition("@")
        part = f", subset {self.subset}" if self.subset else ""
        first = f", the first {self.limit} studies" if self.limit else ""
        demo = ", DEMO: a stand-in's numbers" if self.demo else ""
        text = f"{self.task}, protocol {self.protocol}, {name}@{digest[:8]}{part}{first}"
        return f"{text}, reference text: {self.reference_text}{demo}"


@dataclass(frozen=True)
class Cell:
    """A value in an entry.

    Attributes:
        value: None where there is none; `reason` says why.
        ci: Interval at 95 %; of several seeds, the span of theirs.
        sd: Standard deviation between seeds.
        definition: Its signature without what belongs to the run.
        on_error: What a failed sample counted as; empty where none failed, for then it changes nothing.
        printed: The digits of a publication, in the metric's own unit.
    """

    value: float | None
    n: int | None = None
    ci: tuple[float, float] | None = None
    sd: float | None = None
    flags: tuple[str, ...] = ()
    better: str | None = None
    definition: str = ""
    on_error: str = ""
    reason: str = ""
    printed: str | None = None


@dataclass(frozen=True)
class Entry:
    """A model in a leaderboard.

    Attributes:
        identity: Everything but the seed that decided its numbers; empty for a row of a publication.
        weights: Their digest.
        origin: "run", "reviewed" or "paper".
        source: Of its numbers: the id of the run, or the publication.
        date: Of its run or of its publication, as far as known.
        details: What is told of the model: group, params, ...
        link: To its results, from where the table is written; empty: none.
    """

    model: str
    identity: str
    weights: str
    origin: str
    source: str
    cells: Mapping[Place, Cell]
    seeds: tuple[int, ...] = ()
    date: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    link: str = ""


def kind_of(results: Results) -> Kind:
    """The table in which results may stand."""
    spec, score = results.predict_spec, results.score_spec
    texts = {signature_parts(metric.signature).get("reference_text", NOT_STATED) for metric in results.metrics}
    return Kind(
        task=f"{spec['task']}.{spec['task_version']}",
        protocol=f"{score['protocol']}.{score['protocol_version']}",
        data=f"{spec['data']}@{spec['data_digest']}",
        reference_text=" | ".join(sorted(texts)) or NOT_STATED,
        subset=str(spec["subset"] or ""),
        limit=str(spec["limit"] or ""),
        demo=results.demo,
    )


def entry_of(results: Results, origin: str, date: str, link: str = "") -> Entry:
    """Results as an entry."""
    spec = results.predict_spec
    # With findings or without: the numbers that both have are the same.
    same = {"predict": {**spec, "seed": None}, "score": {**results.score_spec, "per_pathology": None}}
    return Entry(
        model=str(spec["model"]),
        identity=json.dumps(same, sort_keys=True),
        weights=str(spec["weights"]),
        origin=origin,
        source=results.run,
        cells={(metric.name, metric.pathology): _cell(metric) for metric in results.metrics},
        seeds=(int(spec["seed"]),),
        date=date,
        details={"resolution": str(spec["settings"].get("size", ""))},
        link=link,
    )


def seeds_together(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that differ in nothing but the seed as one, with the mean and the deviation between seeds."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.identity or entry.source, []).append(entry)
    return [_merged(sorted(group, key=lambda entry: entry.seeds)) for group in groups.values()]


def signature_parts(signature: str) -> dict[str, str]:
    """A signature as a dictionary.

    >>> signature_parts("protocol=sound.1; n=8")
    {'protocol': 'sound.1', 'n': '8'}
    """
    pairs = (part.partition("=") for part in signature.split("; "))
    return {key: value for key, _, value in pairs}


def _cell(metric: Metric) -> Cell:
    parts = signature_parts(metric.signature)
    return Cell(
        value=metric.value,
        n=metric.n,
        ci=metric.ci,
        flags=tuple(metric.flags),
        better=metric.better or metric_card(metric.name).better,
        definition="; ".join(f"{key}={value}" for key, value in parts.items() if key not in OF_THE_RUN),
        on_error="" if parts.get("failed") == "0" else parts.get("on_error", ""),
        reason="" if metric.value is not None else metric.reason or "no reason recorded",
    )


def _merged(group: Sequence[Entry]) -> Entry:
    if len(group) == 1:
        return group[0]
    places = dict.fromkeys(place for entry in group for place in entry.cells)
    return replace(
        group[0],
        origin="reviewed" if all(entry.origin == "reviewed" for entry in group) else "run",
        source=", ".join(entry.source for entry in group),
        cells={place: _mean([entry.cells.get(place) for entry in group]) for place in places},
        seeds=tuple(seed for entry in group for seed in entry.seeds),
        date=max(entry.date for entry in group),
        link="",
    )


def _mean(cells: Sequence[Cell | None]) -> Cell:
    there = [cell for cell in cells if cell is not None]
    values = [cell.value for cell in there if cell.value is not None]
    flags = tuple(dict.fromkeys(flag for cell in there for flag in cell.flags))
    if len(values) < len(cells):
        missing = len(cells) - len(values)
        reasons = [cell.reason for cell in there if cell.reason]
        return replace(
            there[0],
            value=None,
            ci=None,
            flags=flags,
            reason=reasons[0] if missing == len(reasons) == len(cells) else f"{missing} of {len(cells)} seeds lack it",
        )
    spread = between_seeds(values)
    bounds = [cell.ci for cell in there if cell.ci is not None]
    span = (min(low for low, _ in bounds), max(high for _, high in bounds)) if len(bounds) == len(cells) else None
    definitions = " | ".join(dict.fromkeys(cell.definition for cell in there))
    policy = next((cell.on_error for cell in there if cell.on_error), "")
    return replace(
        there[0], value=spread.mean, sd=spread.sd, ci=span, flags=flags, definition=definitions, on_error=policy
    )
