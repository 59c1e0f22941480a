"""MIMIC-CXR as its holders have it on disk: the official layout, or annotations of a published protocol."""

from unix_bench.data.mimic.reader import read_mimic

__all__ = ["read_mimic"]
