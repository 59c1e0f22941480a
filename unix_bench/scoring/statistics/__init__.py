"""How sure a number is: intervals, paired tests of two systems, the spread between training seeds."""

from unix_bench.scoring.statistics.bootstrap import FEW_POSITIVES, FEW_STUDIES, Interval, intervals
from unix_bench.scoring.statistics.frechet_intervals import FrechetJackknife, Limit
from unix_bench.scoring.statistics.kernel_intervals import kernel_interval, paired_kernel_difference
from unix_bench.scoring.statistics.margins import Margin, MarginTest, kernel_margin, measure_margin
from unix_bench.scoring.statistics.measure import Measure, class_f1, f1_parts, macro_f1, mean_of, micro_f1
from unix_bench.scoring.statistics.memorisation import MemorisationGap, NearShare, memorisation_gap, near_share
from unix_bench.scoring.statistics.paired import Difference, approximate_randomisation, holm, paired_bootstrap
from unix_bench.scoring.statistics.patient_pairs import FEW_PATIENTS, effective_patients, image_flags
from unix_bench.scoring.statistics.seeds import Spread, between_seeds

__all__ = [
    "FEW_PATIENTS",
    "FEW_POSITIVES",
    "FEW_STUDIES",
    "Difference",
    "FrechetJackknife",
    "Interval",
    "Limit",
    "Margin",
    "MarginTest",
    "Measure",
    "MemorisationGap",
    "NearShare",
    "Spread",
    "approximate_randomisation",
    "between_seeds",
    "class_f1",
    "effective_patients",
    "f1_parts",
    "holm",
    "image_flags",
    "intervals",
    "kernel_interval",
    "kernel_margin",
    "macro_f1",
    "mean_of",
    "measure_margin",
    "memorisation_gap",
    "micro_f1",
    "near_share",
    "paired_bootstrap",
    "paired_kernel_difference",
]
