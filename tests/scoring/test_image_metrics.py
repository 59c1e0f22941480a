"""Image metrics against golden values, and against properties that hold whatever the numbers."""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.spatial.distance import cdist

from unix_bench.scoring.image import (
    fit_gaussian,
    frechet_distance,
    gaussian_distance,
    kernel_distance,
    kernel_distance_subsets,
    kernel_estimate,
    prdc,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "image_metrics"
FEATURES = load_file(GOLDEN / "features.safetensors")
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
CASES = EXPECTED["cases"]
NOT_FINITE = ("nan_in_real", "inf_in_fake")
USABLE = [name for name in CASES if name not in (*NOT_FINITE, "n_real_1")]


@pytest.mark.parametrize("name", USABLE)
def test_golden(name: str) -> None:
    real, fake, expected = FEATURES[f"{name}.real"], FEATURES[f"{name}.fake"], CASES[name]
    scale = float(np.square(real).sum(axis=1).mean())  # distances of equal sets are 0 to rounding at this scale
    fd = expected["fd"]["nuclear_norm_float64"]
    assert frechet_distance(real, fake) == pytest.approx(fd, rel=1e-9, abs=1e-13 * scale)
    kd = expected["kid"]["unbiased_mmd2_all_rows_float64"]
    assert kernel_distance(real, fake) == pytest.approx(kd, rel=1e-8, abs=1e-15)
    for key, shares in expected["prdc"].items():
        k = int(key.removeprefix("prdc_k"))
        if min(len(real), len(fake)) <= k:
            with pytest.raises(ValueError, match="at least"):
                prdc(real, fake, k)
        elif "raises" not in shares:  # the package needs one row more than the definition
            ours = prdc(real, fake, k)
            assert {name: getattr(ours, name) for name in shares} == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in USABLE if name not in ("large_mean_offset", "tiny_scale")])
def test_subsets_are_those_of_torchmetrics(name: str) -> None:
    """Same permutations from the same seed; its kernel is float32, which the tolerance allows for."""
    real, fake = FEATURES[f"{name}.real"], FEATURES[f"{name}.fake"]
    largest = (
        max(float(np.square(side.astype(float)).sum(axis=1).max()) for side in (real, fake)) / real.shape[1] + 1
    ) ** 3
    for key, published in CASES[name]["kid"].items():
        if not key.startswith("torchmetrics_") or isinstance(published, dict):
            continue
        if "min_n" in key:
            size, subsets = min(len(real), len(fake)), 5
        else:
            size, subsets = int(key.split("_")[1].removeprefix("subset")), 100
        state = torch.random.get_rng_state()
        ours = kernel_distance_subsets(real, fake, subsets, size)
        assert torch.equal(state, torch.random.get_rng_state())
        assert [ours.mean, ours.deviation] == pytest.approx(published, rel=1e-4, abs=2e-6 * largest)


def _protocol_rows() -> dict[str, tuple[list[int], list[int]]]:
    """Rows of both sides for the whole set, each shard and each label, chosen as the published scripts choose them."""
    first: dict[str, int] = {}
    labels: dict[int, dict[str, float | None]] = {}
    with (GOLDEN / "protocol_real.csv").open(newline="") as stream:
        for index, row in enumerate(csv.DictReader(stream)):
            first.setdefault(row["annotated_prompt"], index)
            labels[index] = ast.literal_eval(row["chexpert_labels"])
    with (GOLDEN / "protocol_synthetic.csv").open(newline="") as stream:
        prompts = [row["annotated_prompt"] for row in csv.DictReader(stream)]
    real, generated = list(first.values()), list(range(len(prompts)))
    chosen = {"all": (real, generated)}
    shards = zip(np.array_split(real, 4), np.array_split(generated, 4), strict=True)
    chosen |= {f"shard {i}": (one.tolist(), other.tolist()) for i, (one, other) in enumerate(shards)}
    for label in EXPECTED["protocol"]["per_pathology"]:
        texts = {prompt for prompt, index in first.items() if labels[index][label] == 1}
        chosen[label] = ([first[t] for t in first if t in texts], [i for i, t in enumerate(prompts) if t in texts])
    return chosen


