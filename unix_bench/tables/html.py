"""Markup from values: what is not markup already is escaped, whatever it says."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence

from unix_bench.tables.harmless import harmless

VOID = ("br", "img", "input", "meta")
STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --grey: #666; --line: #d9dee3; --faint: #f5f6f8; --blue: #0072b2;
  --green: #00734f; --red: #b34300; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1.25rem 4rem; color: var(--ink); background: white;
  font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .2rem 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
p { margin: .4rem 0; }
.grey, figcaption { color: var(--grey); }
.stamp { display: inline-block; margin: 0 .5rem .3rem 0; padding: .1rem .55rem; background: var(--red); color: white;
  font-weight: bold; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .65rem; text-align: left; vertical-align: baseline; }
th { border-bottom: 1px solid var(--ink); font-weight: 600; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody tr.overall { border-bottom: 1px solid var(--ink); font-weight: 600; }
.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
.interval { color: var(--grey); font-weight: normal; padding-left: .35rem; }
td.name { white-space: nowrap; overflow-wrap: normal; }
sup { line-height: 0; }
th.head { white-space: normal; min-width: 5.5rem; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .15rem 1rem; margin: .5rem 0;
  font-size: .9rem; }
dt { color: var(--grey); } dd { margin: 0; min-width: 0; }
ol.notes, ul.notes { font-size: .85rem; color: var(--grey); padding-left: 1.6rem; margin: .4rem 0; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--blue); }
code, pre { font: .82rem/1.45 "DejaVu Sans Mono", ui-monospace, monospace; }
pre { white-space: pre-wrap; background: var(--faint); padding: .6rem .8rem; margin: .4rem 0; }
@media print { body { max-width: none; } details { display: block; } }
"""


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | None) -> Html:
    """An element; children that are no `Html` are text.

    Args:
        name: Of the element.
        children: What it holds, in order.
        attributes: By name, `_` for `-` and behind a Python word (`class_`); None: it has none of that name.

    >>> element("p", "a < b", element("br"), class_="grey")
    '<p class="grey">a &lt; b<br></p>'
    """
    stated = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{stated}>")
    return Html(f"<{name}{stated}>{''.join(map(escape, children))}</{name}>")


def escape(text: str) -> Html:
    """Text as markup, harmless, its line breaks kept."""
    return text if isinstance(text, Html) else Html(html.escape(harmless(text, keep_lines=True)))


def joined(*parts: str) -> Html:
    """Parts one after the other."""
    return Html("".join(map(escape, parts)))


def data_address(content: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def table(heads: Sequence[str], rows: Sequence[Html], words: int = 1) -> Html:
    """A table that scrolls in itself where it is too wide; its first columns hold words, the others numbers."""
    cells = [element("th", head, class_="head" if place < words else "head number") for place, head in enumerate(heads)]
    body = element("table", element("thead", element("tr", *cells)), element("tbody", *rows))
    return element("div", body, class_="wide")


def document(title: str, body: Html, style: str = "", script: str = "") -> str:
    """A whole page; a browser is told to fetch nothing for it, and to run nothing in it but its own script.

    Args:
        title: Of its window.
        body: What it shows.
        style: CSS beside that of all pages.
        script: JavaScript, run at the end.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(STYLE + style)),
    )
    run = element("script", Html(script)) if script else ""
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body, run), lang='en')}\n"
