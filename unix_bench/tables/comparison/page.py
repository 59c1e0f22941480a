"""A comparison as one self-contained HTML page: no script, nothing fetched, every text of others escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from unix_bench.tables.comparison.contents import ChangedSample, Comparison, FindingChange, MetricDifference
from unix_bench.tables.comparison.numbers import difference_text, interval_text, label, p_text, value_text
from unix_bench.tables.comparison.plain import plain

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1f24; }
body, td, p, h1 { overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #d9dee3; padding: .25rem .6rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child, td.words, th.words { text-align: left; }
.better { color: #0a6b2d; font-weight: 600; } .worse { color: #a4161a; font-weight: 600; }
.stamp { display: inline-block; background: #a4161a; color: #fff; font-weight: 700; padding: .1rem .6rem; }
.demo { background: #5b4b8a; }
.sample { border: 1px solid #d9dee3; border-radius: .4rem; padding: .6rem 1rem; margin: 1rem 0; break-inside: avoid; }
.three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem; }
.three p { white-space: pre-wrap; margin: .2rem 0; } .three img { max-width: 100%; background: #000; }
.right { background: #dff3e4; } .wrong { background: #fbe0e0; }
.right, .wrong { padding: 0 .3rem; border-radius: .2rem; }
small, .grey { color: #5a6470; }
"""


def comparison_page(comparison: Comparison) -> str:
    """The page, the same for the same comparison."""
    title = f"{comparison.a.model} against {comparison.b.model}"
    stamps = '<p class="stamp">RESTRICTED</p> ' * comparison.restricted
    stamps += "<p class='stamp demo'>DEMO: a stand-in's numbers</p>" * comparison.demo
    overall = [row for row in comparison.metrics if row.pathology is None]
    findings = [row for row in comparison.metrics if row.pathology is not None]
    parts = [
        f"<h1>{_safe(title)}</h1>{stamps}",
        _facts(comparison),
        "".join(f"<p>{_safe(note)}</p>" for note in comparison.notes),
        "<h2>All studies</h2>" + _table(overall),
        "<h2>Studies with each finding</h2>" + _table(findings) if findings else "",
        _samples(comparison),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _safe(text: str) -> str:
    return escape(plain(text), quote=True)


def _facts(comparison: Comparison) -> str:
    rows = "".join(
        f"<tr><td>{letter}</td><td class=words>{_safe(side.model)}</td><td class=words>{_safe(side.run)}</td>"
        f"<td>{_safe(side.weights)}</td><td>{side.seed}</td><td>{side.failed}</td></tr>"
        for letter, side in (("A", comparison.a), ("B", comparison.b))
    )
    return (
        f"<p>{_safe(comparison.task)} on {_safe(comparison.data)}, protocol {_safe(comparison.protocol)}, "
        f"n = {comparison.n}. Differences are A less B, with 95 % intervals over patients.</p>"
        "<table><tr><th></th><th class=words>model</th><th class=words>run</th><th>weights</th><th>seed</th>"
        f"<th>failed</th></tr>{rows}</table>"
    )


def _table(rows: Sequence[MetricDifference]) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("", "n", "A", "B", "A less B", "95 % interval", "p", "p, Holm", "A is")
    )
    return f"<table><tr>{head}</tr>{''.join(map(_row, rows))}</table>"


def _row(row: MetricDifference) -> str:
    name = _safe(label(row))
    note = f"<br><small>{_safe(row.note)}</small>" if row.note else ""
    flags = f" <small>{_safe(', '.join(row.flags))}</small>" if row.flags else ""
    cells = [
        str(row.n),
        value_text(row.name, row.a),
        value_text(row.name, row.b),
        difference_text(row),
        interval_text(row),
        p_text(row.p).replace("<", "&lt;"),
        p_text(row.p_holm).replace("<", "&lt;"),
        f'<span class="{(row.verdict or "").replace(" ", "-")}">{row.verdict or ""}</span>',
    ]
    return f"<tr><td>{name}{flags}{note}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _samples(comparison: Comparison) -> str:
    if comparison.criterion is None or not comparison.changed:
        return ""
    left_out = "<p class=grey>Texts, images and ids are left out of this page, ids hashed.</p>" * comparison.redacted
    shown = "".join(map(_sample, comparison.changed))
    return f"<h2>Changed most</h2><p>By {_safe(comparison.criterion)}.</p>{left_out}{shown}"


def _sample(sample: ChangedSample) -> str:
    kind = "better" if sample.change > 0 else "worse"
    head = (
        f'<p><b>{_safe(sample.id)}</b>: A {sample.a:.3f}, B {sample.b:.3f}, <span class="{kind}">A is {kind}</span></p>'
    )
    findings = "".join(map(_finding, sample.findings))
    columns = ""
    names = ("A", "B", "reference" if sample.reports is not None else "real image")
    if sample.reports is not None:
        columns = "".join(
            f"<div><small>{name}</small><p>{_safe(text)}</p></div>"
            for name, text in zip(names, sample.reports, strict=True)
        )
    elif sample.pictures is not None:
        columns = "".join(
            f"<div><small>{name}</small><br>{_picture(content, name)}</div>"
            for name, content in zip(names, sample.pictures, strict=True)
        )
    return f'<div class="sample">{head}{findings}<div class="three">{columns}</div></div>'


def _finding(change: FindingChange) -> str:
    marked = (
        f'{name} <span class="{"right" if said == change.reference else "wrong"}">{_safe(said)}</span>'
        for name, said in (("A", change.a), ("B", change.b))
    )
    return f"<p>{_safe(change.finding)}: {', '.join(marked)} <small>reference: {_safe(change.reference)}</small></p>"


def _picture(content: bytes | None, name: str) -> str:
    if content is None:
        return "<small>cannot be read</small>"
    return f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(content).decode("ascii")}">'
