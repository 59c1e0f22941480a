r"""The report within what a model wrote: all of it, what it put in its last \boxed{}, or one named section.

Text that holds no such answer is no report: a `NoAnswer`, by which the sample fails. Its message never repeats the
text, which may describe a patient.
"""

from __future__ import annotations

import re
from typing import Literal

Extract = Literal["all", "boxed", "section"]

BOX, TEXT = "\\boxed{", "\\text{"
# What reports call their parts; any of them ends the section before it. Words such as "Lungs:" do not.
HEADINGS = (
    "answer",
    "clinical history",
    "clinical indication",
    "clinical information",
    "comparison",
    "conclusion",
    "disclaimer",
    "exam",
    "examination",
    "findings",
    "history",
    "impression",
    "indication",
    "recommendation",
    "recommendations",
    "summary",
    "technique",
)
MARK = r"(?:(?:[-*+\u2022]|\d{1,2}[.)])[ \t]+)?"  # of a list


class NoAnswer(ValueError):
    """A text holds no answer to take from it."""


def answer(text: str, extract: Extract, section: str) -> str:
    r"""The report, without white space around it.

    Args:
        text: What the model wrote.
        extract: "all", "boxed" or "section".
        section: Name of the section; for "section" alone.

    Raises:
        NoAnswer: There is none, or the box or section is empty.

    >>> answer("I see no effusion. \\boxed{No acute {cardiopulmonary} disease.}", "boxed", "")
    'No acute {cardiopulmonary} disease.'
    >>> answer("FINDINGS: Clear lungs. IMPRESSION: Normal.", "section", "findings")
    'Clear lungs.'
    """
    found = text if extract == "all" else boxed(text) if extract == "boxed" else section_of(text, section)
    if extract != "all" and not found.strip():  # of "all", nothing is a report too: a bad one, not a failure
        raise NoAnswer("the answer is there and is empty")
    return found.strip()


def boxed(text: str) -> str:
    r"""What the last `\boxed{...}` holds that is not empty, by matching braces; of nested ones the outer counts.

    A brace after a backslash is a character like any other; of `\text{...}` the words are taken.

    Raises:
        NoAnswer: There is none, or the last one is not closed.
    """
    start, content = text.find(BOX), None
    while start >= 0:
        end = _closing_brace(text, start + len(BOX))
        if end is None:
            raise NoAnswer(f"its last {BOX}}} is not closed")
        held, start = _words_of(text[start + len(BOX) : end]), text.find(BOX, end)
        content = held if held.strip() or content is None else content
    if content is None:
        raise NoAnswer(f"there is no {BOX}}}")
    return content


def _words_of(held: str) -> str:
    r"""A box's content without the `\text{...}` around its words."""
    start = held.find(TEXT)
    while start >= 0:
        end = _closing_brace(held, start + len(TEXT))
        if end is None:
            return held
        held = held[:start] + held[start + len(TEXT) : end] + held[end + 1 :]
        start = held.find(TEXT, start)
    return held


def _closing_brace(text: str, start: int) -> int | None:
    """Where the brace ends that was opened just before `start`."""
    depth, place = 1, start
    while place < len(text):
        if text[place] == "\\":
            place += 2  # a backslash takes away the meaning of what follows it
            continue
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
        place += 1
    return None


def section_of(text: str, name: str) -> str:
    """The last section of that name: between its tags where there are any, else up to the next heading or the end.

    Tags are `<findings>` and `</findings>`. A heading is
    `FINDINGS:` in capitals anywhere, `Findings:` or `**Findings**` at the start of a line or alone on it, or
    `## Findings`; a list's mark, such as `1.` or `-`, may stand before it.

    Raises:
        NoAnswer: There is none, or its tag is not closed.
    """
    headings = list(_heading_of((*HEADINGS, name.lower())).finditer(text))
    own = [index for index, heading in enumerate(headings) if _words(heading) == name.lower()]
    if not own:
        raise NoAnswer(f"there is no section '{name}'")
    heading = headings[own[-1]]
    tagged = _between_tags(text, name)
    if heading["tag"] and not re.search(rf"</{re.escape(name)}>", text[heading.end() :], re.IGNORECASE):
        raise NoAnswer(f"its section <{name}> is not closed")
    if tagged:
        return tagged[-1]
    after = headings[own[-1] + 1 :]
    return text[heading.end() : after[0].start() if after else len(text)]


def _between_tags(text: str, name: str) -> list[str]:
    """What stands in each pair of tags; of an opening one that is opened again, from the last."""
    opened = rf"<{re.escape(name)}>"
    return re.findall(rf"{opened}((?:(?!{opened}).)*?)</{re.escape(name)}>", text, re.IGNORECASE | re.DOTALL)


def _heading_of(names: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(re.escape(name) for name in sorted(set(names), key=lambda name: (-len(name), name)))
    capitals = "|".join(re.escape(name.upper()) for name in sorted(set(names), key=lambda name: (-len(name), name)))
    return re.compile(
        rf"<(?P<tag>(?i:{either}))>"
        rf"|^[ \t]*{MARK}\#{{1,6}}[ \t]+\**{MARK}(?P<hash>(?i:{either}))\**[ \t]*:?\**[ \t]*$"
        rf"|^[ \t]*{MARK}\*\*{MARK}(?P<bold>(?i:{either}))(?::\*\*|\*\*[ \t]*:?)"
        rf"|^[ \t]*{MARK}(?P<line>(?i:{either}))[ \t]*(?::|$)"
        rf"|(?<![\w*])(?P<capitals>{capitals}):",
        re.MULTILINE,
    )


def _words(heading: re.Match[str]) -> str:
    return next(words for words in heading.groupdict().values() if words).lower()
