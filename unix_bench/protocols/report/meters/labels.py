"""F1 of the 14 CheXpert observations, as a labeller finds them in the reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unix_bench.features import TextTooLong
from unix_bench.protocols.base import NewLine
from unix_bench.protocols.metered import Absent
from unix_bench.protocols.report.meters.base import Measured, Reading, Texts
from unix_bench.scoring.report import FINDING_KEYS, UNCERTAIN, f1_measures, positive
from unix_bench.scoring.statistics import FEW_STUDIES

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
        there = {
            f"{self._name}_f1_{finding}_{uncertain}": column
            for uncertain in UNCERTAIN
            for finding, column in zip(FINDING_KEYS, positive(reference, uncertain).T, strict=True)
        }
        readings = {
            name: Reading(measure, positives=there.get(name), reliable_from=FEW_STUDIES if "_macro_" in name else 0)
            for name, measure in zip(self.names, f1_measures(predicted, reference).values(), strict=True)
        }
        columns = {f"{self._name}_predicted": predicted.tolist(), f"{self._name}_reference": reference.tolist()}
        return Measured(readings, columns)
