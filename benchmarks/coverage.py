"""How often 95 % intervals hold the truth: ours, the plain percentile bootstrap, and ours with patients ignored.

    python benchmarks/coverage.py [--sizes 100 200 500 2365] [--positives 5 10 20 50] [--trials 1000]
                                  [--replicates 1000] [--seed 0] [--json] [--paired]

Each trial draws a test set from a made-up world whose population values are known. Patients have one to five studies,
2.0 on average; what is there, what a system names, and how good a report is go together within a patient.
With `--paired`, two systems on the same studies: how often the tests call equal systems different, and how often the
interval of a difference holds it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from unix_bench.scoring.statistics import (
    Measure,
    approximate_randomisation,
    class_f1,
    intervals,
    macro_f1,
    mean_of,
    micro_f1,
    paired_bootstrap,
)

Matrix = NDArray[np.float64]
STUDIES, SHARES = (1, 2, 3, 4, 5), (0.5, 0.2, 0.15, 0.1, 0.05)  # of a patient
WITHIN_LABELS, WITHIN_SCORES = 0.4, 0.5  # correlation between two studies of a patient, on the normal scale
COMMON = 0.1  # of the variance of what is there: shared by all findings, since sick patients have several

# Findings in the shares of MIMIC-CXR's reports, rounded; how much oftener or rarer each is named than it is there;
# and how well a middling system sees it (correlation on the normal scale).
PREVALENCE = np.array([0.03, 0.25, 0.30, 0.03, 0.20, 0.05, 0.06, 0.25, 0.02, 0.35, 0.005, 0.02, 0.40, 0.07])
NAMED = np.array([0.5, 1.2, 0.9, 0.6, 1.1, 0.7, 0.7, 1.1, 0.8, 1.0, 0.6, 0.5, 1.0, 1.3])
SEEN = np.array([0.30, 0.75, 0.60, 0.35, 0.75, 0.40, 0.45, 0.65, 0.60, 0.85, 0.35, 0.30, 0.90, 0.70])
SYSTEMS = {"weak": 0.6 * SEEN, "middling": SEEN, "strong": 1.0 - 0.3 * (1.0 - SEEN)}
LEVELS = {"low": 0.35, "middle": 0.7, "high": 0.95}

# Scores of reports: the share of 0, the share of 1, and a beta distribution between.
SCORES = {
    "sentence BLEU": (0.02, 0.01, 1.2, 9.0),
    "ROUGE-L": (0.005, 0.02, 5.0, 12.0),
    "RadGraph": (0.12, 0.03, 2.2, 5.0),
}
PRECISION = np.array([0.42, 0.24, 0.15, 0.10])  # of n-grams, in a middling report


@dataclass(frozen=True)
class Case:
    """One measure of the made-up world and its population value."""

    name: str
    truth: float
    measure: Callable[[dict[str, Matrix]], Measure]


def patients(studies: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[n] the patient of each study."""
    sizes = rng.choice(STUDIES, size=studies, p=SHARES)
    return np.repeat(np.arange(studies), sizes)[:studies]


def normals(patient: NDArray[np.int64], columns: int, within: float, rng: np.random.Generator) -> Matrix:
    """[n, columns] standard normals with a correlation within patients."""
    own = rng.standard_normal((len(patient), columns))
    shared = rng.standard_normal((patient[-1] + 1, columns))[patient]
    return math.sqrt(within) * shared + math.sqrt(1.0 - within) * own


def labelled(there: Matrix, prevalence: Matrix, named: Matrix, seen: Matrix, other: Matrix) -> Matrix:
    """[n, 3c] TP, FP, FN of a system that sees `there` through noise `other`."""
    positive = there > stats.norm.isf(prevalence)
    called = seen * there + np.sqrt(1.0 - seen**2) * other > stats.norm.isf(named)
    kinds = np.stack([positive & called, ~positive & called, positive & ~called], axis=-1)
    return kinds.reshape(len(there), -1).astype(np.float64)


def expected(prevalence: Matrix, named: Matrix, seen: Matrix) -> Matrix:
    """[3c] what a study adds on average to TP, FP, FN of each class."""
    rows = []
    for share, called, correlation in zip(prevalence, named, seen, strict=True):
        both = stats.multivariate_normal([0.0, 0.0], [[1.0, correlation], [correlation, 1.0]])
        hit = float(both.cdf([stats.norm.ppf(share), stats.norm.ppf(called)]))
        rows.append([hit, called - hit, share - hit])
    return np.array(rows).reshape(-1)


def scored(quality: Matrix, zero: float, one: float, a: float, b: float) -> Matrix:
    """Normals to scores with point masses at 0 and 1."""
    rank = special.ndtr(quality)
    between = special.betaincinv(a, b, np.clip((rank - zero) / (1.0 - zero - one), 0.0, 1.0))
    return np.where(rank < zero, 0.0, np.where(rank > 1.0 - one, 1.0, between))


