"""Sections of a raw radiology report: findings, impression, indication and their kin.

A header is a run of capitals at the beginning of a line, ended by a colon. Its many spellings are data
(`sections.toml`); a report that needs its own treatment is named in a file of the user's. Follows the behaviour of
MIT-LCP's parser for MIMIC-CXR (`section_parser.py` in mimic-cxr), written anew.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

HEADER = re.compile(r"^[ \t]*([A-Z][A-Z ()/,&'\-]*?)[ \t]*:", re.MULTILINE)
PARAGRAPH = re.compile(r"\n[ \t]*\n")
PREAMBLE = "preamble"


@dataclass(frozen=True)
class Sections:
    """The sections of one report.

    Attributes:
        by_name: Canonical name -> text, white space folded; a section that occurs twice is joined in order.
        last_paragraph: What a report without headers says last.
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

    >>> parse_sections("FINAL REPORT\n INDICATION: Cough.\n\n FINDINGS: Clear\n lungs.").text("findings")
    'Clear lungs.'
    """
    marks = _exception_marks(report, exception) if exception else _header_marks(report)
    parts: dict[str, list[str]] = {}
    starts = [(0, 0, PREAMBLE), *marks]
    for (_, begin, name), (end, _, _) in zip(starts, [*starts[1:], (len(report), 0, "")], strict=True):
        text = fold(report[begin:end])
        if text or name != PREAMBLE:
            parts.setdefault(name, []).append(text)
    by_name = {name: " ".join(filter(None, texts)) for name, texts in parts.items()}
    paragraphs = [fold(part) for part in PARAGRAPH.split(report)]
    return Sections(by_name, next((part for part in reversed(paragraphs) if part), ""))


def fold(text: str) -> str:
    """Runs of white space become one blank."""
    return " ".join(text.split())


def _header_marks(report: str) -> list[tuple[int, int, str]]:
    """Where each header begins and ends, and the section it opens."""
    marks = []
    for match in HEADER.finditer(report):
        name = canonical_name(match[1])
        if name is not None:
            marks.append((match.start(), match.end(), name))
    return marks


def _exception_marks(report: str, exception: Mapping[str, str]) -> list[tuple[int, int, str]]:
    marks = []
    for name, opening in exception.items():
        start = report.find(opening)
        if start >= 0:
            is_header = opening.rstrip().endswith(":")
            marks.append((start, start + len(opening) if is_header else start, name))
    return sorted(marks)


def canonical_name(header: str) -> str | None:
    """The section a header opens; None for capitals that are none.

    >>> canonical_name("PROVISIONAL FINDINGS IMPRESSION (PFI)")
    'impression'
    """
    return _spellings().get(fold(header).lower())


@cache
def _spellings() -> dict[str, str]:
    text = files("unix_bench.data").joinpath("sections.toml").read_text(encoding="utf-8")
    return {spelling: name for name, spellings in tomllib.loads(text).items() for spelling in (name, *spellings)}
