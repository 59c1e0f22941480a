"""Meters: what measures pairs of reports, one file a kind."""

from unix_bench.protocols.report.meters.base import Measured, Meter, Texts
from unix_bench.protocols.report.meters.graphs import GraphMeter
from unix_bench.protocols.report.meters.labels import LabelMeter
from unix_bench.protocols.report.meters.plugins import plugin_meters
from unix_bench.protocols.report.meters.words import BleuMeter, RougeMeter

__all__ = [
    "BleuMeter",
    "GraphMeter",
    "LabelMeter",
    "Measured",
    "Meter",
    "RougeMeter",
    "Texts",
    "plugin_meters",
]
