"""Figures of a scoring as bytes: plots with a row a pathology, and grids of pictures; equal input gives equal bytes."""

from unix_bench.tables.figures.choice import Chosen, choose_shown
from unix_bench.tables.figures.grids import Grid, Shown, picture_grids
from unix_bench.tables.figures.rows import row_plots

__all__ = ["Chosen", "Grid", "Shown", "choose_shown", "picture_grids", "row_plots"]
