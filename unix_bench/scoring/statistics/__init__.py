"""How sure a number is: intervals, paired tests of two systems, the spread between training seeds."""

from unix_bench.scoring.statistics.bootstrap import FEW_POSITIVES, FEW_STUDIES, Interval, intervals
from unix_bench.scoring.statistics.frechet_intervals import FrechetJackknife, Limit, frechet_interval, frechet_limit
from unix_bench.scoring.statistics.kernel_intervals import kernel_interval, paired_kernel_difference
from unix_bench.scoring.statistics.measure import Measure, class_f1, f1_parts, macro_f1, mean_of, micro_f1
from unix_bench.scoring.statistics.memorisation import MemorisationGap, memorisation_gap
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
    "Measure",
    "MemorisationGap",
    "Spread",
    "approximate_randomisation",
    "between_seeds",
    "class_f1",
    "effective_patients",
    "f1_parts",
    "frechet_interval",
    "frechet_limit",
    "holm",
    "image_flags",
    "intervals",
    "kernel_interval",
    "macro_f1",
    "mean_of",
    "memorisation_gap",
    "micro_f1",
    "paired_bootstrap",
    "paired_kernel_difference",
]