def ngrams(quality: Matrix, rng: np.random.Generator, exact: bool = False) -> Matrix:
    """[n, 10] matches and totals of orders 1 to 4, length of the report and of its reference.

    Args:
        quality: [n] normals; better reports are longer, too.
        rng: For lengths and matches.
        exact: Expected matches given quality and length in place of drawn ones.
    """
    reference = 8.0 + rng.poisson(rng.gamma(4.0, 10.0, len(quality)))
    length = 8.0 + rng.poisson(0.85 * (reference - 8.0) * np.exp(0.15 * quality))
    totals = length[:, None] - np.arange(4.0)
    precision = special.expit(special.logit(PRECISION) + np.array([0.5, 0.8, 1.0, 1.2]) * quality[:, None])
    matches = totals * precision if exact else rng.binomial(totals.astype(np.int64), precision)
    return np.concatenate([matches, totals, length[:, None], reference[:, None]], axis=1)


def corpus_bleu(sums: Matrix) -> Matrix:
    """BLEU-4 of sums [..., 10]; its own here, so that the simulation rests on nothing but the statistics."""
    matches, totals = np.maximum(sums[..., :4], 1e-12), sums[..., 4:8]
    brevity = np.minimum(0.0, 1.0 - sums[..., 9] / sums[..., 8])
    value: Matrix = np.exp(brevity + np.log(matches / totals).mean(axis=-1))
    return value


def single_findings(studies: int, positives: list[int]) -> tuple[list[str], Matrix, Matrix, Matrix]:
    """Names, prevalence, share named, and correlation of findings with so many expected positives."""
    kinds = [(count, level, seen) for count in positives for level, seen in LEVELS.items()]
    prevalence = np.array([count / studies for count, _, _ in kinds])
    names = [f"one finding, {count} positives, {level}" for count, level, _ in kinds]
    return names, prevalence, 0.9 * prevalence, np.array([seen for _, _, seen in kinds])


def draw(studies: int, positives: list[int], rng: np.random.Generator) -> tuple[NDArray[np.int64], dict[str, Matrix]]:
    """One test set: the patient of each study, and the parts of everything."""
    patient = patients(studies, rng)
    classes = len(PREVALENCE)
    common, own, noise = (normals(patient, columns, WITHIN_LABELS, rng) for columns in (1, classes, classes))
    there = np.sqrt(COMMON) * common + np.sqrt(1.0 - COMMON) * own
    world = {name: labelled(there, PREVALENCE, NAMED * PREVALENCE, seen, noise) for name, seen in SYSTEMS.items()}
    _, prevalence, named, seen = single_findings(studies, positives)
    pairs = [normals(patient, len(seen), WITHIN_LABELS, rng) for _ in range(2)]
    world["single"] = labelled(pairs[0], prevalence, named, seen, pairs[1])
    quality = normals(patient, len(SCORES) + 1, WITHIN_SCORES, rng)
    for column, (name, shape) in enumerate(SCORES.items()):
        world[name] = scored(quality[:, column], *shape)[:, None]
    world["corpus BLEU"] = ngrams(quality[:, -1], rng)
    return patient, world


def cases(studies: int, positives: list[int]) -> list[Case]:
    """Everything that is measured, with its truth."""
    found = []
    for name, (zero, one, a, b) in SCORES.items():
        truth = one + (1.0 - zero - one) * a / (a + b)
        found.append(Case(name, truth, lambda world, name=name: mean_of(world[name][:, 0])))  # type: ignore[misc]
    rng = np.random.default_rng(0)
    population = ngrams(rng.standard_normal(1_000_000), rng, exact=True).mean(axis=0)
    found.append(Case("corpus BLEU", float(corpus_bleu(population)), lambda w: Measure(w["corpus BLEU"], corpus_bleu)))
    for name, seen in SYSTEMS.items():
        sums = expected(PREVALENCE, NAMED * PREVALENCE, seen)[None]
        for kind, measure in (("micro-F1", micro_f1), ("macro-F1", macro_f1)):
            found.append(
                Case(f"{kind}, {name}", measure(sums).value(), lambda w, name=name, measure=measure: measure(w[name]))  # type: ignore[misc]
            )
    names, prevalence, named, seen = single_findings(studies, positives)
    for index, name in enumerate(names):
        truth = class_f1(expected(prevalence, named, seen)[None], index).value()
        found.append(Case(name, truth, lambda w, index=index: class_f1(w["single"], index)))  # type: ignore[misc]
    return found


