"""Texts of others, such as a model's name or a report, without what steers a terminal, a page or an XML reader."""

from __future__ import annotations

import re

REMOVED = "\N{REPLACEMENT CHARACTER}"
CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
SURROGATES = "\ud800-\udfff"
NO_CHARACTERS = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
HARMFUL = re.compile(f"[{CONTROL}{DIRECTION}{SURROGATES}{NO_CHARACTERS}]")


def harmless(text: str, keep_lines: bool = False) -> str:
    r"""The text; each control or direction character, surrogate and non-character becomes a replacement character.

    Args:
        text: Anybody's.
        keep_lines: Leave line breaks and tabs; otherwise it becomes one line, any white space in it one space.

    >>> harmless("a\x1b[31m\r\nb")
    'a�[31m b'
    """
    return HARMFUL.sub(REMOVED, text.replace("\r\n", "\n") if keep_lines else " ".join(text.split()))
