"""The probe task under protocol `sound`: losses of test pairs, each with an interval over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unix_bench.data import Study
from unix_bench.errors import UserError
from unix_bench.protocols.base import Columns, NewLine, Pair, Row, Samples, Scored, Value, patient_of, without_failures
from unix_bench.protocols.bootstrap import INTERVAL, patient_intervals
from unix_bench.protocols.metered import MeterScoring, numbers
from unix_bench.records import RunFolder
from unix_bench.scoring.statistics import Measure, image_flags, mean_of
from unix_bench.spec import OnError


@dataclass(frozen=True)
class LossMeter:
    """One loss of each pair that has it, and how a set's follows.

    Attributes:
        loss: Its name in a sample's `losses`.
        weight: The name of what it is divided by there; None: pairs count alike.
        text: What a pair needs to have it.
        defined: What defines it, for the signature.
    """

    name: str
    loss: str
    weight: str | None
    text: str
    defined: Mapping[str, str]

    once: Sequence[str] = ()
    absent: None = None

    @property
    def names(self) -> Sequence[str]:
        return (self.name,)

    @property
    def instruments(self) -> Mapping[str, str]:
        return {}

    def definition(self, metric: str) -> dict[str, str]:
        return {**self.defined, "pairs": f"those with a {self.text}", "interval": INTERVAL}

    def measures(self, columns: Columns) -> dict[str, Measure]:
        """The loss of a set as sums over pairs, those without it counting nothing."""
        if self.loss not in columns:
            return {}
        stated = numbers(columns[self.loss])
        totals, there = np.nan_to_num(stated), ~np.isnan(stated)
        weights = np.nan_to_num(numbers(columns[self.weight])) if self.weight else there.astype(np.float64)
        # A loss has no greatest value, and an interval asks for one where all patients agree: twice the worst.
        worst = float(np.divide(totals, weights, out=np.zeros_like(totals), where=weights > 0).max(initial=0.0))
        mean = mean_of(totals, weights > 0, within=(0.0, 2.0 * worst))
        return {self.name: replace(mean, parts=np.stack([totals, weights], axis=1))}


class SoundProbe(MeterScoring[LossMeter]):
    """Failures left out; the report's loss a token of all reports, the flow's a mean over images."""

    stand_in = False

    def __init__(self, on_error: OnError | None) -> None:
        if on_error == "score-zero":
            raise UserError("--on-error score-zero has no meaning for the probe, where 0 is the best loss there is")
        self.on_error: OnError = on_error or "drop-pair"
        super().__init__(
            [
                LossMeter(
                    "probe_ce",
                    "report_nats",
                    "report_tokens",
                    "reference report",
                    {"loss": "cross entropy, teacher-forced", "aggregate": "all tokens of all reports, ends included"},
                ),
                LossMeter(
                    "probe_flow_mse",
                    "flow_mse",
                    None,
                    "prompt",
                    {"loss": "squared error of the velocity", "aggregate": "mean over latents, times, then images"},
                ),
            ]
        )

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        return without_failures(eligible, samples)

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], new_line: NewLine) -> Scored:
        names = [name for meter in self._meters for name in (meter.loss, meter.weight) if name]
        columns = {name: [(pair.sample.losses or {}).get(name) for pair in pairs] for name in names}
        return Scored([self._values(row, pairs, columns) for row in rows], columns)

    def _values(self, row: Row, pairs: Sequence[Pair], columns: Columns) -> list[Value]:
        chosen = [pairs[index] for index in row.members]
        if not chosen:
            return [Value(meter.name, None, row.why_empty) for meter in self._meters]
        own = {name: [column[index] for index in row.members] for name, column in columns.items()}
        measures = self.measures(own)
        bounds = patient_intervals(list(measures.values()), [pair.patient for pair in chosen])
        values = []
        for meter, measure, ci in zip(self._meters, measures.values(), bounds, strict=True):
            counted = [pair.study for pair in chosen if meter.loss in (pair.sample.losses or {})]
            if not counted:
                values.append(Value(meter.name, None, f"no predicted study of this row has a {meter.text}"))
                continue
            known = all(study.patient_id is not None for study in counted)
            flags = image_flags([patient_of(study) for study in counted], known)
            values.append(Value(meter.name, measure.value(), flags=flags, ci=ci, n=len(counted)))
        return values
