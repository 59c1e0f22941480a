"""The numbers of a scoring as tables of a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.tables.cells import ARROWS, FLAGS, interval, number
from unix_bench.tables.page.html import Html, element, joined


class PageNotes:
    """Reasons and flags that cells refer to, explained below the tables."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._flags: list[str] = []

    def dash(self, metric: Metric) -> Html:
        """A dash with the number of its reason."""
        reason = metric.reason or "no reason recorded"
        if reason not in self._reasons:
            self._reasons.append(reason)
        return joined("– ", element("sup", str(self._reasons.index(reason) + 1), class_="grey"))

    def marks(self, metric: Metric) -> str:
        """One for each flag; a flag that nobody explains stands there itself."""
        self._flags += [flag for flag in metric.flags if flag not in self._flags]
        return "".join(FLAGS[flag][0] if flag in FLAGS else f" ({flag})" for flag in metric.flags)

    def explained(self) -> Html:
        """What the numbers and marks mean."""
        reasons = [element("li", f"not computed: {reason}") for reason in self._reasons]
        flags = [element("li", " ".join(FLAGS[flag])) for flag in self._flags if flag in FLAGS]
        return joined(
            element("ol", *reasons, class_="notes") if reasons else "",
            element("ul", *flags, class_="notes") if flags else "",
        )


def number_tables(results: Results) -> Html:
    """All studies, then the studies with each finding, then F1 of each finding, then what the marks mean."""
    notes = PageNotes()
    overall = [metric for metric in results.metrics if metric.pathology is None]
    whole = [metric for metric in overall if not metric_card(metric.name).finding]
    parts = [element("h3", "All studies"), _below_each_other(whole, notes)]
    if len(overall) < len(results.metrics):
        for words, names in _columns(results).items():
            parts += [element("h3", f"Studies with each finding{words}"), _across(results.metrics, names, notes)]
    findings = [metric for metric in overall if metric_card(metric.name).finding and metric.value is not None]
    if findings:
        parts += [element("h3", "F1 of each finding"), _findings(findings, notes)]
    return joined(*parts, notes.explained())


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


def name_of(metric: Metric, alone: bool = False) -> str:
    """Title and arrow of a metric; its name, where titles do not tell metrics apart: not `alone` with its encoder's."""
    card = metric_card(metric.name)
    name = metric.name if card.task == "generation" and not alone else card.title
    return name + ARROWS.get(metric.better or card.better, "")


def cell(metric: Metric | None, notes: PageNotes) -> Html:
    """A value with its marks and interval; a dash where there is none."""
    if metric is None:
        return element("td")
    if metric.value is None:
        return element("td", notes.dash(metric), class_="number")
    spread = f" ± {number(metric, metric.sd)}" if metric.sd is not None else ""
    between = element("span", f"[{interval(metric)}]", class_="interval") if metric.ci is not None else ""
    return element("td", f"{number(metric, metric.value)}{notes.marks(metric)}{spread}", between, class_="number")


def table(heads: Sequence[str], rows: Sequence[Html]) -> Html:
    """A table that scrolls in itself where it is too wide; the first column holds words."""
    cells = [element("th", head, class_="head" if place == 0 else "head number") for place, head in enumerate(heads)]
    body = element("table", element("thead", element("tr", *cells)), element("tbody", *rows))
    return element("div", body, class_="wide")


def _below_each_other(metrics: Sequence[Metric], notes: PageNotes) -> Html:
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
            rows.append(element("tr", element("td", name or name_of(metric), class_="name"), cell(metric, notes), size))
    return table(["", "value [95 % interval]", "n"], rows)


def _across(metrics: Sequence[Metric], names: Sequence[str], notes: PageNotes) -> Html:
    """A row a finding, a column a metric."""
    heads = [name_of(next(metric for metric in metrics if metric.name == name), alone=True) for name in names]
    rows = []
    for pathology in dict.fromkeys(metric.pathology for metric in metrics):
        row = {metric.name: metric for metric in metrics if metric.pathology == pathology}
        size = element("td", str(next(iter(row.values())).n), class_="number")
        cells = [cell(row.get(name), notes) for name in names]
        overall = "overall" if pathology is None else None
        rows.append(element("tr", element("td", pathology or "Overall", class_="name"), size, *cells, class_=overall))
    return table(["", "n", *heads], rows)


def _findings(metrics: Sequence[Metric], notes: PageNotes) -> Html:
    """A row a finding, a column a labeller and what uncertain counts as."""
    kinds: dict[str, dict[str, Metric]] = {}
    for metric in metrics:
        labeller, finding, uncertain = metric_card(metric.name).title.split(", ")
        kinds.setdefault(f"{labeller}, {uncertain}", {})[finding] = metric
    rows = []
    for finding in dict.fromkeys(finding for column in kinds.values() for finding in column):
        row = [column.get(finding) for column in kinds.values()]
        support = next((str(metric.support) for metric in row if metric is not None), "")
        cells = [cell(metric, notes) for metric in row]
        rows.append(
            element("tr", element("td", finding, class_="name"), element("td", support, class_="number"), *cells)
        )
    return table(["", "references that show it", *kinds], rows)
