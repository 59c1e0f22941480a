"""Image metrics over many sets of rows: shared products, patients, extrapolation, floors, subsamples."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from unix_bench.scoring.image import (
    FeatureTable,
    cosine_similarity,
    fd_at_half,
    fd_floor,
    fd_infinity,
    frechet_distance,
    kd_floor,
    kernel_distance,
    kernel_estimate,
    kernel_sums,
    nearest_distances,
    patient_halves,
    pca,
    prdc,
    prdc_at,
)

Features = NDArray[np.float64]


def _features(n: int = 700, m: int = 700, d: int = 16, seed: int = 0) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 1.0, 0.9 * rng.normal(size=(m, d)) + 1.1


@pytest.mark.parametrize("budget", [2 << 30, 0])
def test_a_table_answers_as_the_functions_do(budget: int) -> None:
    real, generated = _features(m=650)
    table = FeatureTable(real, generated, budget)
    rng = np.random.default_rng(1)
    mask = rng.random(700) < 0.3
    for rows, columns in ((None, None), (mask, rng.choice(650, 90)), ([5, 3, 1, 8, 2, 9, 3], range(40))):
        x = real if rows is None else real[rows]
        y = generated if columns is None else generated[columns]
        assert table.fd(rows, columns) == frechet_distance(x, y)
        expected = kernel_estimate(x, y)
        assert astuple(table.kd(rows, columns)) == pytest.approx(astuple(expected), rel=1e-9)
        assert table.prdc(rows, columns) == prdc(x, y)
    with pytest.raises(ValueError, match="real features need at least 6 rows, not 5"):
        table.prdc(range(5))
    with pytest.raises(ValueError, match="generated features need at least 2 rows, not 0"):
        table.kd(None, [])


def test_kernel_sums_by_patient() -> None:
    real, generated = _features()
    patients = np.random.default_rng(2).integers(0, 37, size=700).astype(str).tolist()
    sums = kernel_sums(real, generated, patients)
    assert sums.value == pytest.approx(kernel_distance(real, generated), rel=1e-9)
    member = (np.array(patients)[:, None] == np.array(sums.patients)).astype(float)
    kernels = [(a @ b.T / 16 + 1.0) ** 3 for a, b in ((real, real), (generated, generated), (real, generated))]
    for kernel in kernels[:2]:
        np.fill_diagonal(kernel, 0.0)
    for found, kernel in zip((sums.xx, sums.yy, sums.xy), kernels, strict=True):
        np.testing.assert_allclose(found, member.T @ kernel @ member, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(sums.paired, member.T @ kernels[2].diagonal(), rtol=1e-11)
    assert sums.counts.tolist() == member.sum(axis=0).tolist()
    some = FeatureTable(real, generated).kernel_sums(patients, range(50, 90))
    assert some.value == pytest.approx(kernel_distance(real[50:90], generated[50:90]), rel=1e-9)
    with pytest.raises(ValueError, match="must be paired"):
        kernel_sums(real, generated[:-1], patients)


def test_fd_infinity_takes_the_bias_off() -> None:
    """Two Gaussians of known distance: at n = 400 the plain value is far too large, the extrapolated one is not."""
    d, truth = 40, 40 * 0.1**2
    rng = np.random.default_rng(3)
    samples = [(rng.normal(size=(400, d)), 0.9 * rng.normal(size=(400, d))) for _ in range(20)]
    for divisions in ((1, 2), (1, 2, 3, 4)):
        found = np.array([fd_infinity(x, y, seed, divisions) for seed, (x, y) in enumerate(samples)])
        plain = np.array([frechet_distance(x, y) for x, y in samples])
        assert plain.mean() - truth > 1.0
        assert abs(found.mean() - truth) < 0.3
    x, y = samples[0]
    halves = np.random.default_rng(9).permutation(400).reshape(2, 200)
    by_hand = 2 * frechet_distance(x, y) - np.mean([frechet_distance(x[half], y[half]) for half in halves])
    assert fd_infinity(x, y, 9) == pytest.approx(by_hand, rel=1e-10)
    with pytest.raises(ValueError, match="40 columns needs 44 rows in each of 2 blocks, and there are 43"):
        fd_infinity(x[:87], y[:87], 0)


def test_halves_share_no_patient() -> None:
    patients = np.repeat(np.arange(50), np.random.default_rng(4).zipf(1.8, 50).clip(max=60)).astype(str)
    one, other = patient_halves(patients.tolist(), 0)
    assert not set(patients[one]) & set(patients[other])
    assert sorted([*one, *other]) == list(range(len(patients)))
    assert abs(len(one) - len(other)) <= 1
    assert patient_halves(patients.tolist(), 1)[0].tolist() != one.tolist()
    with pytest.raises(ValueError, match="two patients, and there are 1"):
        patient_halves(["a"] * 9, 0)


def test_floors_compare_like_with_like() -> None:
    """A perfect model is at the floor at half the images, and well below it at all of them."""
    rng = np.random.default_rng(5)
    real, perfect = rng.normal(size=(600, 30)), rng.normal(size=(600, 30))
    patients = (np.arange(600) // 4).astype(str).tolist()
    floor = np.mean([fd_floor(real, patients, seed) for seed in range(5)])
    at_half = np.mean([fd_at_half(real, perfect, patients, seed) for seed in range(5)])
    assert at_half == pytest.approx(floor, rel=0.1)
    assert frechet_distance(real, perfect) < 0.7 * floor
    assert abs(np.mean([kd_floor(real, patients, seed) for seed in range(5)])) < 0.02
    with pytest.raises(ValueError, match="5 patients for 600 rows"):
        fd_floor(real, patients[:5], 0)


def test_prdc_at_one_size() -> None:
    real, generated = _features()
    whole = prdc_at(real, generated, 700, 2, 0)
    assert whole.mean == prdc(real, generated)
    assert astuple(whole.deviation) == (0.0,) * 4
    small = prdc_at(real, generated, 60, 10, 0)
    assert small == prdc_at(real, generated, 60, 10, 0)
    assert small.deviation.density > 0.0
    assert small.mean.recall > whole.mean.recall  # fewer points, wider balls
    with pytest.raises(ValueError, match="between 6 and the 700 rows"):
        prdc_at(real, generated, 5, 2, 0)


@pytest.mark.parametrize("n", [200, 30])
def test_pca_is_that_of_scikit_learn(n: int) -> None:
    rng = np.random.default_rng(6)
    training, others = rng.normal(size=(n, 40)) * np.geomspace(3, 0.1, 40), rng.normal(size=(50, 40))
    ours, theirs = pca(training, 8), PCA(8, svd_solver="full").fit(training)
    np.testing.assert_allclose(np.abs(ours(others)), np.abs(theirs.transform(others)), atol=1e-9)
    assert ours.share == pytest.approx(theirs.explained_variance_ratio_.sum())
    with pytest.raises(ValueError, match="between 1 and"):
        pca(training, 41)


def test_nearest_distances() -> None:
    rng = np.random.default_rng(7)
    generated, references = rng.normal(size=(600, 5)), rng.normal(size=(1100, 5))
    references[:20] = generated[:20]
    found = nearest_distances(generated, references)
    assert found[:20].tolist() == [0.0] * 20
    np.testing.assert_allclose(found, cdist(generated, references).min(axis=1), rtol=1e-12)
    # Copies that only a sum of squared differences can tell apart.
    close = np.concatenate([generated + 1e-9 * rng.normal(size=generated.shape) for _ in range(4)])
    expected = cdist(generated, close).min(axis=1)
    np.testing.assert_allclose(nearest_distances(generated, close), expected, rtol=1e-12)


def test_cosine_similarity() -> None:
    rng = np.random.default_rng(8)
    images, texts = rng.normal(size=(50, 128)), rng.normal(size=(50, 128))
    np.testing.assert_allclose(cosine_similarity(images, texts), 1.0 - cdist(images, texts, "cosine").diagonal())
    assert cosine_similarity(1e-200 * images, 1e200 * images) == pytest.approx(np.ones(50))
    with pytest.raises(ValueError, match="text embedding 3 is zero"):
        cosine_similarity(images, texts * (np.arange(50) != 3)[:, None])
    with pytest.raises(ValueError, match=r"text embeddings \[49, 128\]"):
        cosine_similarity(images, texts[:-1])
