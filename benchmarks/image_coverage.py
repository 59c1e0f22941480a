"""How often the 95 % intervals of image metrics hold the truth, in a made-up world whose truth is known.

    python benchmarks/image_coverage.py [--sizes 0 300 100 30] [--worlds perfect mirrored unequal narrow] [--trials 400]
                                        [--replicates 1000] [--seed 0] [--columns 16] [--json]

Features are normal, d = 16 (--columns) with a spectrum 1 / i, alike within a patient (correlation 0.5, real and
generated images alike) and between an image and the one drawn for its prompt (0.4). Size 0 is the whole test set: 289
patients of log-normal size, about 10 images each and a few above 50. The others are findings with so many images, of
patients of log-normal size, 1 to about 15 images. Patients and their sizes are drawn anew in each trial.

Two models draw the same prompts. `perfect`: both as the real images are. `mirrored`: both slightly wrong, in opposite
directions, so equal in distance and yet not exchangeable. `unequal`: one far off, the other slightly wrong. `narrow`:
`perfect` with a spectrum 1 / i^3, where one direction holds 83 % of the variance.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image import kernel_sums
from unix_bench.scoring.statistics import (
    FrechetJackknife,
    effective_patients,
    kernel_interval,
    paired_kernel_difference,
)

Matrix = NDArray[np.float64]
DIM = 16
WITHIN, PROMPT = 0.5, 0.4
ALL = 289  # patients of the whole test set


@dataclass(frozen=True)
class Model:
    """Where a model's features lie: mean in standard deviations of the real ones, and spread as a factor.

    Attributes:
        power: The variances of the features fall as 1 / i^power.
    """

    shift: float = 0.0
    spread: float = 1.0
    power: float = 1.0

    @property
    def scale(self) -> Matrix:
        """[d] standard deviations of the real features; their variances add up to 2 d."""
        variances = np.arange(1.0, DIM + 1.0) ** -self.power
        return np.asarray(np.sqrt(2.0 * DIM * variances / variances.sum()))

    def moments(self) -> tuple[Matrix, Matrix]:
        return self.shift * self.scale, np.diag(np.square(self.spread * self.scale))

    def real(self) -> Model:
        """What it imitates."""
        return Model(power=self.power)


WORLDS = {
    "perfect": (Model(), Model()),
    "mirrored": (Model(0.1, 0.95), Model(-0.1, 0.95)),
    "unequal": (Model(0.3, 0.8), Model(0.1, 0.95)),
    "narrow": (Model(power=3.0), Model(power=3.0)),
}


def expected_kernel(one: Model, other: Model) -> float:
    """Mean of (x.y / d + 1)^3 over independent normals, from their raw moments of order 1 to 3."""
    (m, s), (k, t) = one.moments(), other.moments()
    second = ((s + np.outer(m, m)) * (t + np.outer(k, k))).sum()
    return float(1.0 + 3.0 * m @ k / DIM + 3.0 * second / DIM**2 + (third(m, s) * third(k, t)).sum() / DIM**3)


def third(mean: Matrix, spread: Matrix) -> Matrix:
    """[d, d, d] raw third moments of a normal distribution."""
    mixed = np.einsum("i,jk->ijk", mean, spread)
    cube = np.einsum("i,j,k->ijk", mean, mean, mean)
    return np.asarray(cube + mixed + mixed.transpose(1, 0, 2) + mixed.transpose(1, 2, 0))


def kernel_truth(model: Model) -> float:
    real = model.real()
    return expected_kernel(real, real) + expected_kernel(model, model) - 2.0 * expected_kernel(real, model)


def frechet_truth(model: Model) -> float:
    return float(np.square(model.shift * model.scale).sum() + np.square((1.0 - model.spread) * model.scale).sum())


def patients(images: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """[n] the patient of each image."""
    if not images:
        sizes = np.ceil(5.6 * np.exp(1.05 * rng.standard_normal(ALL))).astype(np.intp)
        return np.repeat(np.arange(ALL), sizes)
    sizes = np.ceil(np.exp(rng.standard_normal(images) - 0.3)).astype(np.intp)
    return np.repeat(np.arange(images), sizes)[:images]


def normals(patient: NDArray[np.intp], rng: np.random.Generator) -> Matrix:
    """[n, d] standard normals, alike within patients."""
    shared = rng.standard_normal((int(patient.max()) + 1, DIM))[patient]
    return np.asarray(np.sqrt(WITHIN) * shared + np.sqrt(1.0 - WITHIN) * rng.standard_normal((len(patient), DIM)))


def draw(patient: NDArray[np.intp], model: Model, prompt: Matrix, rng: np.random.Generator) -> Matrix:
    own = np.sqrt(PROMPT) * prompt + np.sqrt(1.0 - PROMPT) * normals(patient, rng)
    return np.asarray((model.spread * own + model.shift) * model.scale)


def trial(images: int, world: str, replicates: int, seed: list[int]) -> dict[str, tuple[float, float, float, float]]:
    """For each metric (low, high, value, p or NaN), of the first model or of the two models' difference."""
    rng = np.random.default_rng(seed)
    patient = patients(images, rng)
    prompt = normals(patient, rng)
    real = draw(patient, WORLDS[world][0].real(), prompt, rng)
    a, b = (draw(patient, model, prompt, rng) for model in WORLDS[world])
    names = patient.astype(str).tolist()
    sums, frechet = kernel_sums(real, a, names), FrechetJackknife(real, a, names)
    found: dict[str, tuple[float, float, float, float]] = {"patients": (0.0, 0.0, effective_patients(names), np.nan)}
    for name, ci, value in (
        ("KD", kernel_interval(sums), np.nan),
        ("FD at this n", frechet.interval(), frechet.value),
    ):
        if ci is not None:
            found[name] = (*ci, value, np.nan)
    limit = frechet.limit()
    if limit is not None and limit.ci is not None:
        found["FD limit"] = (*limit.ci, limit.value, np.nan)
    pair = paired_kernel_difference(sums, kernel_sums(real, b, names), seed[-1], replicates)
    if pair.ci is not None and pair.p is not None:
        found["KD a - b"] = (*pair.ci, pair.value, pair.p)
    return found