def percentile(measures: list[Measure], patient: NDArray[np.int64], replicates: int, seed: int) -> Matrix:
    """[measures, 2] quantiles over test sets made of patients drawn with replacement."""
    rng = np.random.default_rng(seed)
    count = int(patient[-1]) + 1
    drawn = np.stack([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(replicates)])
    weights = drawn.astype(np.float64)
    limits = []
    for measure in measures:
        sums = np.stack([np.bincount(patient, weights=column) for column in measure.parts.T], axis=1)
        limits.append(np.quantile(measure.of(weights @ sums), [0.025, 0.975]))
    return np.array(limits)


def simulate(studies: int, positives: list[int], trials: int, replicates: int, seed: int) -> list[dict[str, object]]:
    """Coverage of every case at one size."""
    known = cases(studies, positives)
    truth = np.array([case.truth for case in known])
    held = np.zeros((3, len(known)))
    width = np.zeros(len(known))
    for trial in range(trials):
        patient, world = draw(studies, positives, np.random.default_rng([seed, studies, trial]))
        measures = [case.measure(world) for case in known]
        ours = np.array(intervals(measures, patient.astype(str).tolist(), trial, replicates))
        alone = np.array(intervals(measures, None, trial, replicates))
        for row, limits in enumerate((ours, percentile(measures, patient, replicates, trial), alone)):
            held[row] += (limits[:, 0] <= truth) & (truth <= limits[:, 1])
        width += ours[:, 1] - ours[:, 0]
    shares = held / trials
    return [
        {
            "measure": case.name,
            "n": studies,
            "truth": round(case.truth, 3),
            "ours, %": round(100 * shares[0, index], 1),
            "±": round(100 * math.sqrt(max(shares[0, index] * (1 - shares[0, index]), 1e-4) / trials), 1),
            "percentile, %": round(100 * shares[1, index], 1),
            "patients ignored, %": round(100 * shares[2, index], 1),
            "width": round(width[index] / trials, 3),
        }
        for index, case in enumerate(known)
    ]


def simulate_paired(studies: int, trials: int, replicates: int, seed: int) -> list[dict[str, object]]:
    """Tests of two middling systems that differ by chance alone, and intervals where the second sees a fifth less."""
    single = np.append(PREVALENCE, 20 / studies)
    called, seen = np.append(NAMED, 0.8) * single, np.append(SEEN, 0.7)
    kinds: dict[str, Callable[[Matrix], Measure]] = {
        "micro-F1": lambda parts: micro_f1(parts[:, :-3]),
        "macro-F1": lambda parts: macro_f1(parts[:, :-3]),
        "one finding, 20 positives": lambda parts: class_f1(parts, len(PREVALENCE)),
    }
    population = [expected(single, called, share * seen)[None] for share in (1.0, 0.8)]
    gaps = [measure(population[0]).value() - measure(population[1]).value() for measure in kinds.values()]
    counts = np.zeros((3, len(kinds)))
    for trial in range(trials):
        rng = np.random.default_rng([seed, studies, trial])
        patient = patients(studies, rng)
        there, shared, *own = (normals(patient, len(seen), WITHIN_LABELS, rng) for _ in range(4))
        noise = [np.sqrt(0.5) * shared + np.sqrt(0.5) * each for each in own]  # what is hard, is hard for both
        systems = [labelled(there, single, called, seen, each) for each in noise]
        systems.append(labelled(there, single, called, 0.8 * seen, noise[1]))
        names = patient.astype(str).tolist()
        for column, (measure, gap) in enumerate(zip(kinds.values(), gaps, strict=True)):
            a, b, worse = (measure(parts) for parts in systems)
            null, real = (paired_bootstrap(a, other, names, trial, replicates) for other in (b, worse))
            counts[0, column] += approximate_randomisation(a, b, names, trial, replicates) <= 0.05
            counts[1, column] += null.p is not None and null.p <= 0.05
            counts[2, column] += real.ci is not None and real.ci[0] <= gap <= real.ci[1]
    shares = np.round(100 * counts / trials, 1)
    return [
        {
            "measure": name,
            "n": studies,
            "difference": round(gap, 3),
            "randomisation errs, %": shares[0, column],
            "bootstrap errs, %": shares[1, column],
            "interval holds the difference, %": shares[2, column],
        }
        for column, (name, gap) in enumerate(zip(kinds, gaps, strict=True))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 500, 2365])
    parser.add_argument(
        "--positives", type=int, nargs="+", default=[5, 10, 20, 50], help="of single findings, expected"
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paired", action="store_true", help="the paired tests in place of the intervals")
    parser.add_argument("--json", action="store_true", help="one JSON object a row in place of a Markdown table")
    options = parser.parse_args()
    titled = options.json
    for studies in options.sizes:
        rest = options.trials, options.replicates, options.seed
        rows = simulate_paired(studies, *rest) if options.paired else simulate(studies, options.positives, *rest)
        if not titled:
            print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
            titled = True
        for row in rows:
            print(json.dumps(row) if options.json else f"| {' | '.join(map(str, row.values()))} |", flush=True)


if __name__ == "__main__":
    main()
