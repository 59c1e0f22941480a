"""`rule14`: the 14 CheXpert observations of a report by rules, for places where CheXbert is not at hand.

A report is cut into sentences; each is read once from left to right as a row of marks (findings, subjects such as the
heart and their states, words that negate or make uncertain, words that end a scope); a mark's scope decides what a
mention says. The lexicon is data, `rule14.toml`. The classes and how mentions become labels follow CheXpert
(Irvin et al., arXiv 1901.07031, section 3); lexicon, rules and code are our own.

It never fills a column named CheXbert: it was compared with people's tags (`docs/rule14.md`), never with CheXbert.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import FINDINGS

RULES = "1"  # raised whenever the code below changes a label
BLANK, POSITIVE, NEGATIVE, UNCERTAIN = range(4)  # CheXbert's coding
STRENGTH = {BLANK: 0, NEGATIVE: 1, UNCERTAIN: 2, POSITIVE: 3}  # of two mentions of a finding the stronger one counts

OTHER = "Other"  # an abnormality outside the 14: no column, but a report that holds one has not "No Finding"
COLUMNS = {finding: column for column, finding in enumerate((*FINDINGS, OTHER))}
NO_FINDING, DEVICES = COLUMNS["No Finding"], COLUMNS["Support Devices"]

# Sentences end at a full stop that is no decimal point and follows no abbreviation, at other stops before a space, at
# an empty line, and at a line break before a capital, digit or bullet (a line that only wraps goes on in lower case).
SENTENCE_END = re.compile(
    r"(?<!\bvs)(?<!\b[Dd]r)(?<!\bapprox)(?<!\b[ei]\.[ge])\.(?=\s|$|[A-Z(])"
    r"|[!;](?=\s|$)|(?<=\w)\?(?=\s|$)|\n(?=[ \t]*(?:\n|[A-Z0-9*•-]))"
)
QUESTION = re.compile(r"\?(?=\s*\w)")  # "? pneumonia"
APART = re.compile(r"([,:])|[()\[\]]")
DROPPED = re.compile(r"[^a-z0-9,: ]+")


@dataclass(frozen=True)
class Lexicon:
    """`rule14.toml`, compiled.

    Attributes:
        marks: One pattern for every mark; its groups are numbered.
        meanings: Kind and name of each group, group 1 first.
        pairs: (subject, state) to column and label.
        digest: sha256 of the file.
    """

    marks: re.Pattern[str]
    meanings: tuple[tuple[str, str], ...]
    findings: Mapping[str, tuple[int, ...]]
    pairs: Mapping[tuple[str, str], tuple[int, int]]
    digest: str


@dataclass(frozen=True)
class Mark:
    """A stretch of a sentence that means something.

    Attributes:
        kind: "mention", "state", "subject", "comma", "or", or a kind of cue.
        name: Which mention, state or subject.
        negated: Whether it stands in the scope of a negation.
        uncertain: Whether it stands in the scope of a doubt.
    """

    kind: str
    name: str
    negated: bool = False
    uncertain: bool = False


class Rule14:
    """Labels reports by rules; see the module.

    >>> labels = Rule14().label(["Small left effusion. No pneumothorax.", "Normal chest."])
    >>> labels[0, FINDINGS.index("Pleural Effusion")], labels[0, FINDINGS.index("Pneumothorax")], labels[1, 13]
    (np.int8(1), np.int8(2), np.int8(1))
    """

    name = "rule14"
    stand_in = True

    @cached_property
    def digest(self) -> str:
        """sha256 of the lexicon and the version of the rules: what decides a label."""
        return hashlib.sha256(f"{_lexicon().digest} {RULES}".encode()).hexdigest()

    def label(self, texts: Sequence[str]) -> NDArray[np.int8]:
        """The findings of each report, columns in the order of `FINDINGS`.

        Within a report a positive mention outweighs an uncertain one, and that a negative one. No Finding is 1 where no
        finding but Support Devices is positive or uncertain, those outside the 14 included (emphysema, scoliosis); a
        text that says nothing is such a report too.

        Returns:
            [n, 14]: 0 blank, 1 positive, 2 negative, 3 uncertain; No Finding is 0 or 1.
        """
        read: dict[str, tuple[tuple[int, int], ...]] = {}  # reports repeat many sentences
        rows = np.zeros((len(texts), len(COLUMNS)), dtype=np.int8)
        for row, text in zip(rows, texts, strict=True):
            for sentence in sentences(text):
                if sentence not in read:
                    read[sentence] = tuple(_read(sentence, _lexicon()))
                for column, label in read[sentence]:
                    if STRENGTH[label] > STRENGTH[int(row[column])]:
                        row[column] = label
        found = (rows == POSITIVE) | (rows == UNCERTAIN)
        found[:, DEVICES] = False
        rows[:, NO_FINDING] = ~found.any(axis=1)
        return rows[:, : len(FINDINGS)].copy()


def sentences(text: str) -> list[str]:
    """The sentences of a report in lower case: words, commas and colons, one space apart.

    >>> sentences("Well-expanded lungs, 1.5 cm nodule.No effusion; ? pneumonia vs. edema")
    ['well expanded lungs , 1 5 cm nodule', 'no effusion', 'questionable pneumonia vs edema']
    """
    plain = unicodedata.normalize("NFKC", text).replace("\r\n", "\n").replace("\r", "\n")
    return [clean for part in SENTENCE_END.split(plain) if (clean := _clean(part))]


def _clean(part: str) -> str:
    lowered = QUESTION.sub(" questionable ", part).lower().replace("'", "").replace("’", "")
    return " ".join(DROPPED.sub(" ", APART.sub(lambda found: f" {found[1] or ','} ", lowered)).split())


@cache
def _lexicon() -> Lexicon:
    raw = files("unix_bench.features").joinpath("rule14.toml").read_bytes()
    stated = tomllib.loads(raw.decode("utf-8"))
    findings = {str(index): entry for index, entry in enumerate(stated["mention"])}
    entries: list[tuple[str, str, list[str]]] = [
        *((kind, "", patterns) for kind, patterns in stated["cues"].items()),
        *(("mention", name, entry["patterns"]) for name, entry in findings.items()),
        *(("state", name, patterns) for name, patterns in stated["states"].items()),
        *(("subject", name, patterns) for name, patterns in stated["subjects"].items()),
        ("comma", "", [","]),
        ("or", "", ["or", "and"]),
    ]
    groups = "|".join(f"({'|'.join(_uncaptured(pattern) for pattern in patterns)})" for _, _, patterns in entries)
    return Lexicon(
        re.compile(f"(?<![a-z0-9])(?:{groups})(?![a-z0-9])"),
        tuple((kind, name) for kind, name, _ in entries),
        {name: tuple(COLUMNS[finding] for finding in entry["findings"]) for name, entry in findings.items()},
        {
            (subject, state): (COLUMNS[finding], label)
            for subject, states in stated["pairs"].items()
            for state, (finding, label) in states.items()
        },
        hashlib.sha256(raw).hexdigest(),
    )


def _uncaptured(pattern: str) -> str:
    """The pattern, certain to hold no group of its own: groups are counted."""
    if re.compile(pattern).groups:
        raise ValueError(f"rule14.toml: '{pattern}' captures a group: write (?:...)")
    return pattern


def _read(sentence: str, lexicon: Lexicon) -> Iterable[tuple[int, int]]:
    """Columns and labels that one sentence states, in the order of its words."""
    marks = [Mark(*lexicon.meanings[(found.lastindex or 1) - 1]) for found in lexicon.marks.finditer(sentence)]
    marks = _scoped_backwards(_scoped_forwards(marks))
    for mark in marks:
        if mark.kind == "mention":
            yield from ((column, _said(mark, POSITIVE)) for column in lexicon.findings[mark.name])
    yield from _described(marks, lexicon.pairs)


def _scoped_forwards(marks: Iterable[Mark]) -> list[Mark]:
    """Marks with what the cues before them make of them: "no effusion", "possible pneumonia"."""
    scoped = []
    negated = uncertain = False
    for mark in marks:
        match mark.kind:
            case "stop" | "clause" | "negation_after" | "uncertainty_after":
                negated = uncertain = False
            case "affirm":
                negated = False
            case "settle":
                uncertain = False
            case "negation_before":
                negated = True
            case "uncertainty_before" | "uncertainty_both":
                uncertain = True
        scoped.append(replace(mark, negated=negated, uncertain=uncertain))
    return scoped


def _scoped_backwards(marks: Sequence[Mark]) -> list[Mark]:
    """Marks with what the cues after them make of them too: "effusion has resolved", "pneumonia is not excluded".

    A comma ends such a scope unless the list it belongs to has shown its "or": "effusion, edema or mass is not seen".
    """
    scoped = []
    negated = uncertain = listed = False
    for mark in reversed(marks):
        match mark.kind:
            case "stop" | "clause" | "negation_before" | "uncertainty_before":
                negated = uncertain = False
            case "comma" if not listed:
                negated = uncertain = False
            case "or":
                listed = True
            case "negation_after":
                negated, uncertain, listed = True, False, False
            case "uncertainty_after" | "uncertainty_both":
                negated, uncertain, listed = False, True, False
        scoped.append(replace(mark, negated=mark.negated or negated, uncertain=mark.uncertain or uncertain))
    return scoped[::-1]


def _said(mark: Mark, label: int) -> int:
    """The label that a mark's scope leaves of one; what is denied is not doubted as well."""
    if mark.negated:
        return NEGATIVE
    return UNCERTAIN if mark.uncertain and label == POSITIVE else label


