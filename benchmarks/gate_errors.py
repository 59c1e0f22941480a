"""How often the gate is wrong, and how often it gets to an answer: by the true drop and the number of studies.

    python benchmarks/gate_errors.py [--data ../shared/data/iu_xray] [--sizes 50 200 500 1000 2000]
                                     [--drops 0 1 2 4] [--changed 0.02 0.1 0.3] [--trials 300] [--replicates 600]
                                     [--seed 0] [--json]

The scores are real: reports of a data set, labelled by rule14, scored by BLEU-4 and ROUGE-L. The baseline writes for
each study the reference with sentences left out, or another study's report. The candidate differs from it in a share of
the studies (`--changed`): there it writes another report of the baseline's own kind, or, in as many as the wanted drop
needs, always another study's. Test sets are drawn from the studies with replacement, so that the drop over all of
them is the true one. RadGraph's weights cannot be had everywhere; ROUGE-L, a mean over reports too, stands in its
place with its margin. A drop of 1 lies on the margin of the primary that loses most, in margins of it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import read_folder
from unix_bench.features import Rule14
from unix_bench.gate import Case, decide, outcome_of
from unix_bench.scoring.report import bleu, positive, rouge_l
from unix_bench.scoring.statistics import Margin, Measure, f1_parts, mean_of, measure_margin, micro_f1

Matrix = NDArray[np.float64]
MARGINS = {"rule14_f1_micro_14_neg": Margin(0.01), "rouge_l": Margin(0.01), "bleu_4": Margin(0.005)}
OWN, KEPT = 0.35, 0.7  # share of studies with the own report in the baseline; of its sentences that are written
ALPHA, MINIMUM_N = 0.05, 50


@dataclass(frozen=True)
class World:
    """What each study adds to each metric under three ways of writing its report: [3, n, k] a metric."""

    parts: dict[str, Matrix]

    def measure(self, name: str, parts: Matrix) -> Measure:
        """The metric of some studies."""
        return micro_f1(parts) if "f1" in name else mean_of(parts[:, 0])

    def value(self, name: str, weights: Matrix) -> float:
        """Over all studies, each way with its share."""
        return self.measure(name, np.einsum("w,wnk->nk", weights, self.parts[name])).value()


def written(references: list[str], rng: np.random.Generator) -> list[str]:
    """Reports of the baseline's kind."""
    others = rng.permutation(len(references))
    reports = []
    for index, text in enumerate(references):
        kept = [sentence for sentence in text.split(". ") if rng.random() < KEPT]
        reports.append(". ".join(kept) if rng.random() < OWN else references[others[index]])
    return reports


def build(folder: Path, rng: np.random.Generator) -> World:
    """Label and score the baseline's reports, others of its kind, and those of other studies."""
    references = [study.reference.report for study in read_folder(folder).studies if study.reference.report]
    rules = Rule14()
    there = positive(rules.label(references), "neg")
    parts: dict[str, list[Matrix]] = {name: [] for name in MARGINS}
    bad = [references[index] for index in rng.permutation(len(references))]
    for reports in (written(references, rng), written(references, rng), bad):
        parts["rule14_f1_micro_14_neg"].append(f1_parts(there, positive(rules.label(reports), "neg")))
        parts["bleu_4"].append(bleu(reports, references)[:, 3:])
        parts["rouge_l"].append(rouge_l(reports, references)[:, None])
    return World({name: np.stack(each) for name, each in parts.items()})


def drops(world: World, shares: Matrix) -> dict[str, float]:
    """True drop of each metric in margins of it, when the three ways have these shares."""
    baseline = np.array([1.0, 0.0, 0.0])
    return {n: (world.value(n, baseline) - world.value(n, shares)) / margin.size for n, margin in MARGINS.items()}


def shares_for(world: World, drop: float, changed: float) -> Matrix:
    """Shares of the three ways with this largest drop, by bisection; every changed study is bad at most."""

    def mixed(bad: float) -> Matrix:
        other = max(0.0, changed - bad)
        return np.array([1.0 - other - bad, other, bad])

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if max(drops(world, mixed(middle)).values()) < drop else (low, middle)
    return mixed(low)


def trial(world: World, shares: Matrix, n: int, replicates: int, seed: int) -> str:
    """One test set and the gate's answer."""
    rng = np.random.default_rng(seed)
    total = len(next(iter(world.parts.values()))[0])
    drawn, way = rng.integers(0, total, n), rng.choice(3, n, p=shares)
    tests = []
    for name, margin in MARGINS.items():
        new, old = (world.measure(name, world.parts[name][how, drawn]) for how in (way, np.zeros(n, dtype=int)))
        tests.append(measure_margin(new, old, None, True, margin, seed, replicates))
    cases = [Case(name, None, "inconclusive", "", n) for name in MARGINS]
    return outcome_of(decide(cases, tests, ALPHA, MINIMUM_N))


def main() -> None:
    """Print the share of passes, failures and open answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/iu_xray"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 500, 1000, 2000])
    parser.add_argument("--drops", type=float, nargs="+", default=[0.0, 1.0, 2.0, 4.0])
    parser.add_argument("--changed", type=float, nargs="+", default=[0.02, 0.1, 0.3])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--replicates", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    world = build(options.data, np.random.default_rng(options.seed))
    rows = []
    if not options.json:
        baseline = {name: round(world.value(name, np.array([1.0, 0.0, 0.0])), 4) for name in MARGINS}
        print("baseline:", baseline)
        print("changed  drop     n   pass %  fail %  open %   true drops in margins")
    for changed in options.changed:
        for drop in options.drops:
            shares = shares_for(world, drop, changed)
            true = {name: round(value, 2) for name, value in drops(world, shares).items()}
            for n in options.sizes:
                seeds = np.random.SeedSequence([options.seed, n, int(100 * drop), int(100 * changed)])
                found = [
                    trial(world, shares, n, options.replicates, int(seed))
                    for seed in seeds.generate_state(options.trials)
                ]
                percent = {word: 100.0 * found.count(word) / len(found) for word in ("pass", "fail", "inconclusive")}
                rows.append({"changed": changed, "drop": drop, "n": n, "true": true, **percent})
                if not options.json:
                    figures = "  ".join(f"{value:6.1f}" for value in percent.values())
                    print(f"{changed:7.2f} {drop:5.1f} {n:5d}   {figures}   {true}", flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
