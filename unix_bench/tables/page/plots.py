"""Plots of reports: the headline metrics of the studies with each finding, and F1 of each finding."""

from __future__ import annotations

from unix_bench.data import FINDINGS
from unix_bench.records import Metric, Results
from unix_bench.scoring.metrics import headlines, metric_card
from unix_bench.tables.figures.panels import Heading, Mark, Panel, draw_tiers, has_values
from unix_bench.tables.figures.sheet import BLUE, VERMILION, as_svg, figure_style

ACROSS = 2  # panels beside each other
LABELLERS = {"chexbert": BLUE, "rule14": VERMILION}
MICRO = "{}_f1_micro_14_neg"
FINDING_F1 = "{}_f1_{}_neg"


def report_plots(results: Results) -> dict[str, bytes]:
    """SVG by title; empty where the results have neither rows of findings nor F1 of each."""
    table = {(metric.name, metric.pathology): metric for metric in results.metrics}
    stamps = ["RESTRICTED data"] * results.restricted + ["DEMO: a stand-in's numbers"] * results.demo
    spec = results.predict_spec
    origin = f"{spec['model']} | {spec['data']} | protocol {results.score_spec['protocol']}"
    found = {}
    with figure_style():
        panels = [panel for name in headlines() if has_values(panel := _panel(name), table)]
        if panels and any(pathology for _, pathology in table):
            title = "Reports of the studies with each finding"
            tiers = [panels[start : start + ACROSS] for start in range(0, len(panels), ACROSS)]
            found[title] = as_svg(draw_tiers(tiers, table, Heading(title, origin, stamps)), title)
        marks = tuple(
            Mark(labeller, f"{labeller}, 95 % interval", "o", colour, shift=0.16 * (2 * place - 1))
            for place, (labeller, colour) in enumerate(LABELLERS.items())
            if any(metric.name == MICRO.format(labeller) and metric.value is not None for metric in results.metrics)
        )
        panel = Panel("F1 ↑, overall: micro over the 14", marks, share=True)
        by_finding = _by_finding(table)
        if has_values(panel, by_finding):
            title = "F1 of each finding (n: references that show it)"
            found[title] = as_svg(draw_tiers([[panel]], by_finding, Heading(title, origin, stamps)), title)
    return found


def _panel(name: str) -> Panel:
    card = metric_card(name)
    title = card.title.replace(", uncertain as neg", "").replace(", 14 findings", "")
    return Panel(f"{title} ↑", (Mark(name, "value, 95 % interval", "o", BLUE),))


def _by_finding(table: dict[tuple[str, str | None], Metric]) -> dict[tuple[str, str | None], Metric]:
    """F1 of each finding, which are metrics of the overall row, as rows of their own."""
    rows: dict[tuple[str, str | None], Metric] = {}
    for labeller in LABELLERS:
        names: dict[str | None, str] = {None: MICRO.format(labeller)}
        names |= {finding: FINDING_F1.format(labeller, finding.lower().replace(" ", "_")) for finding in FINDINGS}
        for finding, name in names.items():
            metric = table.get((name, None))
            if metric is not None:
                size = metric.n if finding is None else metric.support or 0
                rows[labeller, finding] = metric.model_copy(update={"name": labeller, "n": size})
    return rows
