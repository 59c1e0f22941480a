"""The memorisation gap against brute force, exact properties, and simulated models that copy or do not."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from unix_bench.scoring.statistics import MemorisationGap, memorisation_gap, near_share
from unix_bench.scoring.statistics.memorisation import _Neighbours


def gap_of(seed: int, images: int, training: int, copies: float = 0.0, d: int = 6) -> MemorisationGap:
    """Normal features, alike within patients and between a prompt's real and drawn image; some drawn ones copied."""
    rng = np.random.default_rng(seed)
    of_test, of_training = (_patients(n, rng) for n in (images, training))
    prompt = _clustered(of_test, d, rng)
    held_out, drawn = (np.sqrt(0.4) * prompt + np.sqrt(0.6) * _clustered(of_test, d, rng) for _ in range(2))
    seen = _clustered(of_training, d, rng)
    copied = rng.random(images) < copies
    drawn[copied] = seen[rng.integers(0, training, copied.sum())]
    names = [f"h{each}" for each in of_test], [f"t{each}" for each in of_training]
    return memorisation_gap(drawn, held_out, seen, *names, seed)


def _patients(images: int, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(np.arange(images), rng.geometric(0.4, images))[:images]


def _clustered(patient: np.ndarray, d: int, rng: np.random.Generator) -> np.ndarray:
    return np.sqrt(0.5) * (rng.normal(size=(patient.max() + 1, d))[patient] + rng.normal(size=(len(patient), d)))


def mean_over_unions(groups: list[np.ndarray], x: np.ndarray, count: int) -> np.ndarray:
    """Nearest distance of each row of x among `count` groups, averaged over all choices of so many."""
    nearest = np.stack([cdist(x, group).min(axis=1) for group in groups], axis=1)
    return np.mean([nearest[:, chosen].min(axis=1) for chosen in combinations(range(len(groups)), count)], axis=0)


def test_distances_are_means_over_all_parts_of_one_size() -> None:
    """One image a patient: 8 held-out ones of which 7 are others, and 21 training ones, 7 at a time."""
    rng = np.random.default_rng(0)
    drawn, held_out, seen = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)), rng.normal(size=(21, 3))
    names = [f"h{i}" for i in range(8)], [f"t{i}" for i in range(21)]
    found = memorisation_gap(drawn, held_out, seen, *names, seed=0)
    others = [cdist(drawn[i : i + 1], np.delete(held_out, i, 0)).min() for i in range(8)]
    of_seen = mean_over_unions([row[None] for row in seen], drawn, 7)
    assert found.nearest_training == pytest.approx(cdist(drawn, seen).min(axis=1), rel=1e-12)
    assert (found.to_held_out, found.to_training) == pytest.approx((np.mean(others), of_seen.mean()), rel=1e-10)
    assert found.value == pytest.approx(np.mean(others) - of_seen.mean())


def test_a_larger_held_out_set_is_cut_as_well() -> None:
    """Three training images, one a patient: the nearest of 3 of 11 held-out ones, averaged over all threes."""
    rng = np.random.default_rng(1)
    drawn, held_out, seen = rng.normal(size=(12, 3)), rng.normal(size=(12, 3)), rng.normal(size=(3, 3))
    names = [f"h{i}" for i in range(12)], ["a", "b", "c"]
    found = memorisation_gap(drawn, held_out, seen, *names, seed=0)
    expected = [
        mean_over_unions([row[None] for row in np.delete(held_out, i, 0)], drawn[i : i + 1], 3).item()
        for i in range(12)
    ]
    assert found.to_held_out == pytest.approx(np.mean(expected), rel=1e-10)
    assert found.to_training == pytest.approx(cdist(drawn, seen).min(axis=1).mean(), rel=1e-12)
    assert found.ci is None  # three training patients


def test_few_training_images_against_many() -> None:
    """Groups of held-out patients become smaller than the training set: no gap by mere numbers."""
    found = [gap_of(seed, images=400, training=10) for seed in range(8)]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 4.0 * values.std(ddof=1) / np.sqrt(8)


def test_images_of_the_own_patient_are_no_references() -> None:
    """A model that draws exactly what was prompted is as far from others' images as these are: nothing memorised."""
    rng = np.random.default_rng(2)
    held_out, seen = rng.normal(size=(40, 3)), rng.normal(size=(160, 3))
    patients = np.arange(40) // 4
    found = memorisation_gap(
        held_out, held_out, seen, patients.astype(str).tolist(), [f"t{i // 4}" for i in range(160)], seed=0
    )
    apart = np.where(patients[:, None] == patients[None, :], np.inf, cdist(held_out, held_out))
    assert found.to_held_out == pytest.approx(apart.min(axis=1).mean(), rel=1e-12)
    assert found.ci[0] < 0.0 < found.ci[1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 9))