PROTOCOL = EXPECTED["protocol"]
PROTOCOL_CELLS = {
    "all": PROTOCOL["overall_unsharded"],
    **{f"shard {index}": cell for index, cell in enumerate(PROTOCOL["shards"])},
    **PROTOCOL["per_pathology"],
}


def test_the_published_protocol() -> None:
    features = load_file(GOLDEN / "protocol_features.safetensors")
    chosen = _protocol_rows()
    for name, cell in PROTOCOL_CELLS.items():
        real, generated = features["real"][chosen[name][0]], features["synthetic"][chosen[name][1]]
        assert (len(real), len(generated)) == (cell["n_real"], cell["n_synthetic"])
        # Theirs is off by up to 1e-6 where fewer rows than columns make the covariances singular.
        tolerance = 1e-6 if min(real.shape[0], generated.shape[0]) <= real.shape[1] else 1e-9
        assert frechet_distance(real, generated) == pytest.approx(cell["FD_unrounded"], rel=tolerance)
        assert kernel_distance(real, generated) == pytest.approx(cell["KD_unrounded_closed"], rel=1e-8)
        if "raises" not in cell:
            shares = prdc(real, generated)
            for share in ("precision", "recall", "density", "coverage"):
                assert getattr(shares, share) == pytest.approx(cell[share], abs=5.001e-4)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, prdc])
def test_bad_features_are_refused(metric: object) -> None:
    good = np.random.default_rng(0).normal(size=(20, 4))
    for name in NOT_FINITE:
        with pytest.raises(ValueError, match="NaN or Inf"):
            metric(FEATURES[f"{name}.real"], FEATURES[f"{name}.fake"])
    with pytest.raises(ValueError, match="need at least"):
        metric(good[:1], good)
    with pytest.raises(ValueError, match="4 columns, generated ones 3"):
        metric(good, good[:, :3])
    with pytest.raises(ValueError, match=r"must be \[n, d\]"):
        metric(good[0], good)


def test_the_sides_of_prdc_are_not_exchanged() -> None:
    """Generated points inside a small part of the real ones: precise, and recalling little."""
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, 3))
    shares = prdc(real, 0.05 * rng.normal(size=(200, 3)))
    assert shares.precision > 0.95
    assert shares.recall < 0.1
    assert shares.coverage < 0.5


def test_torch_and_numpy_agree() -> None:
    real, fake = FEATURES["base.real"], FEATURES["base.fake"]
    for metric in (frechet_distance, kernel_distance, prdc):
        assert metric(torch.from_numpy(real), torch.from_numpy(fake)) == metric(real, fake)
        assert metric(real.astype(float), fake.astype(float)) == metric(real, fake)
        coarse = torch.from_numpy(real).bfloat16(), torch.from_numpy(fake).bfloat16()
        assert metric(*coarse) == metric(*(side.float().numpy() for side in coarse))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 40), st.integers(7, 40), st.integers(1, 12))
