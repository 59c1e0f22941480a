"""Metrics of drawn images: feature matrices to numbers."""

from unix_bench.scoring.image.alignment import cosine_similarity
from unix_bench.scoring.image.frechet import Gaussian, fit_gaussian, frechet_distance, gaussian_distance
from unix_bench.scoring.image.kernel import (
    KernelEstimate,
    SubsetMoments,
    kernel_distance,
    kernel_distance_subsets,
    kernel_estimate,
)
from unix_bench.scoring.image.kernel_sums import KernelSums, kernel_sums
from unix_bench.scoring.image.neighbours import PRDC, PRDCSpread, nearest_distances, prdc
from unix_bench.scoring.image.projection import Projection, pca
from unix_bench.scoring.image.sampling import Floors, floors
from unix_bench.scoring.image.table import FeatureTable

__all__ = [
    "PRDC",
    "FeatureTable",
    "Floors",
    "Gaussian",
    "KernelEstimate",
    "KernelSums",
    "PRDCSpread",
    "Projection",
    "SubsetMoments",
    "cosine_similarity",
    "fit_gaussian",
    "floors",
    "frechet_distance",
    "gaussian_distance",
    "kernel_distance",
    "kernel_distance_subsets",
    "kernel_estimate",
    "kernel_sums",
    "nearest_distances",
    "pca",
    "prdc",
]
