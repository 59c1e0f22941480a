"""Metrics of drawn images: feature matrices to numbers."""

from unix_bench.scoring.image.frechet import frechet_distance
from unix_bench.scoring.image.kernel import kernel_distance
from unix_bench.scoring.image.neighbours import PRDC, prdc

__all__ = ["PRDC", "frechet_distance", "kernel_distance", "prdc"]
