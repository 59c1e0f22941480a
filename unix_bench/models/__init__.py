"""Models under test: one file a family, behind the requests of `base`."""

from unix_bench.models.base import (
    ImageDrawer,
    ImageRequest,
    Loadable,
    PairLosses,
    Probe,
    ProbePair,
    ReportRequest,
    ReportWriter,
)

__all__ = [
    "ImageDrawer",
    "ImageRequest",
    "Loadable",
    "PairLosses",
    "Probe",
    "ProbePair",
    "ReportRequest",
    "ReportWriter",
]
