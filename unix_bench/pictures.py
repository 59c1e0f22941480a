"""The figures of a scoring: which pairs of images people are shown, and the plots of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from unix_bench.protocols import Pair, Ranking, Row
from unix_bench.records import Results, RunFolder


def draw_figures(
    run: RunFolder, results: Results, pairs: Sequence[Pair], rows: Sequence[Row], ranking: Ranking | None
) -> Iterator[tuple[str, bytes]]:
    """File name and content of each figure; none for a task that draws no images.

    Args:
        run: Where drawn images lie.
        results: What is plotted.
        pairs: That were scored.
        rows: Of the table, which each get a grid of their best, median and worst pairs.
        ranking: What is good and bad.
    """
    if ranking is None:
        return
    from unix_bench.tables.figures import Grid, Shown, choose_shown, picture_grids, row_plots  # matplotlib

    yield from row_plots(results).items()
    scores = np.asarray(ranking.scores, dtype=np.float64)

    def shown(indices: Sequence[int]) -> tuple[Shown, ...]:
        return tuple(
            Shown(pairs[i].study.reference.image, run.path / (pairs[i].sample.image or ""), float(scores[i]))
            for i in indices
        )

    grids = []
    for row in rows:
        if row.members:
            best, median, worst = choose_shown(scores, row.members)
            grids.append(
                Grid(row.pathology, len(row.members), ranking.criterion, shown(best), shown(median), shown(worst))
            )
    title = f"{results.predict_spec['model']} on {results.predict_spec['data']}"
    yield from picture_grids(grids, results.restricted, results.demo, title)
