"""Texts of others, whatever they hold: fit for XML and a terminal, and otherwise as they were."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unix_bench.tables.harmless import REMOVED, harmless
from unix_bench.tables.html import element

TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANYTHING, st.booleans())
def test_what_is_left_steers_nothing(text: str, keep_lines: bool) -> None:
    left = harmless(text, keep_lines)
    allowed = "\n\t" if keep_lines else ""
    for letter in left:
        assert letter in allowed or unicodedata.category(letter) not in ("Cc", "Cs"), hex(ord(letter))
        assert unicodedata.bidirectional(letter) not in TURNS
        assert ord(letter) & 0xFFFE != 0xFFFE
        assert not 0xFDD0 <= ord(letter) <= 0xFDEF
    assert harmless(left, keep_lines) == left
    assert ElementTree.fromstring(element("p", text)).tag == "p"


@pytest.mark.parametrize("text", ["Größe 2 µm", "心臓", "👩\u200d⚕️", "العربية", "a < b & c"])
def test_words_stay(text: str) -> None:
    assert harmless(text) == harmless(text, keep_lines=True) == text


def test_lines() -> None:
    assert harmless(" one\r\n\ttwo\u2028three\x00") == f"one two three{REMOVED}"
    assert harmless(" one\r\n\ttwo", keep_lines=True) == " one\n\ttwo"
