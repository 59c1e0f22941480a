"""What people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unix_bench.tables.audit import print_audit
from unix_bench.tables.results import print_results
from unix_bench.tables.rows import print_rows
from unix_bench.tables.spread import print_spread
from unix_bench.tables.status import print_status

if TYPE_CHECKING:
    from unix_bench.tables.figures import Chosen, Grid, Shown, choose_shown, picture_grids, row_plots

__all__ = [
    "Chosen",
    "Grid",
    "Shown",
    "choose_shown",
    "picture_grids",
    "print_audit",
    "print_results",
    "print_rows",
    "print_spread",
    "print_status",
    "row_plots",
]
FIGURES = ("Chosen", "Grid", "Shown", "choose_shown", "picture_grids", "row_plots")


def __getattr__(name: str) -> Any:
    """The figures' names, imported when first asked for: they bring matplotlib."""
    if name not in FIGURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unix_bench.tables import figures

    return getattr(figures, name)
