"""Image metrics: ours against the libraries they replace, same features in, processor time, in one run.

    python benchmarks/image_metrics.py [--rows 4352] [--columns 768] [--repeats 3] [--subsets 100] [--large]
                                       [--folder FOLDER]

Peers: torchmetrics (FD fed in batches of 32, KD with 100 subsets of all rows), prdc. Where torchmetrics cannot be
imported the same tensor operations are called plainly, and the result's `peer` says so. Features are made up: Gaussian
with a falling spectrum, float32 as an encoder gives them. Each repeat runs both sides in turn, each first every other
time; the median of the ratios is what to quote. Slow peers run once. Memory is the peak above what was allocated
before, by tracemalloc. With --large, PRDC of 20,000 rows: ours measured, prdc's reckoned from
its own at --rows, which grows with n^2.

With --folder (images and labels in the folder format, the images also standing in for generated ones), the way from
image files to the 15 rows: how often an image goes through the encoder, and processor time, against the published
scripts' way, in which each of FD, KD and PRDC of each row opens and encodes its images for itself. The encoder is the
small `demodino`, so that the time is mostly that of opening files; with RAD-DINO the ratio goes to that of the passes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from prdc import compute_prdc
from torch import Tensor, nn

from unix_bench.data import FINDINGS, load_images, read_folder
from unix_bench.features import DemoDino, FeatureStore
from unix_bench.scoring.image import FeatureTable, frechet_distance, kernel_distance, prdc

Features = NDArray[np.float32]
Metric = Callable[[Features, Features], Any]
SHARES = ("precision", "recall", "density", "coverage")
# How often a finding is positive in a chest-X-ray test set, as a share of the rows: common ones and rare ones.
PREVALENCE = (0.30, 0.28, 0.08, 0.22, 0.07, 0.04, 0.05, 0.30, 0.20, 0.32, 0.02, 0.10, 0.04, 0.30)


def make_features(rows: int, columns: int) -> tuple[Features, Features]:
    """Real and generated features: variance falling as 1 / i, the generated ones a little off."""
    rng = np.random.default_rng(0)
    deviations = np.sqrt(400.0 / np.arange(1, columns + 1) / np.log(columns))
    real = rng.normal(size=(rows, columns)) * deviations
    generated = 0.95 * rng.normal(size=(rows, columns)) * deviations + 0.05
    return real.astype(np.float32), generated.astype(np.float32)


class Identity(nn.Module):
    """Passes features through where torchmetrics expects a network."""

    num_features = 0

    def forward(self, features: Tensor) -> Tensor:
        return features


def import_torchmetrics() -> Any:
    """The modules of torchmetrics with FD and KD, or None. It needs no torch-fidelity, which would want torchvision."""
    try:
        from torchmetrics.image import fid, kid
    except ImportError:
        return None
    return fid, kid


def peer_frechet(modules: Any, columns: int) -> Metric:
    """FrechetInceptionDistance of torchmetrics in batches of 32, or its operations."""

    def library(real: Features, generated: Features) -> float:
        network = Identity()
        network.num_features = columns
        metric = modules[0].FrechetInceptionDistance(feature=network, normalize=False)
        for side, is_real in ((real, True), (generated, False)):
            for batch in torch.from_numpy(side).split(32):
                metric.update(batch, real=is_real)
        return float(metric.compute())

    def operations(real: Features, generated: Features) -> float:
        moments = []
        for side in (real, generated):
            total, products = torch.zeros(columns).double(), torch.zeros(columns, columns).double()
            for batch in torch.from_numpy(side).double().split(32):
                total += batch.sum(0)
                products += batch.T @ batch
            mean = total / len(side)
            moments.append((mean, (products - len(side) * torch.outer(mean, mean)) / (len(side) - 1)))
        (m1, s1), (m2, s2) = moments
        root = torch.linalg.eigvals(s1 @ s2).sqrt().real.sum()
        return float((m1 - m2).square().sum() + s1.trace() + s2.trace() - 2.0 * root)

    return library if modules else operations


def peer_kernel(modules: Any, columns: int, subsets: int) -> Metric:
    """KernelInceptionDistance of torchmetrics with subsets of all rows, or its operations."""

    def library(real: Features, generated: Features) -> float:
        size = min(len(real), len(generated))
        metric = modules[1].KernelInceptionDistance(feature=Identity(), subsets=subsets, subset_size=size)
        metric.real_features.append(torch.from_numpy(real))
        metric.fake_features.append(torch.from_numpy(generated))
        torch.manual_seed(42)
        return float(metric.compute()[0])

    def operations(real: Features, generated: Features) -> float:
        torch.manual_seed(42)
        n, found = min(len(real), len(generated)), []
        x, y = torch.from_numpy(real), torch.from_numpy(generated)
        for _ in range(subsets):
            a, b = x[torch.randperm(len(x))[:n]], y[torch.randperm(len(y))[:n]]
            xx, yy, xy = ((p @ q.T * (1.0 / columns) + 1.0) ** 3 for p, q in ((a, a), (b, b), (a, b)))
            within = xx.sum() - xx.diagonal().sum() + yy.sum() - yy.diagonal().sum()
            found.append(within / (n * (n - 1)) - 2.0 * xy.sum() / n**2)
        return float(torch.stack(found).mean())

    return library if modules else operations


def peer_prdc(real: Features, generated: Features) -> list[float]:
    """The `prdc` package, its printing kept in."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real, generated, 5)
    return [float(found[name]) for name in SHARES]


