"""Comparisons as others may have them: those of restricted data without what must stay, and all of them as JSON."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Any

from unix_bench.tables.comparison.contents import Comparison


def _hashed(identity: str) -> str:
    """An id as it may leave the machine."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def redacted(comparison: Comparison) -> Comparison:
    """Without texts, findings and images of single studies, their ids hashed; numbers stay."""
    changed = tuple(
        replace(sample, id=_hashed(sample.id), reports=None, findings=(), pictures=None)
        for sample in comparison.changed
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
