"""Two runs beside each other: what is shown, on a console, as JSON, as a page."""

from unix_bench.tables.comparison.contents import (
    ChangedSample,
    Comparison,
    FindingChange,
    MetricDifference,
    SideFacts,
    Verdict,
)
from unix_bench.tables.comparison.page import comparison_page
from unix_bench.tables.comparison.redact import as_document, redacted
from unix_bench.tables.comparison.text import print_comparison

__all__ = [
    "ChangedSample",
    "Comparison",
    "FindingChange",
    "MetricDifference",
    "SideFacts",
    "Verdict",
    "as_document",
    "comparison_page",
    "print_comparison",
    "redacted",
]