def test_properties(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.5 + 0.3
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    order = rng.permutation(n)
    for metric in (frechet_distance, kernel_distance):
        assert metric(x, y) == pytest.approx(metric(y, x), rel=1e-8, abs=1e-9)
        assert metric(x[order], y) == pytest.approx(metric(x, y), rel=1e-8, abs=1e-9)
        assert metric(x @ rotation, y @ rotation) == pytest.approx(metric(x, y), rel=1e-6, abs=1e-9)
    assert frechet_distance(x, y) >= -1e-9
    one, two = prdc(x, y), prdc(y, x)
    assert (one.precision, one.recall) == (two.recall, two.precision)
    assert prdc(x, x).coverage == 1.0


def test_a_side_fitted_once_serves_many() -> None:
    real, fake = FEATURES["base.real"], FEATURES["base.fake"]
    fitted = fit_gaussian(real)
    assert gaussian_distance(fitted, fit_gaussian(fake)) == frechet_distance(real, fake)
    covariance = fitted.root.T @ fitted.root
    np.testing.assert_allclose(covariance, np.cov(real.astype(float), rowvar=False), atol=1e-12)
    with pytest.raises(ValueError, match="64 columns, the other 3"):
        gaussian_distance(fitted, fit_gaussian(fake[:, :3]))


@pytest.mark.parametrize("weakest", [1.0, 1e-2, 1e-5, 0.0])
def test_frechet_distance_of_known_gaussians(weakest: float) -> None:
    """Whitened samples turned into exact covariances that commute: the distance is known without a root of a matrix."""
    rng = np.random.default_rng(5)
    d = 12
    white = np.linalg.qr(np.c_[np.ones(400), rng.normal(size=(400, d))])[0][:, 1:] * np.sqrt(399)
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    one, other = np.geomspace(1.0, 5.0, d), np.linspace(2.0, 3.0, d)
    one[0] *= weakest
    offset = rng.normal(size=d)
    expected = offset @ offset + np.square(one - other).sum()
    found = frechet_distance(white * one @ axes.T, white * other @ axes.T + offset)
    assert found == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_standard_error_of_the_kernel_distance(shift: float) -> None:
    """It is the spread between data sets, both where the sets are alike and where they differ."""
    rng = np.random.default_rng(6)
    found = [kernel_estimate(rng.normal(size=(40, 8)), rng.normal(size=(60, 8)) + shift) for _ in range(1500)]
    spread = np.std([each.value for each in found])
    stated = np.sqrt(np.mean([(each.standard_error or 0.0) ** 2 for each in found]))
    assert stated == pytest.approx(spread, rel=0.1)
    assert kernel_estimate(np.eye(3), np.eye(3)).standard_error is None


def _prdc_of(real: NDArray[np.float64], fake: NDArray[np.float64], k: int) -> list[float]:
    package = pytest.importorskip("prdc")
    shares = package.compute_prdc(real, fake, k)
    return [float(shares[name]) for name in ("precision", "recall", "density", "coverage")]


@pytest.mark.parametrize(("n", "m", "d", "offset"), [(1500, 1100, 24, 0.0), (700, 1300, 3, 0.0), (600, 900, 8, 1e4)])
def test_prdc_over_several_tiles(n: int, m: int, d: int, offset: float) -> None:
    rng = np.random.default_rng(7)
    real, fake = rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d))
    shares = prdc(real + offset, fake + offset)
    ours = [shares.precision, shares.recall, shares.density, shares.coverage]
    assert ours == pytest.approx(_prdc_of(real, fake, 5), abs=1e-12)


def test_prdc_with_ties_and_duplicates() -> None:
    """On a grid of whole numbers all squares are exact, so that plain comparisons are an independent truth."""
    rng = np.random.default_rng(8)
    real, fake = rng.integers(0, 3, size=(1200, 4)), rng.integers(0, 4, size=(700, 4))

    def squares(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.square(a[:, None] - b[None]).sum(axis=2)

    for k in (1, 5, 40):
        of_real, of_fake = (np.sort(squares(side, side), axis=1)[:, k] for side in (real, fake))
        between = squares(real, fake)
        inside = between < of_real[:, None]
        shares = prdc(real, fake, k)
        assert shares.precision == inside.any(axis=0).mean()
        assert shares.recall == (between < of_fake).any(axis=1).mean()
        assert shares.density == pytest.approx(inside.sum() / (k * len(fake)))
        assert shares.coverage == (between.min(axis=1) < of_real).mean()


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_prdc_does_not_depend_on_the_scale(scale: float) -> None:
    real, fake = FEATURES["mode_collapse.real"].astype(float), FEATURES["mode_collapse.fake"].astype(float)
    assert prdc(real * scale, fake * scale) == prdc(real, fake)


def test_prdc_of_piles_of_equal_images() -> None:
    """Blank images beside others: balls of radius 0 hold nothing, and the others' balls are as before."""
    rng = np.random.default_rng(9)
    real, fake = rng.normal(size=(650, 6)), rng.normal(size=(600, 6))
    real[rng.choice(650, 300, replace=False)] = 0.25
    fake[rng.choice(600, 200, replace=False)] = 0.25
    of_real, of_fake = (np.sort(cdist(side, side), axis=1)[:, 5] for side in (real, fake))
    inside = cdist(real, fake) < of_real[:, None]
    shares = prdc(real, fake)
    assert shares.precision == inside.any(axis=0).mean()
    assert shares.recall == (cdist(real, fake) < of_fake).any(axis=1).mean()
    assert shares.density == pytest.approx(inside.sum() / (5 * 600))
    assert shares.coverage == inside.any(axis=1).mean()
