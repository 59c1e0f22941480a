"""The page of a run: what was run, its numbers, plots, pictures or reports, failures, origin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unix_bench.records import Phase, Results, RunRecord
from unix_bench.tables.html import Html, data_address, document, element, joined, table
from unix_bench.tables.page.numbers import number_tables
from unix_bench.tables.page.reports import STYLE, Group, report_pairs

SHOWN_FAILURES = 50
SVG, PNG = "image/svg+xml", "image/png"
PLOT_STYLE = "img.plot { width: 46rem; }\n"


@dataclass(frozen=True)
class Picture:
    """A figure of the page, SVG or PNG."""

    title: str
    content: bytes
    kind: str


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        left_out: What is not shown, and why, a sentence each.
        origin: Of the run, as far as it may be shown: name -> text.
        plots: Of the numbers.
        grids: Pictures beside pictures, that of all studies first.
        criterion: By what reports were ranked, and who labelled them.
        groups: Reports.
        failures: Id and reason of each failed sample; None: only their number may be shown.
    """

    results: Results
    record: RunRecord | None
    restricted: bool
    left_out: tuple[str, ...]
    data: Mapping[str, str]
    plots: tuple[Picture, ...]
    grids: tuple[Picture, ...]
    criterion: str
    groups: tuple[Group, ...]
    failures: tuple[tuple[str, str], ...] | None
    origin: Mapping[str, str]
    phases: tuple[Phase, ...]


def render_page(page: Page) -> bytes:
    """The page as one file."""
    spec = page.results.predict_spec
    title = f"{spec['model']} · {spec['task']} · {spec['data']}"
    stamps = ["RESTRICTED data"] * page.restricted + ["DEMO: a stand-in's numbers, which mean nothing"] * (
        page.results.demo
    )
    body = joined(
        *(element("span", words, class_="stamp") for words in stamps),
        element("h1", title),
        *(element("p", words, class_="grey") for words in page.left_out),
        _what_was_run(page),
        element("h2", "Numbers"),
        number_tables(page.results),
        _plots(page.plots),
        _grids(page.grids),
        _reports(page),
        _failures(page),
        _provenance(page),
    )
    return document(title, body, STYLE + PLOT_STYLE).encode()


def _facts(facts: Mapping[str, str]) -> Html:
    return element("dl", *(part for name, text in facts.items() for part in (element("dt", name), element("dd", text))))


def _what_was_run(page: Page) -> Html:
    spec, scoring, counts = page.results.predict_spec, page.results.score_spec, page.results.counts
    settings = ", ".join(f"{name} = {value}" for name, value in spec["settings"].items())
    stated = {
        "Model": str(spec["model"]),
        "Task": f"{spec['task']}, version {spec['task_version']}",
        "Data": str(spec["data"])
        + (f", subset {spec['subset']}" if spec["subset"] else "")
        + (f", the first {spec['limit']}" if spec["limit"] else ""),
        **page.data,
        "Protocol": f"{scoring['protocol']}, version {scoring['protocol_version']}",
        "Studies": f"{counts.total}: {counts.ok} predicted, {counts.failed} failed (they count as "
        f"{scoring['on_error']}), {counts.skipped} skipped, which lack what the task needs",
        "Instruction": str(spec["instruction"] or ""),
        "Settings": settings,
        "Seed": str(spec["seed"]),
        "Arithmetic": f"{spec['dtype']} on {spec['device']}, {spec['batch_size']} a batch"
        + (", deterministic" if spec["deterministic"] else ""),
    }
    return joined(element("h2", "What was run"), _facts({name: text for name, text in stated.items() if text}))


def _image(picture: Picture, kind: str) -> Html:
    source = data_address(picture.content, picture.kind)
    return element("figure", element("img", src=source, alt=picture.title, class_=kind))


def _plots(plots: Sequence[Picture]) -> Html:
    return joined(element("h2", "Plots"), *(_image(plot, "plot") for plot in plots)) if plots else Html()


