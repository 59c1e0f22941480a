"""How sure a number is: intervals, paired tests of two systems, the spread between training seeds."""

from unix_bench.scoring.statistics.bootstrap import FEW_POSITIVES, FEW_STUDIES, Interval, intervals
from unix_bench.scoring.statistics.measure import Measure, class_f1, f1_parts, macro_f1, mean_of, micro_f1
from unix_bench.scoring.statistics.paired import Difference, approximate_randomisation, holm, paired_bootstrap
from unix_bench.scoring.statistics.seeds import Spread, between_seeds

__all__ = [
    "FEW_POSITIVES",
    "FEW_STUDIES",
    "Difference",
    "Interval",
    "Measure",
    "Spread",
    "approximate_randomisation",
    "between_seeds",
    "class_f1",
    "f1_parts",
    "holm",
    "intervals",
    "macro_f1",
    "mean_of",
    "micro_f1",
    "paired_bootstrap",
]
