"""A comparison as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from unix_bench.tables.comparison.contents import ChangedSample, Comparison, FindingChange, MetricDifference
from unix_bench.tables.comparison.numbers import difference_text, interval_text, label, p_text, value_text
from unix_bench.tables.html import Html, data_address, document, element, joined, table

STYLE = """
td { vertical-align: top; }
.better { color: var(--green); font-weight: 600; } .worse { color: var(--red); font-weight: 600; }
.sample { border: 1px solid var(--line); padding: .6rem 1rem; margin: 1rem 0; break-inside: avoid; }
.three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem; }
.three p { white-space: pre-wrap; margin: .2rem 0; } .three img { background: black; }
.right { background: #dff3e4; } .wrong { background: #fbe0e0; }
.right, .wrong { padding: 0 .3rem; border-radius: .2rem; }
small { color: var(--grey); }
"""


def comparison_page(comparison: Comparison) -> str:
    """The page, the same for the same comparison."""
    title = f"{comparison.a.model} against {comparison.b.model}"
    stamps = ["RESTRICTED data"] * comparison.restricted + ["DEMO: a stand-in's numbers"] * comparison.demo
    overall = [row for row in comparison.metrics if row.pathology is None]
    findings = [row for row in comparison.metrics if row.pathology is not None]
    body = joined(
        *(element("span", words, class_="stamp") for words in stamps),
        element("h1", title),
        _facts(comparison),
        *(element("p", note) for note in comparison.notes),
        element("h2", "All studies"),
        _metrics(overall),
        joined(element("h2", "Studies with each finding"), _metrics(findings)) if findings else "",
        _samples(comparison),
    )
    return document(title, body, STYLE)


def _facts(comparison: Comparison) -> Html:
    rows = [
        element(
            "tr",
            *(element("td", text) for text in (letter, side.model, side.run)),
            *(element("td", text, class_="number") for text in (side.weights, str(side.seed), str(side.failed))),
        )
        for letter, side in (("A", comparison.a), ("B", comparison.b))
    ]
    said = (
        f"{comparison.task} on {comparison.data}, protocol {comparison.protocol}, n = {comparison.n}. "
        "Differences are A less B, with 95 % intervals over patients."
    )
    return joined(element("p", said), table(["", "model", "run", "weights", "seed", "failed"], rows, words=3))


def _metrics(rows: Sequence[MetricDifference]) -> Html:
    return table(["", "n", "A", "B", "A less B", "95 % interval", "p", "p, Holm", "A is"], [_row(row) for row in rows])


def _row(row: MetricDifference) -> Html:
    flags = joined(" ", element("small", ", ".join(row.flags))) if row.flags else ""
    note = joined(element("br"), element("small", row.note)) if row.note else ""
    numbers = (
        str(row.n),
        value_text(row.name, row.a),
        value_text(row.name, row.b),
        difference_text(row),
        interval_text(row),
        p_text(row.p),
        p_text(row.p_holm),
    )
    verdict = element("span", row.verdict or "", class_=row.verdict if row.verdict != "no evidence" else None)
    cells = (element("td", text, class_="number") for text in (*numbers, verdict))
    return element("tr", element("td", label(row), flags, note), *cells)


def _samples(comparison: Comparison) -> Html:
    if comparison.criterion is None or not comparison.changed:
        return Html()
    left_out = element("p", "Texts, images and ids are left out of this page, the samples numbered.", class_="grey")
    return joined(
        element("h2", "Changed most"),
        element("p", f"By {comparison.criterion}."),
        left_out if comparison.redacted else "",
        *map(_sample, comparison.changed),
    )


def _sample(sample: ChangedSample) -> Html:
    kind = "better" if sample.change > 0 else "worse"
    values = f": A {sample.a:.3f}, B {sample.b:.3f}, "
    head = element("p", element("b", sample.id), values, element("span", f"A is {kind}", class_=kind))
    names = ("A", "B", "reference" if sample.reports is not None else "real image")
    shown: list[Html] = []
    if sample.reports is not None:
        shown = [element("p", text) for text in sample.reports]
    elif sample.pictures is not None:
        shown = [_picture(content, name) for content, name in zip(sample.pictures, names, strict=True)]
    sides = [element("div", element("small", name), part) for name, part in zip(names, shown, strict=False)]
    columns = element("div", *sides, class_="three")
    return element("div", head, *map(_finding, sample.findings), columns, class_="sample")


def _finding(change: FindingChange) -> Html:
    first, second = (
        element("span", said, class_="right" if said == change.reference else "wrong") for said in (change.a, change.b)
    )
    reference = element("small", f"reference: {change.reference}")
    return element("p", f"{change.finding}: A ", first, ", B ", second, " ", reference)


def _picture(content: bytes | None, name: str) -> Html:
    if content is None:
        return element("p", element("small", "cannot be read"))
    return element("p", element("img", src=data_address(content, "image/png"), alt=name))
