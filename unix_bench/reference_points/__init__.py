"""Reference points: what a table is read against. They are given the references, openly, and are no models."""

from unix_bench.reference_points.source import FAMILY, ReferenceSource

__all__ = ["FAMILY", "ReferenceSource"]