def simulate(images: int, world: str, trials: int, replicates: int, seed: int) -> list[dict[str, object]]:
    """Coverage of every metric in one world at one size."""
    runs = [trial(images, world, replicates, [seed, images, index]) for index in range(trials)]
    first, second = WORLDS[world]
    effective = float(np.mean([run.pop("patients")[2] for run in runs]))
    rows: list[dict[str, object]] = []
    for name in ("KD", "FD at this n", "FD limit", "KD a - b"):
        got = np.array([run[name] for run in runs if name in run]).reshape(-1, 4)
        if not len(got):
            continue
        truth = {
            "KD": kernel_truth(first),
            "FD at this n": float(got[:, 2].mean()),  # the trials' own mean is its expectation
            "FD limit": frechet_truth(first),
            "KD a - b": kernel_truth(first) - kernel_truth(second),
        }[name]
        held = (got[:, 0] <= truth) & (truth <= got[:, 1])
        rejected = round(float((got[:, 3] < 0.05).mean() * 100.0), 1) if name == "KD a - b" else None
        finite = got[np.isfinite(got[:, :2]).all(axis=1)]
        rows.append(
            {
                "images": images or "all",
                "effective patients": round(effective, 1),
                "world": world,
                "metric": name,
                "truth": round(truth, 4),
                "held, %": round(100.0 * float(held.mean()), 1),
                "truth above, %": round(100.0 * float((truth > got[:, 1]).mean()), 1),
                "median width": round(float(np.median(finite[:, 1] - finite[:, 0])), 4),
                "p < 0.05, %": rejected,
                "trials": len(got),
            }
        )
    return rows


def main() -> None:
    global DIM
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 300, 100, 30])
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=DIM, help="dimensions of the features")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    DIM = asked.columns
    for images in asked.sizes:
        for world in asked.worlds:
            for row in simulate(images, world, asked.trials, asked.replicates, asked.seed):
                print(json.dumps(row) if asked.json else "| " + " | ".join(map(str, row.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
