"""F1 of the 14 CheXpert observations, as a labeller finds them in the reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unix_bench.features import TextTooLong
from unix_bench.protocols.base import Columns, NewLine
from unix_bench.protocols.metered import Absent
from unix_bench.protocols.report.meters.base import Measured, Texts
from unix_bench.scoring.report import FINDING_KEYS, UNCERTAIN, f1_measures, positive
from unix_bench.scoring.statistics import FEW_STUDIES, Measure

NONE = np.zeros((0, len(FINDING_KEYS)), dtype=np.int8)


Label = Callable[[Sequence[str], Callable[[int], None]], NDArray[np.int8]]


class LabelMeter:
    """Every F1 that one labeller gives."""

    def __init__(
        self,
        name: str,
        label: Label | None,
        digest: str,
        text: str,
        absent: Absent | None = None,
    ) -> None:
        """Set the meter up.

        Args:
            name: The labeller's, as metric names begin.
            label: Texts and who is told of progress -> labels [n, 14]; None where the labeller is absent.
            digest: Of its weights or rules.
            text: What part of a report it reads, for the signature.
            absent: Why there is none.
        """
        self._name, self._label, self._digest, self._text = name, label, digest, text
        self.absent = absent
        self.names = [f"{name}_{measure}" for measure in f1_measures(NONE, NONE)]
        self.once = [f"{name}_f1_{finding}_{uncertain}" for uncertain in UNCERTAIN for finding in FINDING_KEYS]
        self._sides = (f"{name}_predicted", f"{name}_reference")

    @property
    def instruments(self) -> Mapping[str, str]:
        return {} if self._label is None else {self._name: self._digest}

    def definition(self, metric: str) -> dict[str, str]:
        labeller = {"labeller": f"{self._name}@{self._digest[:8]}"} if self._label else {"labeller": self._name}
        return {**labeller, "text": self._text, "uncertain": "positive" if metric.endswith("pos") else "negative"}

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        if self._label is None:
            return Measured(reason=self.absent.reason if self.absent else None)
        with new_line(self._name, 2 * len(texts.ids)) as line:
            try:
                both = self._label([*texts.predictions, *texts.references], line.advance)
            except TextTooLong as error:
                return Measured(reason=f"{error}: the published evaluation stops there too, without a value")
        predicted, reference = both[: len(texts.ids)], both[len(texts.ids) :]
        columns = dict(zip(self._sides, (predicted.tolist(), reference.tolist()), strict=True))
        shown = (column for uncertain in UNCERTAIN for column in positive(reference, uncertain).T)
        return Measured(
            self.measures(columns),
            columns,
            positives=dict(zip(self.once, shown, strict=True)),
            reliable_from={name: FEW_STUDIES for name in self.names if "_macro_" in name},
        )

    def measures(self, columns: Columns) -> dict[str, Measure]:
        if not all(side in columns for side in self._sides):
            return {}
        predicted, reference = (
            np.array(columns[side], dtype=np.int8).reshape(-1, len(FINDING_KEYS)) for side in self._sides
        )
        return dict(zip(self.names, f1_measures(predicted, reference).values(), strict=True))
