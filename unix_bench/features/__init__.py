"""Encoders: images to feature vectors."""

from unix_bench.features.demodino import DemoDino
from unix_bench.features.encoder import Encoder

__all__ = ["DemoDino", "Encoder"]
