"""Protocols of the report task: `sound`, and `unix` as published."""

from unix_bench.protocols.report.instruments import find_annotator, find_labeller
from unix_bench.protocols.report.scoring import PublishedReport, SoundReport

__all__ = ["PublishedReport", "SoundReport", "find_annotator", "find_labeller"]
