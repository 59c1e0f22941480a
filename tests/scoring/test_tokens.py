"""Tokens against golden values and, on anything that can be written, against nltk 3.9.2 itself with the same tables."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import nltk
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
from punkt.data import english

from unix_bench.scoring.report.sentences import sentences
from unix_bench.scoring.report.tokens import words

GOLDEN = Path(__file__).parents[1] / "golden" / "report_metrics"
IU = Path(__file__).parents[3] / "shared" / "data" / "iu_xray" / "reports.jsonl"
WORDS = (
    "No effusion Heart lungs U The dr Dr p.m vs e.g St XXXX cannot gonna d'ye more'n 'tis wanna don't we're I'LL it's "
    "1 1.5 3 2,000 10:30 T1-T2 50% $3 #4 @home & é - -- --- / . .. ... ! ? !!! ?! , : ; ( ) [ ] { } < > * ' '' ` `` "
    '"'
)
SIGNS = "中 🫁 \u2014 \u2026 \u2018 \u2019 \u201c \u201d « »"
BEFORE = "effusion Dr p.m j J b B I x 3 1.5 -2 2,000 5-st no-such U.S e.g . .. normal! what? (now) '"
PIECES = st.sampled_from(
    [*WORDS.split(), *SIGNS.split(), ". . .", "\n", "\n\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\x00", " "]
)
TEXTS = st.lists(PIECES | st.just(" "), max_size=24).map("".join) | st.text(max_size=40)


@cache
def punkt() -> PunktSentenceTokenizer:
    parameters = PunktParameters()
    parameters.abbrev_types = set(english.ABBREV_TYPES)
    parameters.collocations = set(english.COLLOCATIONS)
    parameters.sent_starters = set(english.SENT_STARTERS)
    parameters.ortho_context.update(english.ORTHO_CONTEXT)
    return PunktSentenceTokenizer(parameters)


def nltk_words(text: str) -> list[str]:
    tokenizer = NLTKWordTokenizer()
    return [word for sentence in punkt().tokenize(text) for word in tokenizer.tokenize(sentence)]


def test_golden_tokens() -> None:
    for line in (GOLDEN / "pairs.jsonl").read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        for side in ("hyp", "ref"):
            if pair[f"{side}_tokens"] is not None:
                assert words(pair[side]) == pair[f"{side}_tokens"], pair["id"]


@pytest.mark.skipif(nltk.__version__ != "3.9.2", reason="the tokens are those of nltk 3.9.2")
@settings(max_examples=600, deadline=None)
@given(TEXTS)
@example('Clear!!! . . . (No change.) "Seen at 3 p.m." It\'s 1.5 cm. 2. Heart: normal,')
@example("\ud800 lone surrogate")
@example("\n!?)")
def test_against_nltk(text: str) -> None:
    assert sentences(text) == punkt().tokenize(text)
    assert words(text) == nltk_words(text)


@pytest.mark.skipif(nltk.__version__ != "3.9.2", reason="the tokens are those of nltk 3.9.2")
def test_decisions_of_punkt_against_nltk() -> None:
    """Each kind of word before a period with each kind of word after it, and what the tables know of both."""
    seen_small_at_start = [word for word, context in english.ORTHO_CONTEXT.items() if context & 1 << 4]
    after = ["the", "The", "who", "Xyzzy", "xyzzy", "Bain", "julian", "X-ray", "1", ",", "- no", "(no", '"No', "XXXX"]
    texts = [
        f"a {left}. {right} c" for left in BEFORE.split() for right in (*after, *map(str.title, english.SENT_STARTERS))
    ]
    texts += [f"a {left}. {right} c" for left in ("dr", "j", "3") for right in seen_small_at_start]
    texts += [f"a {left}. {right} c" for left in english.ABBREV_TYPES for right in ("the", "The", "Xyzzy")]
    texts += [f"a {left}. {right} c" for pair in english.COLLOCATIONS for left, right in (pair, map(str.title, pair))]
    texts = [text.replace("##number##", "7").replace("##Number##", "7") for text in texts]
    for text in texts:
        assert sentences(text) == punkt().tokenize(text)


@pytest.mark.skipif(nltk.__version__ != "3.9.2", reason="the tokens are those of nltk 3.9.2")
def test_rules_for_words_against_nltk() -> None:
    """Each contraction and number between each pair of quotes, brackets and marks."""
    whole = (
        "cannot Gimme gonna gotta lemme WANNA d'ye more'n 'tis 'Twas 't he'd HE'D I'm it's they'll WE'VE you're don't "
        "DON'T you're's s' 'a 'em O'Neil 1.5 3,000 12:30 T1-T2 a--b ..."
    )
    opening = ["", '"', "'", "''", "(", '("', "<", "“", "‘", "«", "„", "`", "``", "—"]
    closing = [
        "",
        ".",
        ").",
        ".)",
        ". )",
        '."',
        ".'",
        ".”",
        ",",
        ":",
        ",,",
        "?",
        "'",
        "''",
        '"',
        "’",
        "»",
        ";",
        "*",
        "--",
    ]
    for word in whole.split():
        for text in (f"So {left}{word}{right}" for left in opening for right in closing):
            assert words(text) == nltk_words(text), text
            assert words(f"{text} x") == nltk_words(f"{text} x"), text


@pytest.mark.skipif(nltk.__version__ != "3.9.2" or not IU.is_file(), reason="needs nltk 3.9.2 and the reports")
def test_real_reports_against_nltk() -> None:
    for line in IU.read_text(encoding="utf-8").splitlines()[::5]:
        row = json.loads(line)
        text = " ".join(str(row.get(part) or "") for part in ("findings", "impression"))
        assert words(text) == nltk_words(text)


def test_tables_are_as_long_as_the_files_of_punkt_tab() -> None:
    """Entries and characters of the four files of nltk's own `punkt_tab/english`, which are not installed."""
    files = {
        "abbrev_types.txt": list(english.ABBREV_TYPES),
        "sent_starters.txt": list(english.SENT_STARTERS),
        "collocations.tab": ["\t".join(pair) for pair in english.COLLOCATIONS],
        "ortho_context.tab": [f"{word}\t{context}" for word, context in english.ORTHO_CONTEXT.items()],
    }
    assert {name: (len(lines), len("\n".join(lines))) for name, lines in files.items()} == {
        "abbrev_types.txt": (156, 619),
        "sent_starters.txt": (39, 241),
        "collocations.tab": (37, 594),
        "ortho_context.tab": (20366, 236303),
    }


def test_the_tokeniser_does_not_need_nltk() -> None:
    import subprocess
    import sys

    code = "import sys; import unix_bench.scoring.report; sys.exit('nltk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("text", ["effusion " * 10_000, "." * 10_000, "a.b" * 5_000, "'" * 3_000, "(" * 5_000])
def test_long_texts(text: str) -> None:
    assert "".join(words(text)).replace(" ", "")
