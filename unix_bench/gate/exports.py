"""What a gate leaves for others to read: JUnit XML, a summary in Markdown, JSON. No text, image or id of a study."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from unix_bench.gate.verdict import PRECONDITION, Case, GateResult
from unix_bench.tables.harmless import harmless

MARKS = {"pass": "pass", "fail": "FAIL", "inconclusive": "inconclusive", "not judged": "not judged"}
ESCAPED = "\\`*_{}[]()#+!|<>~"


def document(result: GateResult, exit_code: int) -> dict[str, Any]:
    """As JSON takes it."""
    return {**asdict(result), "exit_code": exit_code}


def junit(result: GateResult, inconclusive_fails: bool) -> bytes:
    """A test suite with one case a metric and row; what cannot be told is skipped, or failed where that was asked for.

    Args:
        result: The answer.
        inconclusive_fails: Is "cannot tell" a failure?
    """
    suite = ElementTree.Element("testsuite", name=harmless(f"unix-bench gate, {result.task}"))
    counts = {"failure": 0, "skipped": 0}
    for case in result.cases:
        row = case.pathology or ("Gate" if case.metric == PRECONDITION else "Overall")
        found = ElementTree.SubElement(
            suite, "testcase", classname=harmless(f"unix-bench.{result.task}.{row}"), name=harmless(case.metric)
        )
        kind = _kind(case, inconclusive_fails)
        if kind is not None:
            counts[kind] += 1
            ElementTree.SubElement(found, kind, message=harmless(case.text)).text = harmless(_figures(case))
        else:
            ElementTree.SubElement(found, "system-out").text = harmless(f"{case.text}; {_figures(case)}")
    suite.set("tests", str(len(result.cases)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", "0")
    suite.set("skipped", str(counts["skipped"]))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def summary(result: GateResult) -> str:
    """A few lines of Markdown, as a job's summary shows them."""
    lines = [f"## unix-bench gate: {result.outcome}", ""]
    if result.candidate and result.baseline:
        sides = (f"{_cell(s.model)} (run `{harmless(s.run)}`)" for s in (result.candidate, result.baseline))
        lines += [" against ".join(sides) + f", {_cell(result.data or '')}, protocol {result.protocol}, n = {result.n}"]
    lines += ["", "| metric | candidate | baseline | gain | may lose | p (worse) | p (drop) | | |", "|---" * 9 + "|"]
    lines += [_line(case) for case in result.cases if case.state != "advisory"]
    moved = [case for case in result.cases if case.state == "advisory" and case.text in ("better", "worse")]
    if moved:
        lines += ["", "Advisory, more than chance:", ""]
        lines += [f"- {_cell(_name(case))}: {case.text}, {_cell(_figures(case))}" for case in moved]
    lines += ["", *(f"- {_cell(warning)}" for warning in result.warnings)]
    return "\n".join(lines).rstrip() + "\n\n"


def _kind(case: Case, inconclusive_fails: bool) -> str | None:
    if case.state == "fail" or (case.state == "inconclusive" and inconclusive_fails):
        return "failure"
    untold = case.state == "advisory" and None in (case.candidate, case.baseline)
    return "skipped" if untold or case.state in ("inconclusive", "not judged") else None


def _name(case: Case) -> str:
    return case.metric if case.pathology is None else f"{case.metric}, {case.pathology}"


def _figures(case: Case) -> str:
    named = {
        "candidate": case.candidate,
        "baseline": case.baseline,
        "gain": case.gain,
        "may lose": case.allowed,
        "p (worse)": case.p_worse,
        "p (drop)": case.p_drop,
    }
    return ", ".join([f"n {case.n}", *(f"{key} {number(value)}" for key, value in named.items() if value is not None)])


def _line(case: Case) -> str:
    values = (case.candidate, case.baseline, case.gain, case.allowed, case.p_worse, case.p_drop)
    cells = [_cell(_name(case)), *map(number, values), MARKS[case.state], _cell(case.text)]
    return f"| {' | '.join(cells)} |"


def number(value: float | None) -> str:
    """Four significant digits."""
    return "" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    """Text that no reader of Markdown or HTML takes for more than text."""
    return "".join(f"\\{letter}" if letter in ESCAPED else letter.replace("&", "&amp;") for letter in harmless(text))
