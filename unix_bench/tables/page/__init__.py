"""A page about a run, as HTML that needs nothing beside itself: no script, no font, no address."""

from unix_bench.tables.page.numbers import number_tables
from unix_bench.tables.page.page import Page, Picture, render_page
from unix_bench.tables.page.plots import report_plots
from unix_bench.tables.page.reports import Agreement, Group, ShownReport

__all__ = [
    "Agreement",
    "Group",
    "Page",
    "Picture",
    "ShownReport",
    "number_tables",
    "render_page",
    "report_plots",
]
