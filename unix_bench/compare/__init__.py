"""The walk from two runs to what changed between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unix_bench.compare.changed import changed_samples
from unix_bench.compare.differences import Pairs, differences, patients
from unix_bench.compare.drawn import Drawn, judged_by, read_drawn
from unix_bench.compare.sides import Matched, NotComparable, Side, match
from unix_bench.records import write_atomic
from unix_bench.tables.comparison import Comparison, SideFacts, as_document, comparison_page, redacted

__all__ = [
    "Drawn",
    "Matched",
    "NotComparable",
    "Pairs",
    "Side",
    "compare",
    "judged_by",
    "keep",
    "match",
    "outside",
    "paired_measures",
    "patients",
    "read_drawn",
    "write_page",
]
FOLDER = "comparisons"


def compare(matched: Matched, drawn: Mapping[str, Drawn], samples: bool = True) -> Comparison:
    """Hold two runs against each other.

    Args:
        matched: The runs, from `match`.
        drawn: Features of their images, from `read_drawn`.
        samples: Look for the samples that changed most, too.

    Raises:
        UserError: The samples of a run cannot be read.
    """
    a, b = (side.columns(matched.ids) for side in (matched.a, matched.b))
    metrics = differences(matched, paired_measures(matched), drawn)
    criterion, changed = changed_samples(matched, a, b, drawn) if samples else (None, [])
    spec = matched.a.results.predict_spec
    return Comparison(
        a=_facts(matched.a),
        b=_facts(matched.b),
        task=matched.task.name,
        protocol=matched.protocol,
        data=f"{spec['data']}@{str(spec['data_digest'])[:8]}",
        n=len(matched.ids),
        demo=matched.a.results.demo or matched.b.results.demo,
        restricted=matched.restricted,
        redacted=False,
        notes=tuple(matched.notes),
        metrics=tuple(metrics),
        criterion=criterion,
        changed=tuple(changed),
    )


def paired_measures(matched: Matched) -> Pairs:
    """Metric -> measure of run a and of run b, over the studies of both."""
    a, b = (matched.scoring.measures(side.columns(matched.ids)) for side in (matched.a, matched.b))
    return {name: (measure, b[name]) for name, measure in a.items() if name in b}


def _facts(side: Side) -> SideFacts:
    spec = side.results.predict_spec
    weights, failed = str(spec["weights"])[:12], side.results.counts.failed
    return SideFacts(side.results.run, str(spec["model"]), weights, int(spec["seed"]), failed)


def keep(comparison: Comparison, matched: Matched) -> Path:
    """Write the page with everything, and the same as JSON, into run a's folder.

    Returns:
        The page's path.

    Raises:
        UserError: The folder cannot be written to.
    """
    stem = f"{matched.b.run.id}-{matched.protocol}"
    page = matched.a.run.path / FOLDER / f"{stem}.html"
    write_atomic(page, as_bytes(comparison_page(comparison)))
    write_atomic(page.with_suffix(".json"), as_bytes(json_of(as_document(comparison))))
    return page


def write_page(comparison: Comparison, matched: Matched, path: Path) -> bool:
    """Write the page where the user wants it.

    Returns:
        Whether texts, images and ids were left out: the data is restricted, and the place outside the runs' folders.

    Raises:
        UserError: The place cannot be written to.
    """
    shown = outside(comparison, matched, path)
    write_atomic(path, as_bytes(comparison_page(shown)))
    return shown.redacted


def outside(comparison: Comparison, matched: Matched, path: Path | None = None) -> Comparison:
    """The comparison as it may stand in a place; None: on standard output, which may go anywhere."""
    homes = [side.run.path.resolve() for side in (matched.a, matched.b)]
    inside = path is not None and any(path.resolve().is_relative_to(home) for home in homes)
    return comparison if inside or not comparison.restricted else redacted(comparison)


def json_of(document: dict[str, Any]) -> str:
    """Indented JSON in ASCII, every number finite."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def as_bytes(text: str) -> bytes:
    """UTF-8; what is no Unicode (a lone surrogate) becomes a question mark."""
    return text.encode("utf-8", "replace")
