"""The numbers of a scoring as tables of a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.tables.cells import Notes, heading, interval
from unix_bench.tables.html import Html, element, joined, table


def number_tables(results: Results) -> Html:
    """All studies, then the studies with each finding, then F1 of each finding, then what the marks mean."""
    notes = Notes()
    overall = [metric for metric in results.metrics if metric.pathology is None]
    whole = [metric for metric in overall if not metric_card(metric.name).finding]
    parts = [element("h3", "All studies"), _below_each_other(whole, notes)]
    if len(overall) < len(results.metrics):
        for words, names in _columns(results).items():
            parts += [element("h3", f"Studies with each finding{words}"), _across(results.metrics, names, notes)]
    findings = [metric for metric in overall if metric_card(metric.name).finding and metric.value is not None]
    if findings:
        parts += [element("h3", "F1 of each finding"), _findings(findings, notes)]
    return joined(*parts, _explained(notes))


def _columns(results: Results) -> dict[str, list[str]]:
    """The headlines that any row has a value of; of drawn images a table for each encoder that judged alone."""
    names = list(dict.fromkeys(metric.name for metric in results.metrics if metric.value is not None))
    shown = [name for name in headlines() if name in names]
    shown += [name for name in names if metric_card(name).title == name]  # a plug-in's
    if results.predict_spec["task"] != "generation":
        return {"": shown}
    encoders = [encoder for encoder in results.score_spec["instruments"] if f"precision_{encoder}" in names]
    others = [name for name in shown if name.startswith("alignment")]
    groups = {}
    for encoder in encoders:
        own = [name for name in shown if name.endswith(f"_{encoder}")]
        own = [name for name in own if f"{name.removesuffix(encoder)}common_{encoder}" not in own]
        groups[f", {encoder}"] = own + others
    return groups or ({"": others} if others else {})


def _explained(notes: Notes) -> Html:
    """What the numbers and marks mean."""
    reasons, flags = ([element("li", text) for text in texts] for texts in (notes.reasons(), notes.flags()))
    return joined(
        element("ol", *reasons, class_="notes") if reasons else "",
        element("ul", *flags, class_="notes") if flags else "",
    )


def _cell(metric: Metric | None, notes: Notes) -> Html:
    """A value with its marks and interval; a dash with the number of its reason where there is none."""
    if metric is None:
        return element("td")
    if metric.value is None:
        return element("td", "– ", element("sup", str(notes.place(metric)), class_="grey"), class_="number")
    limits = interval(metric.name, metric.ci)
    between = element("span", f"[{limits}]", class_="interval") if limits else ""
    return element("td", notes.value(metric, metric.value), between, class_="number")


def _below_each_other(metrics: Sequence[Metric], notes: Notes) -> Html:
    """A row a metric; neighbours that lack a value for the same reason share one."""
    rows = []
    for reason, group in groupby(metrics, lambda metric: metric.reason if metric.value is None else None):
        members = list(group)
        if reason is not None and len(members) > 1:
            members, name = members[:1], f"{members[0].name} … {members[-1].name}"
        else:
            name = ""
        for metric in members:
            size = element("td", str(metric.n), class_="number")
            called = element("td", name or heading(metric.name, metric.better, mixed=True), class_="name")
            rows.append(element("tr", called, _cell(metric, notes), size))
    return table(["", "value [95 % interval]", "n"], rows)


def _across(metrics: Sequence[Metric], names: Sequence[str], notes: Notes) -> Html:
    """A row a finding, a column a metric."""
    firsts = (next(metric for metric in metrics if metric.name == name) for name in names)
    heads = [heading(metric.name, metric.better) for metric in firsts]
    rows = []
    for pathology in dict.fromkeys(metric.pathology for metric in metrics):
        row = {metric.name: metric for metric in metrics if metric.pathology == pathology}
        size = element("td", str(next(iter(row.values())).n), class_="number")
        cells = [_cell(row.get(name), notes) for name in names]
        overall = "overall" if pathology is None else None
        rows.append(element("tr", element("td", pathology or "Overall", class_="name"), size, *cells, class_=overall))
    return table(["", "n", *heads], rows)


def _findings(metrics: Sequence[Metric], notes: Notes) -> Html:
    """A row a finding, a column a labeller and what uncertain counts as."""
    kinds: dict[str, dict[str, Metric]] = {}
    for metric in metrics:
        labeller, finding, uncertain = metric_card(metric.name).title.split(", ")
        kinds.setdefault(f"{labeller}, {uncertain}", {})[finding] = metric
    rows = []
    for finding in dict.fromkeys(finding for column in kinds.values() for finding in column):
        row = [column.get(finding) for column in kinds.values()]
        support = next((str(metric.support) for metric in row if metric is not None), "")
        cells = [_cell(metric, notes) for metric in row]
        rows.append(
            element("tr", element("td", finding, class_="name"), element("td", support, class_="number"), *cells)
        )
    return table(["", "references that show it", *kinds], rows)
