"""What a scoring protocol is: one exact way of turning predictions into numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from unix_bench.data import FINDINGS, Study
from unix_bench.execution import ProgressLine
from unix_bench.features import Encoder
from unix_bench.records import RunFolder, Sample
from unix_bench.scoring.statistics import Measure
from unix_bench.spec import OnError, Uncertain

Samples = Mapping[str, Sample]  # by id, in the order of their file
NewLine = Callable[[str, int], ProgressLine]  # label, number of items
Columns = Mapping[str, Sequence[object]]  # of `samples.parquet`: what each pair has of its own


@dataclass(frozen=True)
class Pair:
    """A study and what was predicted for it; under some policies a failed prediction too."""

    study: Study
    sample: Sample

    @property
    def patient(self) -> str:
        """Whose study it is, as far as the data says: what is resampled."""
        return patient_of(self.study)


@dataclass(frozen=True)
class Row:
    """A row of the results table.

    Attributes:
        pathology: The finding its studies show; None: all studies.
        members: The pairs it rests on, by index.
        rule: How these were chosen, for the signature; empty for all.
    """

    pathology: str | None
    members: list[int]
    rule: str = ""

    @property
    def why_empty(self) -> str:
        """Why a row without members has no values."""
        return "no study was predicted" if self.pathology is None else "no predicted study shows this finding"


@dataclass(frozen=True)
class Value:
    """A metric in one row; None with a reason where it was not computed.

    Attributes:
        ci: Interval at 95 %.
        sd: Standard deviation between the repeated subsamples whose mean the value is.
        n: Studies it rests on where not all of the row's have it.
        support: Positive references behind an F1; under `chexgenbench` real images, one a prompt.
        better: Which way is better, for a metric that a plug-in brings.
    """

    name: str
    value: float | None
    reason: str | None = None
    flags: list[str] = field(default_factory=list)
    ci: tuple[float, float] | None = None
    sd: float | None = None
    n: int | None = None
    support: int | None = None
    better: str | None = None


@dataclass(frozen=True)
class Ranking:
    """By what pairs are called good or bad, where people look at them.

    Attributes:
        criterion: In words.
        scores: One a pair, higher is better; NaN for a pair without.
    """

    criterion: str
    scores: Sequence[float]


@dataclass(frozen=True)
class Scored:
    """What came of scoring.

    Attributes:
        rows: Values of each row.
        per_sample: Column -> what each pair has of its own.
        failed: Instruments that were there and gave nothing -> why; the next scoring tries them again.
        ranking: Of drawn images; None for reports.
    """

    rows: list[list[Value]]
    per_sample: Columns
    failed: Mapping[str, str] = field(default_factory=dict)
    ranking: Ranking | None = None


class Scoring(Protocol):
    """A protocol at work: the instruments it measures with, which pairs it admits, and the values it gives."""

    @property
    def on_error(self) -> OnError:
        """What a failed prediction counts as."""

    @property
    def instruments(self) -> Mapping[str, str]:
        """Encoder or labeller -> digest of its weights; with them the numbers would change."""

    @property
    def absent(self) -> Mapping[str, str]:
        """What cannot be measured here, by its first metric -> why, in words that hold no path."""

    @property
    def training(self) -> str | None:
        """Name and content digest of the training images it compares with; None: none."""

    @property
    def restricted(self) -> bool:
        """Does it read restricted data beside the run's own?"""

    @property
    def stand_in(self) -> bool:
        """Do all its numbers come from a stand-in? That stamps the results `demo`."""

    @property
    def judges(self) -> Sequence[Encoder]:
        """The encoders behind its kernel distances, as far as two runs' can be tested against each other."""

    def why_not(self, metric: str) -> str | None:
        """Why a metric cannot be computed here, as far as is known beforehand; None if it can.

        Raises:
            KeyError: The protocol has no such metric, nor a group of metrics that begins so.
        """

    def definition(self, metric: str) -> dict[str, str]:
        """What defines a metric, for its signature; stands above what every signature says."""

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        """The pairs that count, in the order of the tables.

        Args:
            studies: The whole data set by id.
            eligible: Those that have what the task needs, in order; each has a sample.
            samples: The predictions.

        Raises:
            UserError: The policy for failed predictions has no meaning here.
        """

    def rows(self, pairs: Sequence[Pair], per_pathology: bool, uncertain: Uncertain) -> list[Row]:
        """The rows of the table: all pairs and, if asked for, those of each finding."""

    def score(self, run: RunFolder, pairs: Sequence[Pair], rows: Sequence[Row], new_line: NewLine) -> Scored:
        """Compute every metric of the protocol for every row."""

    def measures(self, columns: Columns) -> dict[str, Measure]:
        """Each metric that follows from what the pairs have of their own, as `score` measured it.

        Args:
            columns: What `score` gave of each pair, or of some of the pairs.
        """


def covers(required: str, metric: str) -> bool:
    """Whether `--require REQUIRED` means this metric: its name, or the first words of it.

    >>> covers("chexbert", "chexbert_f1_edema_neg"), covers("f", "fd_demodino")
    (True, False)
    """
    return metric == required or metric.startswith(f"{required}_")


def without_failures(eligible: Sequence[Study], samples: Samples) -> list[Pair]:
    """The pairs of a policy that leaves failed predictions out."""
    return [Pair(study, samples[study.id]) for study in eligible if samples[study.id].error is None]


def labelled_rows(pairs: Sequence[Pair], per_pathology: bool, uncertain: Uncertain) -> list[Row]:
    """All pairs and, for each finding, those whose study is labelled as showing it."""
    shown = (1,) if uncertain == "negative" else (1, -1)
    rows = [Row(None, list(range(len(pairs))))]
    for finding in FINDINGS if per_pathology else ():
        members = [i for i, pair in enumerate(pairs) if pair.study.reference.labels.get(finding) in shown]
        rows.append(Row(finding, members, f"{finding} labelled as shown, uncertain as {uncertain}"))
    return rows


def patient_of(study: Study) -> str:
    """Whose image it is, as far as the data says."""
    return study.patient_id or study.study_id or study.id
