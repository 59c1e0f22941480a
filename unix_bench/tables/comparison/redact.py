"""Comparisons as others may have them: those of restricted data without what must stay, and all of them as JSON."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from unix_bench.tables.comparison.contents import Comparison


def redacted(comparison: Comparison) -> Comparison:
    """Without texts, findings and images of single studies, numbered in place of their ids; numbers stay.

    Not even a hash of an id is there: whoever can count through the ids can hash them.
    """
    changed = tuple(
        replace(sample, id=f"sample {place}", reports=None, findings=(), pictures=None)
        for place, sample in enumerate(comparison.changed, start=1)
    )
    return replace(comparison, redacted=True, changed=changed)


def as_document(comparison: Comparison) -> dict[str, Any]:
    """Everything but the pictures, as JSON takes it."""
    document = asdict(comparison)
    for sample in document["changed"]:
        del sample["pictures"]
        if sample["reports"] is not None:
            sample["reports"] = dict(zip(("a", "b", "reference"), sample["reports"], strict=True))
    return document
