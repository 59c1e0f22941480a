"""Sections of a raw radiology report: findings, impression, indication and their kin.

A header is a run of capitals at the beginning of a line, ended by a colon; every header opens a section, known or not.
Its many spellings are data (`sections.toml`); a report that needs its own treatment is named in a file of the user's.
Follows the behaviour of MIT-LCP's parser for MIMIC-CXR (`section_parser.py`), written anew.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

HEADER = re.compile(r"^[ \t]*([A-Z][A-Z ()/,\-]*?)[ \t]*:(?=\s|$)", re.MULTILINE)
PARAGRAPH = re.compile(r"\n[ \t]*\n")
PREAMBLE = "preamble"
# Where a header is not in the table: one of these words in it, else the words of a view, which head the findings.
MAIN = ("impression", "findings", "history", "comparison", "addendum")
VIEW = re.compile(
    r"\b(chest|portable|pa and lateral|pa & lateral|lateral and pa|ap and lateral|(one|two|single) views?)\b"
)


@dataclass(frozen=True)
class Sections:
    """The sections of one report.

    Attributes:
        by_name: Canonical name -> text, white space folded; of a section that occurs twice, the last that says
            something.
        last_paragraph: Where there is neither impression nor findings, what the report says last; else empty.
    """

    by_name: Mapping[str, str] = field(default_factory=dict)
    last_paragraph: str = ""

    def text(self, *names: str) -> str | None:
        """The named sections that are there and say something, joined; None where none does."""
        found = [self.by_name[name] for name in names if self.by_name.get(name)]
        return " ".join(found) or None


def parse_sections(report: str, exception: Mapping[str, str] | None = None) -> Sections:
    r"""Split a report into sections.

    Args:
        report: Raw text.
        exception: For a report that the rules get wrong: section -> the header or the words it begins with, as they
            stand in the report. Only these sections are then read.

    Raises:
        ValueError: An exception names words that the report does not hold.

    >>> parse_sections("FINAL REPORT\n INDICATION: Cough.\n\n FINDINGS: Clear\n lungs.").text("findings")
    'Clear lungs.'
    """
    marks = _exception_marks(report, exception) if exception else _header_marks(report)
    by_name: dict[str, str] = {}
    starts = [(0, 0, PREAMBLE), *marks]
    for (_, begin, name), (end, _, _) in zip(starts, [*starts[1:], (len(report), 0, "")], strict=True):
        by_name[name] = fold(report[begin:end]) or by_name.get(name, "")
    last = ""
    if not by_name.get("impression") and not by_name.get("findings"):
        paragraphs = PARAGRAPH.split(report[starts[-1][1] :])
        last = next((fold(part) for part in reversed(paragraphs) if fold(part)), "")
    return Sections(by_name, last)


def fold(text: str) -> str:
    """Runs of white space become one blank."""
    return " ".join(text.split())


def _header_marks(report: str) -> list[tuple[int, int, str]]:
    """Where each header begins and ends, and the section it opens."""
    return [(match.start(), match.end(), canonical_name(match[1])) for match in HEADER.finditer(report)]


def _exception_marks(report: str, exception: Mapping[str, str]) -> list[tuple[int, int, str]]:
    marks = []
    for name, opening in exception.items():
        start = report.find(opening)
        if start < 0:
            raise ValueError(f"its section '{name}' should begin with '{opening}', which is not in it")
        marks.append((start, start + len(opening) if opening.rstrip().endswith(":") else start, name))
    return sorted(marks)


def canonical_name(header: str) -> str:
    """The section a header opens; a header of no known kind opens a section of its own name.

    >>> [canonical_name(header) for header in ("FINDINGS AND IMPRESSION", "CHEST, TWO VIEWS", "DOSE")]
    ['impression', 'findings', 'dose']
    """
    name = fold(header).lower()
    if name in _spellings():
        return _spellings()[name]
    main = next((word for word in MAIN if word in name), None)
    if main is not None:
        return main
    return "findings" if VIEW.search(name) else name


@cache
def _spellings() -> dict[str, str]:
    text = files("unix_bench.data").joinpath("sections.toml").read_text(encoding="utf-8")
    return {spelling: name for name, spellings in tomllib.loads(text).items() for spelling in (name, *spellings)}
