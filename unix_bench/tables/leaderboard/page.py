"""Leaderboards as one self-contained page: sorted by a click on a heading, filtered by a word; nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from unix_bench.tables.leaderboard.escape import html_text
from unix_bench.tables.leaderboard.table import BEST, SECOND, Line, Section, Shown, Table

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #1b1f24; }
caption { text-align: left; padding-bottom: .5rem; }
.wide { overflow-x: auto; margin-top: 2rem; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th.name, td.name { text-align: left; white-space: normal; overflow-wrap: anywhere; max-width: 24rem; }
thead th { border-bottom: 1px solid; vertical-align: bottom; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\25b2"; }
th[aria-sort=descending] button::after { content: " \\25bc"; }
tbody { border-top: 1px solid; }
tr.title td { text-align: left; font-style: italic; }
tr.paper { color: #57606a; }
.second { text-decoration: underline; }
small { color: #57606a; font-weight: normal; }
"""
SCRIPT = """
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.closest("th"), table = head.closest("table"), column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const order = (a, b) => {
    const [x, y] = [a, b].map(row => row.cells[column].dataset.value);
    if (x === "" || y === "") return (x === "") - (y === "");
    const numbers = Number(x) - Number(y);
    return (Number.isNaN(numbers) ? x.localeCompare(y) : numbers) * (down ? -1 : 1);
  };
  table.querySelectorAll("tbody").forEach(body => {
    const rows = [...body.querySelectorAll("tr:not(.title)")];
    rows.sort(order).forEach(row => body.append(row));
  });
}));
document.getElementById("filter").addEventListener("input", event => {
  const word = event.target.value.toLowerCase();
  document.querySelectorAll("tbody").forEach(body => {
    const rows = [...body.querySelectorAll("tr:not(.title)")];
    rows.forEach(row => { row.hidden = !row.dataset.text.toLowerCase().includes(word); });
    body.hidden = rows.every(row => row.hidden);
  });
});
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def as_html(tables: Sequence[Table]) -> str:
    """The whole page."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>unix-bench leaderboard</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            "<h1>Leaderboard</h1>",
            '<label>Show rows with <input id="filter" type="search"></label>',
            *(_table(table) for table in tables),
            f"<script>{SCRIPT}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _table(table: Table) -> str:
    heads = ["Model", *table.view.details, "n", *table.headings]
    names = 1 + len(table.view.details)
    cells = "".join(
        f'<th scope="col"{_named(index < names)}><button type="button">{html_text(head)}</button></th>'
        for index, head in enumerate(heads)
    )
    bodies = "\n".join(_section(table, section, len(heads)) for section in table.sections)
    notes = "".join(f"<li>{html_text(note)}</li>" for note in table.notes)
    return (
        f'<div class="wide"><table>\n<caption>{html_text(table.caption)}</caption>\n'
        f"<thead><tr>{cells}</tr></thead>\n{bodies}\n</table></div>\n<ul>{notes}</ul>"
    )


def _section(table: Table, section: Section, width: int) -> str:
    title = f'<tr class="title"><td colspan="{width}">{html_text(section.title)}</td></tr>\n' if section.title else ""
    rows = "\n".join(_row(table, section, line) for line in section.lines)
    return f"<tbody>\n{title}{rows}\n</tbody>"


def _row(table: Table, section: Section, line: Line) -> str:
    details = [line.entry.details.get(key, "") for key in table.view.details]
    label = html_text(line.label)
    if line.entry.link:
        label = f'<a href="{html_text(line.entry.link)}">{label}</a>'
    n = line.n or line.entry.details.get("n", "")
    cells = [
        f'<td{_named(True)} data-value="{html_text(line.label)}">{label}</td>',
        *(f'<td{_named(True)} data-value="{html_text(text)}">{html_text(text)}</td>' for text in details),
        f'<td data-value="{html_text(n)}">{html_text(n)}</td>',
        *(_cell(cell) for cell in line.cells),
    ]
    words = html_text(" ".join([line.label, *details, section.pathology or ""]))
    return f'<tr{" class=paper" if section.paper else ""} data-text="{words}">{"".join(cells)}</tr>'


def _cell(cell: Shown) -> str:
    text = html_text(cell.text)
    interval = f" <small>{cell.low} to {cell.high}</small>" if cell.low else ""
    marked = {BEST: f"<strong>{text}</strong>", SECOND: f'<span class="second">{text}</span>'}.get(cell.rank, text)
    return f'<td data-value="{cell.number}">{marked}{interval}</td>'


def _named(is_name: bool) -> str:
    return ' class="name"' if is_name else ""
