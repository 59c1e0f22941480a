"""Leaderboards as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from unix_bench.tables.leaderboard.entries import NOT_STATED
from unix_bench.tables.leaderboard.escape import csv_text, latex, markdown
from unix_bench.tables.leaderboard.table import BEST, SECOND, Line, Section, Shown, Table

CAVEATS = ("test_set", "n", "reference_text", "quoted_from", "asterisk", "estimator")


def as_csv(table: Table) -> str:
    """Rows with the view's columns first; then where each comes from, intervals, ranks and flags."""
    rows = [_csv_row(table, section, line) for section in table.sections for line in section.lines]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_markdown(tables: Sequence[Table]) -> str:
    """Each table with its caption above and its notes below."""
    return "\n".join(_markdown_table(table) for table in tables)


def as_latex(tables: Sequence[Table]) -> str:
    """One `table*` each; needs the package booktabs, and graphicx, which fits it to the page."""
    head = "% \\usepackage{booktabs, graphicx}\n"
    return head + "\n".join(_latex_table(table) for table in tables)


def _csv_row(table: Table, section: Section, line: Line) -> dict[str, str]:
    """Text is guarded; numbers are written by us alone."""
    entry, kind = line.entry, table.kind
    own = {} if kind is None or section.paper else {"test_set": kind.data, "reference_text": kind.reference_text}
    told = {"model": entry.model, **{key: entry.details.get(key, "") for key in table.view.details}}
    row = {key: csv_text(text) for key, text in told.items()}
    row |= {column.name: cell.number for column, cell in zip(table.columns, line.cells, strict=True)}
    origin = {
        "pathology": section.pathology or "",
        "origin": entry.origin,
        "source": entry.source,
        "task": kind.task if kind and not section.paper else "",
        "protocol": kind.protocol if kind and not section.paper else NOT_STATED,
        "subset": kind.subset if kind and not section.paper else "",
        "limit": kind.limit if kind and not section.paper else "",
        "demo": str(kind.demo).lower() if kind and not section.paper else "false",
        "weights": entry.weights,
        "seeds": " ".join(map(str, entry.seeds)),
        "date": entry.date[:10],
        **{key: {**entry.details, **own}.get(key, "") for key in CAVEATS if key not in table.view.details},
        "notes": entry.details.get("notes", ""),
    }
    row |= {key: csv_text(text) for key, text in origin.items() if key not in row}
    row["n"] = line.n or row["n"]
    for column, cell in zip(table.columns, line.cells, strict=True):
        found = {"sd": cell.spread, "low": cell.low, "high": cell.high, "rank": cell.rank}
        row |= {f"{column.name}_{key}": text for key, text in found.items()}
        row[f"{column.name}_tied"] = str(cell.tied).lower() if cell.number else ""
        row[f"{column.name}_flags"] = csv_text(" ".join(cell.flags))
    return row


def _markdown_table(table: Table) -> str:
    heads = ["model", *table.view.details, "n", *table.headings]
    rule = ["---", *["---"] * len(table.view.details), *["---:"] * (1 + len(table.headings))]
    lines = [markdown(table.caption), "", _bars([markdown(head) for head in heads]), _bars(rule)]
    for section in table.sections:
        if section.title:
            lines.append(_bars([f"*{markdown(section.title)}*", *[""] * (len(heads) - 1)]))
        for line in section.lines:
            cells = [_in_markdown(cell) for cell in line.cells]
            lines.append(_bars([*map(markdown, table.told(line)), *cells]))
    return "\n".join([*lines, "", *(f"- {markdown(note)}" for note in table.notes), ""])


def _in_markdown(cell: Shown) -> str:
    text = markdown(cell.text)
    return {BEST: f"**{text}**", SECOND: f"<u>{text}</u>"}.get(cell.rank, text)


def _bars(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_table(table: Table) -> str:
    width = 2 + len(table.view.details) + len(table.columns)
    heads = ["Model", *table.view.details, "n", *table.headings]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{latex(table.caption)} {' '.join(latex(note) for note in table.notes)}}}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * (1 + len(table.view.details))}{'r' * (1 + len(table.columns))}}}",
        r"\toprule",
        _ampersands([latex(head) for head in heads]),
    ]
    for section in table.sections:
        lines.append(r"\midrule")
        if section.title:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{latex(section.title)}}}}} \\")
        for line in section.lines:
            told = [latex(text) for text in table.told(line)]
            lines.append(_ampersands([*told, *(_in_latex(cell) for cell in line.cells)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def _in_latex(cell: Shown) -> str:
    text = latex(cell.text)
    return {BEST: rf"\textbf{{{text}}}", SECOND: rf"\underline{{{text}}}"}.get(cell.rank, text)


def _ampersands(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