def our_prdc(real: Features, generated: Features) -> list[float]:
    shares = prdc(real, generated)
    return [getattr(shares, name) for name in SHARES]


def seconds(metric: Callable[[], Any], at_least: float = 0.0) -> tuple[float, Any]:
    """Processor time of all threads for one call, and the values; the mean of as many calls as fill `at_least`."""
    calls, start = 0, time.process_time()
    while not calls or time.process_time() - start < at_least:
        values = metric()
        calls += 1
    return (time.process_time() - start) / calls, values


def race(ours: Metric, theirs: Metric, sides: tuple[Features, Features], repeats: int) -> dict[str, Any]:
    """Median times and the median of the ratios of interleaved runs, and the largest difference of the values."""
    times, apart = [], 0.0
    for repeat in range(repeats):
        order = (ours, theirs) if repeat % 2 == 0 else (theirs, ours)
        taken = {metric: seconds(lambda metric=metric: metric(*sides), at_least=0.5) for metric in order}
        times.append((taken[ours][0], taken[theirs][0]))
        apart = max(apart, float(np.abs(np.subtract(taken[ours][1], taken[theirs][1])).max()))
    return {
        "ours_s": round(statistics.median(mine for mine, _ in times), 4),
        "theirs_s": round(statistics.median(other for _, other in times), 4),
        "theirs_over_ours": round(statistics.median(other / mine for mine, other in times), 2),
        "values_differ_by": apart,
    }


def peak(metric: Callable[[], Any]) -> int:
    """Most bytes held at a time above what was held before."""
    tracemalloc.start()
    try:
        metric()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def compare_memory(real: Features, generated: Features) -> dict[str, Any]:
    """Peak memory of PRDC."""
    mine, theirs = peak(lambda: our_prdc(real, generated)), peak(lambda: peer_prdc(real, generated))
    return {
        "ours_mib": round(mine / 2**20, 1),
        "theirs_mib": round(theirs / 2**20, 1),
        "theirs_over_ours": round(theirs / mine, 2),
    }


def large_memory(columns: int, measured_mib: float, at: int, rows: int = 20_000) -> dict[str, Any]:
    """Peak memory of our PRDC, and what the package's at fewer rows grows to with its [n, n] arrays."""
    real, generated = make_features(rows, columns)
    taken, _ = seconds(lambda: our_prdc(real, generated))
    mine, theirs = peak(lambda: our_prdc(real, generated)) / 2**20, measured_mib * (rows / at) ** 2
    return {
        "rows": rows,
        "ours_s": round(taken, 1),
        "ours_mib": round(mine, 1),
        "theirs_mib_reckoned": round(theirs, 1),
        "theirs_over_ours": round(theirs / mine, 2),
    }


