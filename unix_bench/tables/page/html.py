"""Markup from values: what is not markup already is escaped, whatever it says."""

from __future__ import annotations

import base64
import html
import re

# What no HTML may hold, and what turns the direction of the words around it.
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
VOID = ("br", "img", "meta")
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
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } img.plot { width: 46rem; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--blue); }
code, pre { font: .82rem/1.45 "DejaVu Sans Mono", ui-monospace, monospace; }
pre { white-space: pre-wrap; background: var(--faint); padding: .6rem .8rem; margin: .4rem 0; }
.pair { border: 1px solid var(--line); margin: .8rem 0; break-inside: avoid; }
.pair header { background: var(--faint); padding: .3rem .8rem; font-size: .87rem; }
.sides { display: grid; grid-template-columns: 1fr 1fr; }
.sides > div { padding: .5rem .8rem .7rem; min-width: 0; } .sides > div + div { border-left: 1px solid var(--line); }
.sides h4 { margin: 0 0 .2rem; font-size: .8rem; color: var(--grey); }
.words { white-space: pre-wrap; max-height: 30rem; overflow-y: auto; }
.labels { padding: .4rem .8rem .5rem; border-top: 1px solid var(--line); font-size: .84rem; }
.label { display: inline-block; margin: .1rem .35rem .1rem 0; padding: 0 .45rem; border: 1px solid;
  border-radius: .2rem; }
.both { color: var(--green); } .missed { color: var(--red); border-style: dashed; }
.added { color: var(--red); background: #fdeee4; }
@media (max-width: 42rem) { .sides { grid-template-columns: 1fr; }
  .sides > div + div { border-left: 0; border-top: 1px solid var(--line); } }
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
    """Text as markup; a character that no page may hold becomes a replacement character."""
    return text if isinstance(text, Html) else Html(html.escape(FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)))


def joined(*parts: str) -> Html:
    """Parts one after the other."""
    return Html("".join(map(escape, parts)))


def data_address(content: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def document(title: str, body: Html) -> bytes:
    """A whole page; a browser is told to fetch nothing for it and to run nothing in it."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    page = element("html", head, element("body", body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n".encode()
