"""The report task under its two protocols: `sound`, and `unix`, which computes what UniX's published evaluation does.

Source of the second: eval/calculate_und_metrics.py and eval/und_metrics of the UniX repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unix_bench.data import Study
from unix_bench.errors import UserError
from unix_bench.protocols.base import NewLine, Pair, Row, Samples, Scored, without_failures
from unix_bench.protocols.bootstrap import INTERVAL
from unix_bench.protocols.metered import MeterScoring
from unix_bench.protocols.report.instruments import chexbert_meter, radgraph_meter, rule14_meter
from unix_bench.protocols.report.meters import BleuMeter, Measured, Meter, RougeMeter, Texts, plugin_meters
from unix_bench.protocols.report.values import row_values
from unix_bench.records import RunFolder
from unix_bench.settings import Settings
from unix_bench.spec import OnError

FAILED_AS_PUBLISHED = "nan"  # an empty cell of UniX's CSV, as pandas and str() make it


class ReportScoring(MeterScoring[Meter]):
    """Pairs of reports, given to one meter after the other."""

    stand_in = False  # rule14 is one, and says so in the names of its metrics
    on_error: OnError

    def definition(self, metric: str) -> dict[str, str]:
        return {**super().definition(metric), "interval": INTERVAL}

    def texts(self, pair: Pair) -> tuple[str, str]:
        """Prediction and reference as they are compared."""
        return pair.sample.report or "", pair.study.reference.report or ""

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], new_line: NewLine) -> Scored:
        both = [self.texts(pair) for pair in pairs]
        texts = Texts([pair.study.id for pair in pairs], [p for p, _ in both], [r for _, r in both])
        found = [(meter, meter.measure(texts, new_line) if pairs else Measured()) for meter in self._meters]
        clusters = [pair.patient for pair in pairs]
        columns = {name: column for _, measured in found for name, column in measured.columns.items()}
        failed = {name: measured.reason for meter, measured in found if measured.reason for name in meter.instruments}
        return Scored([row_values(row, found, clusters) for row in rows], columns, failed)


class SoundReport(ReportScoring):
    """Whole reports, failures left out, plain means, and each metric that can be had."""

    def __init__(self, settings: Settings, on_error: OnError | None, allow_external: bool) -> None:
        self.on_error = on_error or "drop-pair"
        super().__init__(
            [
                chexbert_meter(settings),
                rule14_meter(),
                radgraph_meter(settings, settings.radgraph_model),
                BleuMeter("sound"),
                RougeMeter("sound"),
                *plugin_meters(allow_external),
            ]
        )

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        if self.on_error == "score-zero":  # an empty report, which scores 0 in every metric of ours
            return [Pair(study, samples[study.id]) for study in eligible]
        return without_failures(eligible, samples)


class PublishedReport(ReportScoring):
    """What UniX's evaluation computes, its quirks included.

    A failed prediction is the report "nan"; pairs with a blank side are left out; CheXbert reads the first 512
    characters; ROUGE-L is the median of bootstrap means. UniX's own CSV is scored in its own order, with its own
    references, as the published code reads both from it.
    """

    def __init__(self, settings: Settings, on_error: OnError | None) -> None:
        if on_error not in (None, "fail"):
            raise UserError(
                f"--on-error {on_error} is not what the published evaluation does, which scores a failed prediction "
                "as the report 'nan': leave it out under --protocol unix"
            )
        self.on_error = on_error or "score-as-nan"
        super().__init__(
            [
                chexbert_meter(settings, as_published=True),
                radgraph_meter(settings, "radgraph"),
                BleuMeter("unix"),
                RougeMeter("unix"),
            ]
        )

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        from_csv = [Pair(studies[name], sample) for name, sample in samples.items() if sample.unix_csv is not None]
        pairs = from_csv or [Pair(study, samples[study.id]) for study in eligible]
        return [pair for pair in pairs if all(text.strip() for text in self.texts(pair))]

    def definition(self, metric: str) -> dict[str, str]:
        return {**super().definition(metric), "blank": "left out"}

    def texts(self, pair: Pair) -> tuple[str, str]:
        if pair.sample.unix_csv is not None:
            return pair.sample.unix_csv
        prediction, reference = super().texts(pair)
        return (prediction if pair.sample.error is None else FAILED_AS_PUBLISHED), reference
