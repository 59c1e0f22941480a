"""Leaderboards as one self-contained page: sorted by a click on a heading, filtered by a word; nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from unix_bench.tables.html import Html, document, element, joined
from unix_bench.tables.leaderboard.table import BEST, SECOND, Line, Section, Shown, Table

STYLE = """
caption { text-align: left; padding-bottom: .5rem; }
.wide { margin-top: 2rem; }
table { border-top: 2px solid; border-bottom: 2px solid; }
th { vertical-align: bottom; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 10rem; max-width: 24rem; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\25b2"; }
th[aria-sort=descending] button::after { content: " \\25bc"; }
tbody { border-top: 1px solid; }
tr.title { font-style: italic; }
tr.paper { color: var(--grey); }
.second { text-decoration: underline; }
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


def as_html(tables: Sequence[Table]) -> str:
    """The whole page."""
    words = element("label", "Show rows with ", element("input", id="filter", type="search"))
    body = joined(element("h1", "Leaderboard"), words, *map(_table, tables))
    return document("unix-bench leaderboard", body, STYLE, SCRIPT)


def _table(table: Table) -> Html:
    heads = [
        element("th", element("button", head, type="button"), scope="col", class_=_kind(table, place))
        for place, head in enumerate(["Model", *table.view.details, "n", *table.headings])
    ]
    parts = [element("caption", table.caption), element("thead", element("tr", *heads))]
    whole = element("table", *parts, *(_section(table, section, len(heads)) for section in table.sections))
    notes = element("ul", *(element("li", note) for note in table.notes), class_="notes")
    return joined(element("div", whole, class_="wide"), notes)


def _section(table: Table, section: Section, width: int) -> Html:
    heading = element("tr", element("td", section.title, colspan=str(width)), class_="title")
    return element("tbody", heading if section.title else "", *(_row(table, section, line) for line in section.lines))


def _row(table: Table, section: Section, line: Line) -> Html:
    told = table.told(line)
    link = line.entry.link
    shown = [element("a", line.label, href=link) if link else line.label, *told[1:]]
    cells = [
        element("td", text, class_=_kind(table, place), data_value=told[place]) for place, text in enumerate(shown)
    ]
    words = " ".join([*told[:-1], section.pathology or ""])
    kind = "paper" if section.paper else None
    return element("tr", *cells, *map(_cell, line.cells), class_=kind, data_text=words)


def _cell(cell: Shown) -> Html:
    marked = {BEST: element("strong", cell.text), SECOND: element("span", cell.text, class_="second")}
    between = element("span", f"{cell.low} to {cell.high}", class_="interval") if cell.low else ""
    return element("td", marked.get(cell.rank, cell.text), between, class_="number", data_value=cell.number)


def _kind(table: Table, place: int) -> str:
    """Of a column: the model's and those of its details hold words, the others numbers."""
    return "name" if place <= len(table.view.details) else "number"