def _described(marks: Iterable[Mark], pairs: Mapping[tuple[str, str], tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Columns and labels from subjects and their states.

    A state describes all subjects since the last state ("heart and mediastinum are normal"); where there is none, those
    that follow it up to the next ("enlarged heart"). "Unchanged" counts only where a subject has no other state, and a
    state right before a mention is that mention's ("mediastinal and large calcifications").
    """
    waiting: list[str] = []  # subjects without a state
    leading: Mark | None = None  # a state without a subject
    weak: Mark | None = None
    for mark, following in pairwise((*marks, Mark("stop", ""), Mark("stop", ""))):
        if mark.kind == "subject":
            waiting.append(mark.name)
            if leading is not None:
                yield from _paired(waiting[-1:], leading, pairs)
                waiting.pop()
        elif mark.kind == "state" and mark.name == "unchanged":
            weak = mark
        elif mark.kind == "state" and (mark.name == "normal" or following.kind != "mention"):
            yield from _paired(waiting, mark, pairs)
            leading = None if waiting else mark
            waiting, weak = [], None
        elif mark.kind in ("stop", "clause", "mention"):
            leading = None
            if mark.kind == "stop":
                if weak is not None:
                    yield from _paired(waiting, weak, pairs)
                waiting, weak = [], None


def _paired(
    subjects: Iterable[str], state: Mark, pairs: Mapping[tuple[str, str], tuple[int, int]]
) -> Iterable[tuple[int, int]]:
    """What a state says of subjects; a state that is doubted or denied says so of each."""
    for subject in subjects:
        if (subject, state.name) in pairs:
            column, label = pairs[subject, state.name]
            yield column, _said(state, label)
