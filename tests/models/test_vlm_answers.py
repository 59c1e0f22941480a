"""Taking the report out of what a model wrote."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unix_bench.models.vlm.answers import HEADINGS, NoAnswer, answer, boxed, section_of

PLAIN = st.text(alphabet="abc .,:\n", max_size=20)
BALANCED = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "".join(parts) + "}"))


@given(before=PLAIN, inner=BALANCED, after=PLAIN)
def test_a_box_gives_back_what_was_put_in(before: str, inner: str, after: str) -> None:
    assert boxed(f"{before}\\boxed{{{inner}}}{after}") == inner
    assert boxed(f"\\boxed{{first}} {before}\\boxed{{{inner}}}{after}") == (inner if inner.strip() else "first")


@given(before=PLAIN, inner=BALANCED)
def test_an_unclosed_box_is_no_answer(before: str, inner: str) -> None:
    for text in (f"{before}\\boxed{{{inner}", f"\\boxed{{closed}} {before}\\boxed{{{inner}"):
        with pytest.raises(NoAnswer, match="is not closed"):
            boxed(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{a \boxed{b} c}", r"a \boxed{b} c"),
        (r"\boxed{size \} 3}", r"size \} 3"),
        (r"\boxed{\text{Clear lungs.}}", "Clear lungs."),
        (r"\boxed{\text{Clear {left} lung.} \text{No effusion.}}", "Clear {left} lung. No effusion."),
        (r"\boxed{\textbf{Clear}}", r"\textbf{Clear}"),
        (r"\boxed{Clear.} (using \boxed{})", "Clear."),
        (r"\boxed{Clear.} \boxed{\text{ }}", "Clear."),
        (r"\boxed{}", ""),
    ],
)
def test_boxes(text: str, found: str) -> None:
    assert boxed(text) == found


BODY = "The heart: normal.\nLungs: clear, no impression of edema.\n- No effusion."


@pytest.mark.parametrize(
    "heading",
    ["FINDINGS:", "Findings:", "findings :", "**Findings:**", "**Findings**:", "## Findings", "FINDINGS",
     "1. Findings:", "2) **Findings:**", "- **Findings:**", "* Findings:", "\u2022 FINDINGS:", "## 1. Findings",
     "**1. Findings:**"],
)  # fmt: skip
@pytest.mark.parametrize(
    "end", ["IMPRESSION:", "**Impression:**", "## Impression", "Impression: normal", "Conclusion:",
            "2. Impression:", "- **Impression:** normal", "3. CONCLUSION:"],
)  # fmt: skip
def test_a_section_ends_at_the_next_heading(heading: str, end: str) -> None:
    text = f"Technique: PA view.\n{heading}\n{BODY}\n{end}\nNormal."
    assert answer(text, "section", "Findings") == BODY
    assert answer(f"{heading}\n{BODY}", "section", "FINDINGS") == BODY


def test_headings_in_one_line_and_the_last_of_a_name() -> None:
    text = "FINDINGS: Draft. IMPRESSION: x\nFINDINGS: Clear. IMPRESSION: None."
    assert answer(text, "section", "findings") == "Clear."
    assert answer("### **Findings:**\nClear.\n#### Impression\nNone.", "section", "findings") == "Clear."
    with pytest.raises(NoAnswer, match="no section 'findings'"):
        section_of("The findings are normal. Other findings: none.", "findings")


def test_closed_tags_come_before_headings() -> None:
    assert answer("<answer>Clear.</answer>\nAnswer: no", "section", "answer") == "Clear."
    assert answer("<answer>Draft.</answer>\nAnswer: no <ANSWER>Clear.</Answer>", "section", "answer") == "Clear."
    assert answer("I put it in <answer>, so: <answer>Clear.</answer>", "section", "answer") == "Clear."
    with pytest.raises(NoAnswer, match="section <answer> is not closed"):
        section_of("<answer>Draft.</answer> Or rather: <answer>cut", "answer")


def test_a_tag_holds_a_section() -> None:
    text = "<think>FINDINGS: none yet</think>\n<answer>\nFINDINGS: Clear.\nIMPRESSION: Normal.\n</answer> bye"
    assert answer(text, "section", "answer") == "FINDINGS: Clear.\nIMPRESSION: Normal."
    with pytest.raises(NoAnswer, match="section <answer> is not closed"):
        section_of("<think></think><answer>cut", "answer")


@given(
    bodies=st.lists(st.text(alphabet="abc .,", min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=5),
    names=st.permutations(HEADINGS),
)
def test_sections_come_back_apart(bodies: list[str], names: list[str]) -> None:
    named = dict(zip(names, bodies, strict=False))
    text = "\n".join(f"{name.upper()}: {body}" for name, body in named.items())
    assert {name: answer(text, "section", name) for name in named} == {n: body.strip() for n, body in named.items()}


@pytest.mark.parametrize(
    ("text", "extract", "section", "reason"),
    [
        ("Secret text.", "boxed", "", r"there is no \boxed{}"),
        (r"Secret \boxed{ }", "boxed", "", "is empty"),
        ("Secret FINDINGS: IMPRESSION: x", "section", "findings", "is empty"),
        ("Secret text.", "section", "findings", "there is no section 'findings'"),
    ],
)
def test_no_answer_is_said_without_the_text(text: str, extract: str, section: str, reason: str) -> None:
    with pytest.raises(NoAnswer, match=re.escape(reason)) as caught:
        answer(text, extract, section)
    assert "Secret" not in str(caught.value)
