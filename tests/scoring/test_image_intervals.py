"""Intervals of image metrics against brute force, exact properties, real images, and simulation with a known truth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unix_bench.data import DEMO, load_images, read_folder
from unix_bench.features import DemoDino
from unix_bench.scoring.image import FeatureTable, frechet_distance, kernel_distance, kernel_sums
from unix_bench.scoring.statistics import (
    FEW_PATIENTS,
    FrechetJackknife,
    effective_patients,
    image_flags,
    kernel_interval,
    paired_kernel_difference,
)
from unix_bench.scoring.statistics.frechet_intervals import patient_groups

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "image_coverage.py"


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def features(seed: int, n: int, patients: int, d: int = 4) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pairs alike within patients, of whom each has an image, the generated ones somewhat off."""
    rng = np.random.default_rng(seed)
    patient = np.concatenate([np.arange(patients), rng.integers(0, patients, n - patients)])
    shared = rng.normal(size=(2, patients, d))[:, patient]
    x, y = shared + rng.normal(size=(2, n, d))
    return x, 0.8 * y + 0.3, [f"p{each}" for each in patient]


def across_patients(x: np.ndarray, y: np.ndarray, names: np.ndarray, drawn: np.ndarray) -> float:
    """The kernel distance over images of patients who differ, by loops over the images of the drawn ones."""
    rows = np.flatnonzero(np.isin(names, drawn))
    total, count = 0.0, 0
    for i in rows:
        for j in rows:
            if names[i] != names[j]:
                pair = [kernel(a[None], b[None]).item() for a, b in ((x[i], x[j]), (y[i], y[j]), (x[i], y[j]))]
                total, count = total + pair[0] + pair[1] - 2.0 * pair[2], count + 1
    return total / count


def by_hand(x: np.ndarray, y: np.ndarray, patients: list[str]) -> tuple[float, float]:
    """Estimate over different patients, and its jackknife error, patient by patient."""
    names, own = np.array(patients), np.unique(patients)
    left = np.array([across_patients(x, y, names, own[own != each]) for each in own])
    error = np.sqrt((len(own) - 1) / len(own) * ((left - left.mean()) ** 2).sum())
    return across_patients(x, y, names, own), max(
        error, least_error(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y), names)
    )


def least_error(joint: np.ndarray, names: np.ndarray) -> float:
    """Error of a mean over uncorrelated pairs of patients, from the kernel values of all pairs of images."""
    joint = (joint + joint.T) / 2
    apart = names[:, None] != names[None, :]
    off = joint - joint[apart].mean()
    squares = [off[np.ix_(names == p, names == q)].sum() ** 2 for p in set(names) for q in set(names) if p < q]
    return float(np.sqrt(4 * sum(squares)) / apart.sum())


@pytest.mark.parametrize("patients", [5, 9])
def test_kernel_interval_is_the_jackknife_over_patients(patients: int) -> None:
    x, y, names = features(patients, 24, patients)
    centre, error = by_hand(x, y, names)
    reach = stats.t.ppf(0.95, effective_patients(names) - 1) * error
    value = kernel_distance(x, y)
    expected = min(centre - reach, value), max(centre + reach, value)
    assert kernel_interval(kernel_sums(x, y, names), level=0.9) == pytest.approx(expected, rel=1e-9)