def compare_table(real: Features, generated: Features, frechet: Metric, kernel: Metric) -> dict[str, Any]:
    """FD, KD with standard error and PRDC of 15 rows: one table of ours against the peers, row by row. Runs once."""
    rng = np.random.default_rng(1)
    rows = [np.arange(len(real)), *(np.flatnonzero(rng.random(len(real)) < share) for share in PREVALENCE)]

    def ours() -> None:
        table = FeatureTable(real, generated)
        for row in rows:
            table.fd(row, row), table.kd(row, row), table.prdc(row, row)

    def theirs() -> None:
        for row in rows:
            for metric in (frechet, kernel, peer_prdc):
                metric(real[row], generated[row])

    mine, other = seconds(ours)[0], seconds(theirs)[0]
    return {"ours_s": round(mine, 2), "theirs_s": round(other, 2), "theirs_over_ours": round(other / mine, 1)}


def end_to_end(folder: Path) -> dict[str, Any]:
    """Passes through the encoder and processor time from files to FD, KD and PRDC of 15 rows, once each."""
    data, encoder = read_folder(folder), DemoDino()
    studies = [study for study in data.studies if study.problem is None]
    paths = [study.inputs.image for study in studies]
    rows = [list(range(len(paths)))]
    for finding in FINDINGS:
        shown = [index for index, study in enumerate(studies) if study.reference.labels.get(finding) == 1]
        rows += [shown] if len(shown) > 6 else []
    passes = {"ours": 0, "theirs": 0}

    def ours() -> None:
        with TemporaryDirectory() as place:
            store = FeatureStore(Path(place) / "features", 10**10)
            x = store.features(paths, encoder, Path(place))
            table = FeatureTable(x, x[::-1])
            for row in rows:
                table.fd(row, row), table.kd(row, row), table.prdc(row, row)
            passes["ours"] = store.passes

    def theirs() -> None:
        kernel = peer_kernel(None, encoder.dim, 100)
        frechet = peer_frechet(None, encoder.dim)
        for row in rows:
            for metric in (frechet, kernel, peer_prdc):
                real = encoder.encode(list(load_images(paths[index] for index in row))).numpy()
                generated = encoder.encode(list(load_images(paths[-1 - index] for index in row))).numpy()
                passes["theirs"] += 2 * len(row)
                metric(real, generated)

    mine, other = seconds(ours)[0], seconds(theirs)[0]
    images = len(set(paths))
    return {
        "images": images,
        "rows": len(rows),
        "our_passes_an_image": round(passes["ours"] / images, 2),
        "their_passes_an_image": round(passes["theirs"] / (2 * images), 2),  # each image is on both sides there
        "theirs_over_ours_cpu": round(other / mine, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4352)
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--prdc", action="store_true", help="leave out KD and the table, whose peers take minutes")
    parser.add_argument("--large", action="store_true", help="also PRDC of 20,000 rows")
    parser.add_argument("--folder", type=Path, help="also end to end from its image files")
    options = parser.parse_args()
    modules = import_torchmetrics()
    sides = make_features(options.rows, options.columns)
    few = sides[0][:200], sides[1][:200]
    frechet = peer_frechet(modules, options.columns)
    kernel = peer_kernel(modules, options.columns, options.subsets)
    results: dict[str, Any] = {
        "rows": options.rows,
        "columns": options.columns,
        "peer": "torchmetrics" if modules else "torchmetrics' operations, called plainly",
        "fd": race(frechet_distance, frechet, sides, options.repeats),
        "fd_200_rows": race(frechet_distance, frechet, few, options.repeats),
        "prdc": race(our_prdc, peer_prdc, sides, options.repeats),
        "prdc_memory": compare_memory(*sides),
    }
    if not options.prdc:
        results["kd"] = race(kernel_distance, kernel, sides, 1)
        results["table_of_15_rows"] = compare_table(*sides, frechet, kernel)
    if options.large:
        memory = results["prdc_memory"]["theirs_mib"]
        results["prdc_large_memory"] = large_memory(options.columns, memory, options.rows)
    if options.folder:
        results["end_to_end"] = end_to_end(options.folder)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
