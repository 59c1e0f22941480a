"""Image metrics over many sets of rows: shared products, patients, floors, subsamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from itertools import combinations_with_replacement

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from unix_bench.scoring.image import (
    FeatureTable,
    KernelSums,
    cosine_similarity,
    floors,
    frechet_distance,
    kernel_distance,
    kernel_estimate,
    kernel_sums,
    nearest_distances,
    pca,
    prdc,
)
from unix_bench.scoring.image.sampling import _dealt

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


def _check_sums(found: KernelSums, real: Features, generated: Features, patients: list[str]) -> None:
    """Against whole kernel matrices, multiplied by who has which image."""
    member = (np.array(patients)[:, None] == np.array(found.patients)).astype(float)
    pairs = ((real, real), (generated, generated), (real, generated))
    kernels = [(a @ b.T / a.shape[1] + 1.0) ** 3 for a, b in pairs]
    for kernel in kernels[:2]:
        np.fill_diagonal(kernel, 0.0)
    for sums, kernel in zip((found.xx, found.yy, found.xy), kernels, strict=True):
        np.testing.assert_allclose(sums, member.T @ kernel @ member, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(found.paired, member.T @ kernels[2].diagonal(), rtol=1e-11)
    assert found.counts.tolist() == member.sum(axis=0).tolist()
    assert astuple(found.estimate) == pytest.approx(astuple(kernel_estimate(real, generated)), rel=1e-9)


@pytest.mark.parametrize("patients", [37, 2, 5000])
def test_kernel_sums_by_patient(patients: int) -> None:
    real, generated = _features(n=1100, m=1100)
    names = np.random.default_rng(2).integers(0, patients, size=1100).astype(str)
    _check_sums(kernel_sums(real, generated, names.tolist()), real, generated, names.tolist())
    mask = np.random.default_rng(3).random(1100) < 0.6
    for budget in (2 << 30, 0):
        table = FeatureTable(real, generated, budget)
        _check_sums(table.kernel_sums(names.tolist()), real, generated, names.tolist())
        some = [90, 3, 50, 4, 8]
        for index in (mask, some):
            _check_sums(table.kernel_sums(names.tolist(), index), real[index], generated[index], names[index].tolist())
    with pytest.raises(ValueError, match="must be paired"):
        kernel_sums(real, generated[:-1], names.tolist())
    with pytest.raises(ValueError, match="1100 real and 1100 generated rows for 3 patients"):
        table.kernel_sums(["a", "b", "c"])
    with pytest.raises(ValueError, match="1100 real and 1099 generated rows"):
        FeatureTable(real, generated[:-1]).kernel_sums(names.tolist())


def test_unknown_patients_are_the_images_themselves() -> None:
    real, generated = _features(n=30, m=30)
    rows = [f"{i:02d}" for i in range(30)]
    for found in (kernel_sums(real, generated, None), FeatureTable(real, generated).kernel_sums(None)):
        _check_sums(found, real, generated, rows)


def test_halves_share_no_patient() -> None:
    patients = np.repeat(np.arange(50), np.random.default_rng(4).zipf(1.8, 50).clip(max=60)).astype(str)
    (one, other), (again, _) = (_dealt(patients.tolist(), np.random.default_rng(seed)) for seed in range(2))
    assert not set(patients[one]) & set(patients[other])
    assert sorted([*one, *other]) == list(range(len(patients)))
    assert abs(len(one) - len(other)) <= 1
    assert again.tolist() != one.tolist()
    with pytest.raises(ValueError, match="two patients, and there are 1"):
        floors(*_features(9, 9), ["a"] * 9, 0)


def test_floors_compare_like_with_like() -> None:
    """A perfect model is at the floor at half the images, and well below it at all of them."""
    rng = np.random.default_rng(5)
    real, perfect = rng.normal(size=(600, 30)), rng.normal(size=(600, 30))
    patients = (np.arange(600) // 4).astype(str).tolist()
    found = floors(real, perfect, patients, 0)
    assert found.n == 300
    assert found.fd_at_half == pytest.approx(found.fd, rel=0.1)
    assert frechet_distance(real, perfect) < 0.7 * found.fd
    assert 0.0 < found.kd < 0.03
    assert floors(real, perfect, patients, 0) == found
    assert floors(real, perfect, patients, 1) != found


def test_floors_are_means_over_halves_compared_one_by_one() -> None:
    """Four patients of one size, so that halves can be told by trying all: each of three halvings has its distances."""
    real, generated = _features(n=1200, m=1200, d=5)
    patients = np.repeat(list("abcd"), 300)
    halves = [(np.isin(patients, ["a", other]), ~np.isin(patients, ["a", other])) for other in "bcd"]

    def means(distance: Callable[[Features, Features], float], halving: int) -> tuple[float, float]:
        one, other = halves[halving]
        across = distance(real[one], generated[other]) + distance(real[other], generated[one])
        return abs(distance(real[one], real[other])), across / 2.0

    possible = [(*means(frechet_distance, i), means(kernel_distance, i)[0], 600) for i in range(3)]
    single = [astuple(floors(real, generated, patients.tolist(), seed, halvings=1)) for seed in range(12)]
    met = {i for found in single for i in range(3) if found == pytest.approx(possible[i], rel=1e-8)}
    assert met == {0, 1, 2}
    assert all(any(found == pytest.approx(each, rel=1e-8) for each in possible) for found in single)
    several = astuple(floors(real, generated, patients.tolist(), 0, halvings=4))
    mixes = (np.mean(mix, axis=0) for mix in combinations_with_replacement(possible, 4))
    assert any(several == pytest.approx(mix, rel=1e-8) for mix in mixes)


def test_halves_of_unequal_size_are_cut_to_one() -> None:
    real, generated = _features(n=90, m=90, d=3)
    assert floors(real, generated, ["a"] * 60 + ["b"] * 30, 0).n == 30
    for bad, message in (
        (["a"] * 5, "5 patients for 90 rows"),
        (["a"] * 90, "two patients, and there are 1"),
        (["a"] * 89 + ["b"], "at least two images, and there is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            floors(real, generated, bad, 0)
    with pytest.raises(ValueError, match="must be paired"):
        floors(real, generated[:-1], ["a", "b"] * 45, 0)
    with pytest.raises(ValueError, match="halvings must be 1 or more, not 0"):
        floors(real, generated, ["a", "b"] * 45, 0, halvings=0)
    with pytest.raises(ValueError, match="NaN or Inf"):
        floors(real, np.where(generated > 2.0, np.nan, generated), ["a", "b"] * 45, 0)


@pytest.mark.parametrize("budget", [2 << 30, 0])
def test_prdc_at_one_size(budget: int) -> None:
    real, generated = _features(m=650)
    table = FeatureTable(real, generated, budget)
    rows = np.arange(100, 500)
    whole = table.prdc_at(400, 2, 0, rows, rows)
    assert astuple(whole.mean) == pytest.approx(astuple(prdc(real[rows], generated[rows])), rel=1e-12)
    assert astuple(whole.deviation) == pytest.approx((0.0,) * 4, abs=1e-12)
    assert table.prdc_at(60, 10, 0) == FeatureTable(real, generated).prdc_at(60, 10, 0)
    small = table.prdc_at(60, 10, 0, rows, rows)
    assert small.deviation.density > 0.0
    assert small.mean.recall > whole.mean.recall  # fewer points, wider balls
    with pytest.raises(ValueError, match="between 6 and the 650 rows, not 5"):
        table.prdc_at(5, 2, 0)
    with pytest.raises(ValueError, match="between 6 and the 400 rows, not 401"):
        table.prdc_at(401, 2, 0, rows)
    with pytest.raises(ValueError, match="repeats must be 2 or more, not 1"):
        table.prdc_at(60, 1, 0)


def test_subsamples_keep_pairs() -> None:
    """Generated images equal to the real ones, row by row: every subsample of pairs is two equal sets."""
    real, _ = _features(n=80)
    found = FeatureTable(real, real).prdc_at(20, 5, 0)
    assert (found.mean.coverage, found.deviation.coverage) == (1.0, 0.0)
    assert found.mean.precision == 1.0


@pytest.mark.parametrize("n", [200, 30])
def test_pca_is_that_of_scikit_learn(n: int) -> None:
    rng = np.random.default_rng(6)
    training, others = rng.normal(size=(n, 40)) * np.geomspace(3, 0.1, 40), rng.normal(size=(50, 40))
    ours, theirs = pca(training, 8), PCA(8, svd_solver="full").fit(training)
    np.testing.assert_allclose(np.abs(ours(others)), np.abs(theirs.transform(others)), atol=1e-9)
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
