"""Sections of raw reports, in the variants that hospitals write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unix_bench.data.sections import HEADER, canonical_name, fold, parse_sections

SHARED = Path(__file__).parents[3] / "shared" / "data" / "iu_xray" / "reports.jsonl"


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        (" FINAL REPORT\n FINDINGS:\n Clear\n  lungs.\n\n IMPRESSION: Normal.\n", "Clear lungs.", "Normal."),
        ("FINDINGS: One. \n FINDINGS: Two.\n FINDINGS:\nCONCLUSION: Three.", "Two.", "Three."),
        ("FINDINGS AND IMPRESSION: Both.", None, "Both."),
        ("CHEST, PA AND LATERAL: Clear.\n IMPRESSION: ok\n COMMENT: call\n DATE: today", "Clear.", "ok"),
        ("WET READ: ___ 5 PM Small effusion.\n FINAL REPORT\n IMPRESSION: Normal.", None, "Normal."),
        ("CLINICAL HISTORY: fall\n PORTABLE AP FILM: Clear.\n FINAL IMPRESSION AND PLAN: ok", "Clear.", "ok"),
        ("findings: lower case is prose, FINDINGS: so is this in mid-line", None, None),
        ("PA AND LATERAL VIEWS OF THE CHEST:  Clear.\n IMPRESSION:  ", "Clear.", None),
        ("INDICATION: Cough.\n COMPARISON:  ___.\n\n Clear lungs without effusion.", None, None),
        ("IMPRESSION: Compared to: 1. effusion 2. NOTE: none", None, "Compared to: 1. effusion 2. NOTE: none"),
        (
            "FINDINGS: Two devices.\n PICC: tip in the SVC.\n IMPRESSION: Fine.",
            "Two devices.",
            "Fine.",
        ),
        ("\r\nFINDINGS:\r\n Clear.\r\nIMPRESSION:\r\n Normal.\r\n", "Clear.", "Normal."),
        ("", None, None),
    ],
)
def test_variants(report: str, findings: str | None, impression: str | None) -> None:
    sections = parse_sections(report)
    assert sections.text("findings") == findings
    assert sections.text("impression") == impression


def test_joined_sections_and_the_last_paragraph() -> None:
    sections = parse_sections("FINDINGS: One.\n\n IMPRESSION: Two.\n \n Three\n four.")
    assert sections.text("findings", "impression") == "One. Two. Three four."
    assert sections.last_paragraph == "", "only a report without findings and impression has one"
    assert parse_sections("No header here.\n\n Clear lungs.").last_paragraph == "Clear lungs."


def test_an_exception_names_where_a_section_begins() -> None:
    report = "WET READ: ignored\n Portable film shows clear lungs. SUMMARY: normal"
    sections = parse_sections(report, {"findings": "Portable film", "impression": "SUMMARY:"})
    assert sections.text("findings") == "Portable film shows clear lungs."
    assert sections.text("impression") == "normal"
    with pytest.raises(ValueError, match="should begin with 'Nowhere', which is not in it"):
        parse_sections(report, {"findings": "Nowhere"})
    assert canonical_name("NO SUCH HEADER") == "no such header"


@given(st.text(alphabet="ab .:\nAFINDGSMPRO", max_size=60), st.text(alphabet="ab \n.", min_size=1, max_size=40))
def test_no_word_is_lost_or_invented(preface: str, body: str) -> None:
    sections = parse_sections(f"{preface}\nFINDINGS: {body}")
    assert not fold(body) or sections.text("findings") == fold(body)


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared data is not here")
def test_real_reports_come_apart_as_they_were_put_together() -> None:
    """IU reports have their sections apart; written out as a hospital would, they are found again."""
    checked = 0
    for line in SHARED.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parts = {name: row[name] for name in ("indication", "comparison", "findings", "impression") if row[name]}
        if any(HEADER.search(text) for text in parts.values()):
            continue  # a text that holds a header of its own
        report = "FINAL REPORT\n" + "".join(f" {name.upper()}:  {text}\n\n" for name, text in parts.items())
        sections = parse_sections(report)
        for name, text in parts.items():
            assert (sections.text(name) or "") == fold(text)
        checked += 1
    assert checked > 2500