def test_equal_sets_that_differ_along_one_direction() -> None:
    """The jackknife alone puts a tenth to a fifth of these intervals wholly below 0, where no distance can be."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 60, 3)) * [0.1, 0.01, 0.01] + 1.0
        low, high = kernel_interval(kernel_sums(x, y, None))
        held += low <= 0.0 <= high
    assert held >= 95


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 12), st.floats(0.5, 20.0))
def test_properties(seed: int, patients: int, factor: float) -> None:
    x, y, names = features(seed, 30, patients)
    order = np.random.default_rng(seed).permutation(30)
    shuffled = [names[i] for i in order]
    sums = kernel_sums(x, y, names)
    interval = kernel_interval(sums)
    assert interval is not None
    assert interval[0] <= kernel_distance(x, y) <= interval[1]
    assert kernel_interval(kernel_sums(x[order], y[order], shuffled)) == pytest.approx(interval, rel=1e-7, abs=1e-9)
    assert kernel_interval(kernel_sums(y, x, names)) == pytest.approx(interval, rel=1e-7, abs=1e-9)
    frechet = FrechetJackknife(x, y, names).interval()
    assert frechet[0] <= frechet_distance(x, y) <= frechet[1]
    scaled = FrechetJackknife(factor * x + 7.0, factor * y + 7.0, names).interval()
    assert scaled == pytest.approx([factor**2 * each for each in frechet], rel=1e-6, abs=1e-9)
    copied = kernel_sums(x, x, names)
    a_b = paired_kernel_difference(sums, copied, 1, 200)
    b_a = paired_kernel_difference(copied, sums, 1, 200)
    assert b_a.value == pytest.approx(-a_b.value)
    assert b_a.ci == pytest.approx((-a_b.ci[1], -a_b.ci[0]))
    assert b_a.p == a_b.p


@pytest.mark.parametrize(("n", "d"), [(60, 4), (12, 20)])
def test_frechet_interval_is_the_jackknife_over_groups(n: int, d: int) -> None:
    """Groups subtracted from shared sums, or left out of the features: the distance of what remains, either way."""
    x, y, names = features(1, n, 10, d)
    group = patient_groups(names, n, 6, seed=2)
    left = np.sqrt([frechet_distance(x[group != each], y[group != each]) for each in range(6)])
    error = np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, min(6, effective_patients(names)) - 1) * error
    root = np.sqrt(frechet_distance(x, y))
    interval = FrechetJackknife(x + 1e6, y + 1e6, names, groups=6, seed=2).interval()
    assert interval == pytest.approx((max(0.0, root - reach) ** 2, (root + reach) ** 2), rel=1e-6)


def test_constant_features_and_images_that_repeat_have_the_same_distance() -> None:
    """Covariances that no Cholesky factor has, from sums as from features."""
    x, y, names = features(2, 60, 10, 6)
    x[:, 0], y[:, 0] = 3.0, 5.0
    for one, other in ((x, y), (np.repeat(x[:4], 15, axis=0), np.repeat(y[:4], 15, axis=0))):
        assert FrechetJackknife(one, other, names).value == pytest.approx(frechet_distance(one, other), rel=1e-6)


def test_groups_hold_whole_patients_and_are_even() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(100), rng.integers(1, 20, 100)).astype(str).tolist()
    group = patient_groups(names, len(names), 10, seed=1)
    assert len(set(zip(names, group.tolist(), strict=True))) == 100
    assert np.ptp(np.bincount(group)) <= 1
    assert not np.array_equal(group, patient_groups(names, len(names), 10, seed=2))


def test_limit_is_the_extrapolation_of_whole_patients() -> None:
    """Two blocks: 2 FD(n) - mean of the halves (Richardson); images equal on both sides: 0."""
    x, y, names = features(4, 60, 20, d=12)
    group = patient_groups(names, 60, 20, seed=0)

    def richardson(kept: np.ndarray) -> float:
        halves = [frechet_distance(x[part], y[part]) for part in (kept & (group % 2 == side) for side in (0, 1))]
        return 2 * frechet_distance(x[kept], y[kept]) - float(np.mean(halves))

    left = np.array([richardson(group != each) for each in range(20)])
    error = np.sqrt(19 / 20 * ((left - left.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, min(20, effective_patients(names)) - 1) * error
    value = richardson(group >= 0)
    limit = FrechetJackknife(x, y, names, groups=20).limit()
    assert (limit.value, *limit.ci) == pytest.approx((value, value - reach, value + reach), rel=1e-7)
    assert limit.blocks == np.bincount(group % 2).min()
    same = FrechetJackknife(x, x, names).limit()
    assert (same.value, *same.ci) == pytest.approx((0.0, 0.0, 0.0), abs=1e-5)
    assert FrechetJackknife(x[:25], y[:25], names[:25]).limit() is None


def test_limit_takes_the_bias_off() -> None:
    """Two Gaussians of known distance: at n = 400 the plain value is far too large, the extrapolated one is not."""
    d, truth = 40, 40 * 0.1**2
    rng = np.random.default_rng(3)
    samples = [(rng.normal(size=(400, d)), 0.9 * rng.normal(size=(400, d))) for _ in range(20)]
    for patients in (None, [str(i // 2) for i in range(400)]):
        found = [FrechetJackknife(x, y, patients, groups=8) for x, y in samples]
        assert np.mean([each.value for each in found]) - truth > 1.0
        limits = [each.limit() for each in found]
        assert abs(np.mean([each.value for each in limits]) - truth) < 0.3
        assert {each.blocks for each in limits} == {100}


def test_interval_and_limit_from_one_jackknife() -> None:
    x, y, names = features(5, 120, 30, d=6)
    both = FrechetJackknife(x, y, names, groups=10, seed=3)
    assert both.value == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert both.limit(0.9) == FrechetJackknife(x, y, names, 10, 3).limit(0.9)
    assert both.interval(0.9) == FrechetJackknife(x, y, names, 10, 3).interval(0.9)


def test_equal_models_do_not_differ() -> None:
    x, y, names = features(0, 40, 12)
    sums = kernel_sums(x, y, names)
    by_table = FeatureTable(x, y).kernel_sums(names)
    for other in (sums, by_table):
        same = paired_kernel_difference(sums, other, seed=0)
        assert (same.value, same.ci, same.p) == (0.0, (0.0, 0.0), 1.0)


def test_difference_lies_about_that_over_different_patients() -> None:
    """A drawn-again patient is never paired with the own copy, and the ratios are those of a plain loop over draws."""
    x, y, names = features(6, 24, 8)
    other = 1.2 * y - 0.2
    difference = paired_kernel_difference(kernel_sums(x, y, names), kernel_sums(x, other, names), seed=5, replicates=20)
    own, drawn = np.unique(names), np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), size=20)
    centre, error = _difference_by_hand(x, y, other, names, [*own])
    joint = kernel(y, y) - kernel(other, other) - 2.0 * (kernel(x, y) - kernel(x, other))
    error = max(error, least_error(joint, np.array(names)))
    ratios = []
    for counts in drawn:
        value, own_error = _difference_by_hand(x, y, other, names, np.repeat(own, counts).tolist())
        ratios.append(abs(value - centre) / own_error)
    reach = np.quantile(ratios, 0.95, method="higher") * error
    expected = min(centre - reach, difference.value), max(centre + reach, difference.value)
    assert difference.ci == pytest.approx(expected, rel=1e-8)
    assert difference.p == pytest.approx((1 + sum(ratio * error >= abs(centre) for ratio in ratios)) / 21)


def _difference_by_hand(
    x: np.ndarray, one: np.ndarray, other: np.ndarray, names: list[str], drawn: list[str]
) -> tuple[float, float]:
    """Of a list of patients, who may stand there twice: the difference and its jackknife error, from all images."""

    def value(patients: list[str]) -> float:
        rows = np.concatenate([np.flatnonzero(np.array(names) == each) for each in patients])
        who = np.array(names)[rows]
        apart = who[:, None] != who[None, :]
        distances = [(kernel(y[rows], y[rows]) - 2.0 * kernel(x[rows], y[rows]))[apart].mean() for y in (one, other)]
        return float(distances[0] - distances[1])

    left = np.array([value(drawn[:i] + drawn[i + 1 :]) for i in range(len(drawn))])
    return value(drawn), float(np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum()))


def test_a_worse_model_is_found_and_the_value_is_the_printed_one() -> None:
    x, y, names = features(0, 300, 80)
    one, other = kernel_sums(x, 1.5 * y + 1.0, names), kernel_sums(x, y, names)
    worse = paired_kernel_difference(one, other, seed=0, replicates=500)
    assert worse.value == pytest.approx(kernel_distance(x, 1.5 * y + 1.0) - kernel_distance(x, y), rel=1e-9)
    assert worse.ci[0] > 0.0
    assert worse.p < 0.05


def test_too_few_patients_have_no_interval() -> None:
    x, y, _ = features(0, 10, 3)
    for names in (["a"] * 10, ["a", "b"] * 5):
        sums = kernel_sums(x, y, names)
        assert kernel_interval(sums) is None
        assert FrechetJackknife(x, y, names).interval() is None
        pair = paired_kernel_difference(sums, kernel_sums(x, x, names), seed=0)
        assert (pair.ci, pair.p) == (None, None)


def test_bad_arguments_are_refused() -> None:
    x, y, names = features(0, 20, 6)
    sums = kernel_sums(x, y, names)
    with pytest.raises(ValueError, match="level"):
        kernel_interval(sums, level=1.0)
    with pytest.raises(ValueError, match="replicates"):
        paired_kernel_difference(sums, sums, 0, replicates=0)
    for other in (kernel_sums(x[:19], y[:19], names[:19]), kernel_sums(x, y, [f"x{each}" for each in names])):
        with pytest.raises(ValueError, match="same patients"):
            paired_kernel_difference(sums, other, 0)
    with pytest.raises(ValueError, match="same real images"):
        paired_kernel_difference(sums, kernel_sums(x + 0.01, y, names), 0)
    for arguments, message in (
        ((x, y, names, 2), "groups"),
        ((x, y[:5], names), "pairs, not 20 real and 5 generated"),
        ((x, y[:, :2], names), "columns"),
        ((x[:1], y[:1], names[:1]), "at least 2 rows"),
        ((x, np.where(y > 1.0, np.inf, y), names), "NaN or Inf"),
    ):
        with pytest.raises(ValueError, match=message):
            FrechetJackknife(*arguments)
    for measure in (FrechetJackknife(x, y, names).interval, FrechetJackknife(x, y, names).limit):
        with pytest.raises(ValueError, match="level"):
            measure(1.0)


def test_flags() -> None:
    few, many = ([str(i) for i in range(n)] for n in (int(FEW_PATIENTS) - 1, int(FEW_PATIENTS)))
    assert image_flags(few, True) == ["few-patients"]
    assert image_flags(many, True) == []
    assert image_flags([*many, *["0"] * 100], True) == ["few-patients"]
    assert image_flags(many, False) == ["patients-unknown"]
    assert image_flags([], False) == ["patients-unknown", "few-patients"]


def test_real_images_split_in_halves() -> None:
    """Halves of the demo's radiographs come from one distribution: the interval of their distance holds 0."""
    studies = [study for study in read_folder(DEMO).studies if study.reference.image is not None]
    x = DemoDino().encode(list(load_images([study.reference.image for study in studies]))).numpy().astype(np.float64)
    order = np.random.default_rng(0).permutation(len(x))
    one, two = x[order[::2]], x[order[1::2]]
    n = min(len(one), len(two))
    low, high = kernel_interval(kernel_sums(one[:n], two[:n], None))
    assert low < 0.0 < high
    low, _ = kernel_interval(kernel_sums(one[:n], two[:n] + x.std(), None))
    assert low > 0.0


@pytest.fixture(scope="module")
def world() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_coverage", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["image_coverage"] = module
    spec.loader.exec_module(module)
    return module


def test_truth_of_the_simulation(world: ModuleType) -> None:
    """The population values that coverage is counted against are what very many independent images give."""
    rng = np.random.default_rng(5)
    model = world.WORLDS["unequal"][0]
    alone = np.arange(3000)
    prompt = world.normals(alone, rng)
    real, drawn = world.draw(alone, model.real(), prompt, rng), world.draw(alone, model, prompt, rng)
    assert kernel_distance(real, drawn) == pytest.approx(world.kernel_truth(model), rel=0.15)
    assert frechet_distance(real, drawn) == pytest.approx(world.frechet_truth(model), rel=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say(world: ModuleType) -> None:
    """At 100 images; 86 % of 60 trials is three standard errors below 95 %."""
    for row in world.simulate(100, "mirrored", trials=60, replicates=200, seed=7):
        assert row["held, %"] >= 86.0, row
        assert row["p < 0.05, %"] is None or row["p < 0.05, %"] <= 14.0, row
