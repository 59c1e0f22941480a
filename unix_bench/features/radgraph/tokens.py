"""Words of a report, as radgraph 0.1.18 cuts them before its model sees them."""

from __future__ import annotations

import re

# `radgraph`: each of these marks is a word, and so is what lies between them and white space; a hyphen splits nothing.
MARKS_AND_THE_REST = re.compile(r"[/,:.!?()]|[^/,:.!?()\s]+")
# The XL models: runs of letters and digits, and runs of anything else.
WORDS_AND_THE_REST = re.compile(r"\w+|[^\w\s]+")

# Escapes that reports read from JSON by hand hold as they stand: a backslash and a letter, not the character.
ESCAPES = {"\\n": "  ", "\\f": "  ", "\\u2122": "      ", "\n": " ", '\\"': "``"}
# Some runs of marks are parted again, in this order.
PARTED = {").": ") .", "%.": "% .", ".'": ". '", "%,": "% ,", "%)": "% )"}

EMPTY = "None"  # what the release reads in place of an empty report


def words(text: str, model_type: str) -> list[str]:
    """Words of a report; none where it is white space alone.

    Args:
        text: Any text; the empty one is read as the word None.
        model_type: `radgraph`, `radgraph-xl` or `modern-radgraph-xl`.

    >>> words("Nodule measures 1.5 cm (T1-T2).", "radgraph")
    ['Nodule', 'measures', '1', '.', '5', 'cm', '(', 'T1-T2', ')', '.']
    >>> words("Nodule measures 1.5 cm (T1-T2).", "radgraph-xl")
    ['Nodule', 'measures', '1', '.', '5', 'cm', '(', 'T1', '-', 'T2', ')', '.']
    """
    text = text or EMPTY
    if model_type == "radgraph":
        return MARKS_AND_THE_REST.findall(text)
    for escape, meaning in ESCAPES.items():
        text = text.replace(escape, meaning)
    joined = " ".join(WORDS_AND_THE_REST.findall(text))
    for run, parts in PARTED.items():
        joined = joined.replace(run, parts)
    return joined.split()
