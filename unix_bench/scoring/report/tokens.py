"""Words of a report, split exactly as nltk 3.9.2's `word_tokenize` does; case is kept.

Sentences by Punkt, then within each sentence the Treebank conventions as nltk's own word tokeniser has them: marks
stand alone, `,` and `:` do unless a digit follows, a period only at the sentence's end; "don't" is "do n't"; double
quotes become `` and ''. The rules are written out here because nltk's change with its versions, and a BLEU with them.
"""

from __future__ import annotations

import re

from unix_bench.scoring.report.sentences import sentences

TOKENISER = "nltk 3.9.2, Treebank and Punkt English"

QUOTES = "'\"`"
OPENING = re.compile(r"[«“‘„]|`+")
OPENING_DOUBLE = re.compile(r"([ (\[{<])(?:\"|'')")
OPENING_SINGLE = re.compile(r"(?i)'(?!re|ve|ll|m|t|s|d|n)(?=\w\b)")
CLOSING = re.compile(r"[»”’]")
CLITICS = (  # the second finds what the first has parted: "you're's"
    re.compile(r"(?<=[^' ])('[sSmMdD]?) "),
    re.compile(r"(?<=[^' ])('(?:ll|LL|re|RE|ve|VE)|n't|N'T) "),
)
LONE_SINGLE = re.compile(r"([^'])' ")
AFTER_PERIOD = "])}>\"'»”’ "  # what may stand between the last period and the sentence's end
PAUSE = re.compile(r"([:,])(\D)")
DOTS = re.compile(r"\.{2,}")
# Contractions cut where their second word begins; those of `JOINED` hold no apostrophe.
JOINED = ("cannot", "gimme", "gonna", "gotta", "lemme", "wanna")
CONTRACTIONS = (
    re.compile(
        r"(?i)\b(can(?=not\b)|d(?='ye\b)|gim(?=me\b)|gon(?=na\b)|got(?=ta\b)|lem(?=me\b)|more(?='n\b)|wan(?=na\s))"
        r"(not|'ye|me|na|ta|'n)"
    ),
    re.compile(r"(?i) ('t)(is)\b"),
    re.compile(r"(?i) ('t)(was)\b"),
)


def words(text: str) -> list[str]:
    """Tokens of a text, in order; none for an empty or blank one.

    >>> words("No effusion. Heart size isn't 1.5 cm larger.")
    ['No', 'effusion', '.', 'Heart', 'size', 'is', "n't", '1.5', 'cm', 'larger', '.']
    """
    parts = sentences(text)
    if _is_plain(text):  # none of the rules left reaches across a space: once for all sentences
        return _part_marks(" ".join(map(_part_period, parts))).split()
    return [word for sentence in parts for word in _part_quotes_and_marks(sentence)]


def _is_plain(text: str) -> bool:
    """Whether it holds neither quotes nor contractions: then the rules for them, half of all, cannot apply."""
    lowered = text.lower()
    return text.isascii() and not any(sign in lowered for sign in (*QUOTES, *JOINED))


def _part_quotes_and_marks(sentence: str) -> list[str]:
    """All rules, in the order that gives nltk's words: many see what a former one has parted."""
    text = _part_marks(_part_period(_open_quotes(sentence)))
    return _part_contractions(_close_quotes(text)).split()


def _part_marks(text: str) -> str:
    if "," in text or ":" in text:
        text = PAUSE.sub(r" \1 \2", text)
        if text.endswith((",", ":")):
            text = f"{text[:-1]} {text[-1]} "
    if ".." in text:
        text = DOTS.sub(r" \g<0> ", text)
    for mark in ";@#$%&?!":
        text = text.replace(mark, f" {mark} ")
    text = LONE_SINGLE.sub(r"\1 ' ", text) if "' " in text else text
    for mark in ("*", *"[](){}<>", "--"):
        text = text.replace(mark, f" {mark} ")
    return text


def _open_quotes(text: str) -> str:
    text = OPENING.sub(r" \g<0> ", text)
    if text.startswith('"'):
        text = f"``{text[1:]}"
    text = text.replace("``", " `` ")
    text = OPENING_DOUBLE.sub(r"\1 `` ", text)
    return OPENING_SINGLE.sub("' ", text)


def _part_period(text: str) -> str:
    body = text.rstrip()
    head = body.rstrip(AFTER_PERIOD)
    if len(head) < 2 or head[-1] != "." or head[-2] == ".":
        return text
    return f"{head[:-1]} . {body[len(head) :]} "


def _close_quotes(text: str) -> str:
    text = CLOSING.sub(r" \g<0> ", text)
    text = text.replace("''", " '' ").replace('"', " '' ")
    return f" {' '.join(text.split())} "


def _part_contractions(text: str) -> str:
    for clitic in CLITICS:
        text = clitic.sub(r" \1 ", text)
    for pattern in CONTRACTIONS:
        text = pattern.sub(r" \1 \2 ", text)
    return text