def test_the_average_over_draws_is_that_of_all_unions(seed: int, groups: int, drawn: int) -> None:
    """Groups of one size: the weights of the nearest, second nearest and so on against all unions one by one."""
    rng = np.random.default_rng(seed)
    drawn = min(drawn, groups)
    distances = np.sort(rng.random((4, groups)), axis=1)
    kept = _Neighbours(distances, np.full((4, groups), 5), np.tile(np.arange(groups), (4, 1)))
    every, rows = np.ones(groups, dtype=bool), np.array([True, False, True, True])
    expected = np.mean([distances[:, c].min(axis=1) for c in combinations(range(groups), drawn)], axis=0)
    assert kept.nearest_among(5 * drawn, rows, every) == pytest.approx(expected[rows], rel=1e-9)
    assert kept.available(rows, np.arange(groups) < 1).tolist() == [5, 5, 5]


def test_properties() -> None:
    """Moved, scaled or in another order, the gap is the same, and the same seed gives the same interval."""
    rng = np.random.default_rng(3)
    drawn, held_out, seen = rng.normal(size=(60, 4)), rng.normal(size=(60, 4)), rng.normal(size=(90, 4))
    names = [f"h{i // 2}" for i in range(60)], [f"t{i // 3}" for i in range(90)]
    found = memorisation_gap(drawn, held_out, seen, *names, seed=4)
    again = memorisation_gap(drawn, held_out, seen, *names, seed=4)
    assert (again.value, again.ci) == (found.value, found.ci)
    moved = memorisation_gap(*(3.0 * each + 100.0 for each in (drawn, held_out, seen)), *names, seed=4)
    assert (moved.value, *moved.ci) == pytest.approx([3.0 * each for each in (found.value, *found.ci)], rel=1e-8)
    order, other = rng.permutation(60), rng.permutation(90)
    shuffled = [names[0][i] for i in order], [names[1][i] for i in other]
    mixed = memorisation_gap(drawn[order], held_out[order], seen[other], *shuffled, seed=4)
    assert (mixed.value, *mixed.ci) == pytest.approx((found.value, *found.ci), rel=1e-9)


@pytest.mark.parametrize("training", [100, 250])
def test_a_model_that_does_not_remember_has_no_gap(training: int) -> None:
    """82 % of 30 trials is more than three standard errors below 95 %; the mean gap is 0 to its own error."""
    found = [gap_of(seed, images=100, training=training) for seed in range(30)]
    held = [each.ci[0] <= 0.0 <= each.ci[1] for each in found]
    assert np.mean(held) >= 0.82
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 3.5 * values.std(ddof=1) / np.sqrt(30)


def test_copies_are_found() -> None:
    """One image in ten is a copy: the gap is a tenth of the usual distance, and mostly beyond its interval."""
    found = [gap_of(seed, copies=0.1, images=300, training=300) for seed in range(8)]
    assert np.mean([each.ci[0] > 0.0 for each in found]) >= 0.7
    share = np.mean([each.value / each.to_held_out for each in found])
    assert share == pytest.approx(0.1, abs=0.03)
    copied = np.mean([(each.nearest_training == 0.0).mean() for each in found])
    assert copied == pytest.approx(0.1, abs=0.03)


def test_bad_arguments_are_refused() -> None:
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=(8, 3)), rng.normal(size=(9, 3))
    tests, trained = list("abcdefgh"), [f"t{i}" for i in range(9)]
    for arguments, message in (
        ((x, x[:5], z, tests, trained), "must be pairs"),
        ((x, x, z[:, :2], tests, trained), "training features have 2 columns"),
        ((x, x, z, tests[:3], trained), "3 patients for 8 held-out images and 9 for 9 training"),
        ((x, x, z, tests, [*trained[:-1], "c"]), "1 patients are both"),
        ((x, x, z, ["a"] * 8, trained), "needs two held-out patients"),
        ((x, np.where(x > 1.0, np.nan, x), z, tests, trained), "held-out features hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            memorisation_gap(*arguments, seed=0)
    with pytest.raises(ValueError, match="groups must be at least 4"):
        memorisation_gap(x, x, z, tests, trained, 0, groups=3)
    with pytest.raises(ValueError, match="level"):
        memorisation_gap(x, x, z, tests, trained, 0, level=1.0)


def test_near_share_of_an_innocent_model() -> None:
    """A model that draws from the held-out distribution has one in a hundred below the bound; the interval says so."""
    rng = np.random.default_rng(6)
    patients = [f"p{index // 3}" for index in range(300)]
    sides = rng.normal(size=(150, 2, 300))
    found = [near_share(one, other, patients, 0, replicates=400) for one, other in sides]
    assert np.mean([each.value for each in found]) == pytest.approx(0.01, abs=0.002)
    assert np.mean([each.ci[0] <= 0.01 <= each.ci[1] for each in found]) > 0.88
    copies = np.where(np.arange(300) < 30, -10.0, rng.normal(size=300))
    assert near_share(copies, rng.normal(size=300), patients, 0).ci[0] > 0.04
    assert near_share(copies, rng.normal(size=300), ["a"] * 300, 0).ci is None
