"""Texts of others made harmless, and comparisons of restricted data made fit to leave the machine."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import asdict, replace
from typing import Any

from unix_bench.tables.comparison.contents import Comparison

DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
REMOVED = "\N{REPLACEMENT CHARACTER}"


def plain(text: str, lines: bool = True) -> str:
    r"""The text without what steers a terminal, a page or an XML reader: control and direction characters, surrogates.

    Args:
        text: Anybody's.
        lines: Keep line breaks and tabs; otherwise each becomes a space.

    >>> plain("a\x1b[31m\nb", lines=False)
    'a�[31m b'
    """
    kept = []
    for letter in text:
        if letter in "\n\t":
            kept.append(letter if lines else " ")
        elif letter in DIRECTION or unicodedata.category(letter) in ("Cc", "Cs") or ord(letter) & 0xFFFE == 0xFFFE:
            kept.append(REMOVED)
        else:
            kept.append(letter)
    return "".join(kept)


def hashed(identity: str) -> str:
    """An id as it may leave the machine."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def redacted(comparison: Comparison) -> Comparison:
    """Without texts, findings and images of single studies, their ids hashed; numbers stay."""
    changed = tuple(
        replace(sample, id=hashed(sample.id), reports=None, findings=(), pictures=None) for sample in comparison.changed
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
