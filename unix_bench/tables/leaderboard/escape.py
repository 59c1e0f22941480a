"""What others wrote, such as a model's name, in CSV, LaTeX and Markdown; none of it is ever markup."""

from __future__ import annotations

import re
import unicodedata

from unix_bench.tables.harmless import harmless

LONGEST = 48  # characters of a word in LaTeX, which cannot break it
INJECTED = ("=", "+", "-", "@")  # a spreadsheet takes what begins so for a formula
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # which would be taken for arguments
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "−": "$-$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "°": r"$^{\circ}$",
}
MARKDOWN = frozenset("\\`*_{}[]<>#|~&$!@")


def csv_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    >>> csv_text("=1+1"), csv_text("unix")
    ("'=1+1", 'unix')
    """
    line = harmless(text)
    return f"'{line}" if line.startswith(INJECTED) else line


def latex(text: str) -> str:
    r"""Text in LaTeX: special characters escaped, letters that pdflatex may not have as their nearest, words cut.

    >>> latex("a_b & 50 %")
    'a\\_b \\& 50 \\%'
    """
    words = (_short(word) for word in harmless(text).split(" "))
    escaped = "".join(LATEX.get(letter) or _ascii(letter) for letter in " ".join(words))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row would be a dash


def markdown(text: str) -> str:
    r"""Text in a cell of a Markdown table.

    >>> markdown("a|b")
    'a\\|b'
    """
    return "".join(f"\\{letter}" if letter in MARKDOWN else letter for letter in harmless(text))


def _short(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[: LONGEST // 2]}...{word[-LONGEST // 4 :]}"


def _ascii(letter: str) -> str:
    if letter.isascii():
        return letter
    nearest = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return "".join(LATEX.get(one, one) for one in nearest) or "?"
