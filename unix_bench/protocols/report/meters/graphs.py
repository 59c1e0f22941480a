"""RadGraph F1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unix_bench.protocols.base import Columns, NewLine
from unix_bench.protocols.metered import Absent, mean_of_column
from unix_bench.protocols.report.meters.base import Measured, Texts
from unix_bench.scoring.report import LEVELS, radgraph_reward
from unix_bench.scoring.statistics import Measure

Annotate = Callable[[Sequence[str], Callable[[int], None]], list[dict[str, Any]]]


class GraphMeter:
    """F1 of the entities and relations that RadGraph finds, at its three levels."""

    names = tuple(f"radgraph_f1_{level}" for level in LEVELS)
    once = ()

    def __init__(self, model_type: str, annotate: Annotate | None, digest: str, absent: Absent | None = None) -> None:
        self._model_type, self._annotate, self._digest = model_type, annotate, digest
        self.absent = absent

    @property
    def instruments(self) -> Mapping[str, str]:
        return {} if self._annotate is None else {self._model_type: self._digest}

    def definition(self, metric: str) -> dict[str, str]:
        model = f"{self._model_type}@{self._digest[:8]}" if self._annotate else self._model_type
        return {"graphs": model, "level": metric.rpartition("_")[2], "aggregate": "mean over reports"}

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        if self._annotate is None:
            return Measured(reason=self.absent.reason if self.absent else None)
        with new_line("radgraph", 2 * len(texts.ids)) as line:
            graphs = self._annotate([*texts.predictions, *texts.references], line.advance)
        rewards = radgraph_reward(graphs[: len(texts.ids)], graphs[len(texts.ids) :])
        columns = {
            f"radgraph_{kind}_{level}": rewards[level][:, place].tolist()
            for level in LEVELS
            for place, kind in enumerate(("f1", "precision", "recall"))
        }
        return Measured(self.measures(columns), columns)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        return {name: mean_of_column(columns[name]) for name in self.names if name in columns}
