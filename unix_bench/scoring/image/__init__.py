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
from unix_bench.scoring.image.neighbours import PRDC, nearest_distances, prdc
from unix_bench.scoring.image.projection import Projection, pca
from unix_bench.scoring.image.sampling import (
    PRDCSpread,
    fd_at_half,
    fd_floor,
    fd_infinity,
    kd_floor,
    patient_halves,
    prdc_at,
)
from unix_bench.scoring.image.table import FeatureTable

__all__ = [
    "PRDC",
    "FeatureTable",
    "Gaussian",
    "KernelEstimate",
    "KernelSums",
    "PRDCSpread",
    "Projection",
    "SubsetMoments",
    "cosine_similarity",
    "fd_at_half",
    "fd_floor",
    "fd_infinity",
    "fit_gaussian",
    "frechet_distance",
    "gaussian_distance",
    "kd_floor",
    "kernel_distance",
    "kernel_distance_subsets",
    "kernel_estimate",
    "kernel_sums",
    "nearest_distances",
    "patient_halves",
    "pca",
    "prdc",
    "prdc_at",
]
