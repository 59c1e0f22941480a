"""Meters: what measures pairs of reports, one file a kind."""

from unix_bench.protocols.meters.base import Absent, Measured, Meter, Reading, Texts
from unix_bench.protocols.meters.graphs import GraphMeter
from unix_bench.protocols.meters.labels import LabelMeter
from unix_bench.protocols.meters.plugins import plugin_meters
from unix_bench.protocols.meters.words import BleuMeter, RougeMeter

__all__ = [
    "Absent",
    "BleuMeter",
    "GraphMeter",
    "LabelMeter",
    "Measured",
    "Meter",
    "Reading",
    "RougeMeter",
    "Texts",
    "plugin_meters",
]