def _grids(grids: Sequence[Picture]) -> Html:
    """The grid of all studies; those of findings are unfolded by who wants them."""
    if not grids:
        return Html()
    folded = [element("details", element("summary", grid.title), _image(grid, "grid")) for grid in grids[1:]]
    return joined(element("h2", "Pictures"), element("h3", grids[0].title), _image(grids[0], "grid"), *folded)


def _reports(page: Page) -> Html:
    if not any(group.reports for group in page.groups):
        return Html()
    return joined(element("h2", "Reports"), element("p", page.criterion, class_="grey"), report_pairs(page.groups))


def _failures(page: Page) -> Html:
    count = page.results.counts.failed
    if not count:
        return joined(element("h2", "Failures"), element("p", "No prediction failed."))
    counted = f"{count} prediction{'s' * (count > 1)} failed"
    if page.failures is None:
        return joined(element("h2", "Failures"), element("p", f"{counted}; the reasons are not shown."))
    kinds = Counter(reason for _, reason in page.failures).most_common()
    first = {reason: identity for identity, reason in reversed(page.failures)}
    rows = [
        element("tr", element("td", reason), element("td", str(n), class_="number"), element("td", first[reason]))
        for reason, n in kinds[:SHOWN_FAILURES]
    ]
    more = f" The {SHOWN_FAILURES} most frequent of {len(kinds)} reasons:" if len(kinds) > SHOWN_FAILURES else ""
    said = element("p", f"{counted}.{more}")
    return joined(element("h2", "Failures"), said, table(["reason", "times", "first of them"], rows))


def _provenance(page: Page) -> Html:
    spec, scoring = page.results.predict_spec, page.results.score_spec
    instruments = "; ".join(f"{name} {digest}" for name, digest in scoring["instruments"].items())
    facts = {
        "Run": page.results.run,
        "Weights, sha256": str(spec["weights"]),
        "Data, content sha256": str(spec["data_digest"]),
        **page.origin,
        "Judges": instruments or "none that have weights",
        "Training set": str(scoring["training"] or ""),
    }
    if page.record is not None:
        facts["Environment"] = ", ".join(f"{name} {version}" for name, version in page.record.environment.items())
    signatures = [
        element(
            "tr", element("td", metric.name), element("td", metric.pathology or ""), element("td", metric.signature)
        )
        for metric in page.results.metrics
    ]
    return joined(
        element("h2", "Where it comes from"),
        _facts({name: text for name, text in facts.items() if text}),
        _phases(page.phases),
        element("details", element("summary", "Specs"), element("pre", json.dumps([spec, scoring], indent=1))),
        element(
            "details",
            element("summary", f"Signatures of all {len(signatures)} values"),
            table(["metric", "finding", "signature"], signatures),
        ),
    )


def _phases(phases: Sequence[Phase]) -> Html:
    if not phases:
        return Html()
    rows = []
    for phase in phases:
        cuda = "" if phase.peak_cuda_mb is None else f"{phase.peak_cuda_mb:.0f} MB"
        code = (phase.code.commit or phase.code.version)[:12] + (" and changes" if phase.code.dirty else "")
        state = {"at work": "cut off, or still at work", "stopped": "stopped", "done": ""}[phase.state]
        name = phase.name + (f", {phase.protocol}" if phase.protocol else "")
        numbers = (f"{phase.seconds:.1f} s", str(phase.items or ""), f"{phase.peak_rss_mb:.0f} MB", cuda)
        words = [element("td", text) for text in (name, phase.began[:19].replace("T", " "))]
        cells = [element("td", text, class_="number") for text in (*numbers, state, code)]
        rows.append(element("tr", *words, *cells))
    heads = ["phase", "began, UTC", "time", "studies", "peak memory", "peak CUDA memory", "", "code"]
    return joined(element("h3", "Time and memory"), table(heads, rows, words=2))
