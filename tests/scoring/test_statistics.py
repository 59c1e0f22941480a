"""Intervals, paired tests and spreads against scipy, scikit-learn, hand-made values, and by simulation."""

from __future__ import annotations

import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from unix_bench.scoring.statistics import (
    FEW_POSITIVES,
    Measure,
    Spread,
    approximate_randomisation,
    between_seeds,
    class_f1,
    f1_parts,
    holm,
    intervals,
    macro_f1,
    mean_of,
    micro_f1,
    paired_bootstrap,
)

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


def scores(n: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).beta(2, 5, n)


def labels(n: int, classes: int, seed: int, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Reference and prediction; a prediction repeats the reference in two of three studies."""
    rng = np.random.default_rng(seed)
    reference, other = rng.random((2, n, classes)) < share
    return reference, np.where(rng.random((n, classes)) < 2 / 3, reference, other)


def corpus_bleu(sums: np.ndarray) -> np.ndarray:
    precision = np.log(np.maximum(sums[..., :4], 1e-12) / sums[..., 4:8]).mean(axis=-1)
    return np.exp(np.minimum(0.0, 1.0 - sums[..., 9] / sums[..., 8]) + precision)


def bleu_of(seed: int, n: int = 80) -> Measure:
    rng = np.random.default_rng(seed)
    totals = rng.integers(10, 60, (n, 1)) - np.arange(4)
    matches = rng.binomial(totals, [0.4, 0.25, 0.17, 0.12])
    lengths = np.stack([totals[:, 0], rng.integers(10, 60, n)], axis=1)
    return Measure(np.concatenate([matches, totals, lengths], axis=1).astype(float), corpus_bleu)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6), st.sampled_from([0.02, 0.3, 0.9]))
def test_f1_is_that_of_scikit_learn(seed: int, n: int, classes: int, share: float) -> None:
    reference, predicted = labels(n, classes, seed, share)
    parts = f1_parts(reference, predicted)
    for average, measure in (("micro", micro_f1(parts)), ("macro", macro_f1(parts))):
        pair = (reference, predicted) if classes > 1 else (reference[:, 0], predicted[:, 0])
        which = {"average": average} if classes > 1 else {}
        assert measure.value() == pytest.approx(f1_score(*pair, zero_division=0, **which), abs=1e-12)
    for index in range(classes):
        expected = f1_score(reference[:, index], predicted[:, index], zero_division=0)
        assert class_f1(parts, index).value() == pytest.approx(expected, abs=1e-12)
    some = np.arange(0, n, 2)
    assert macro_f1(parts).of_members(some).value() == macro_f1(parts[some]).value()


def test_a_mean_leaves_out_what_does_not_count() -> None:
    measure = mean_of([0.2, np.nan, 0.6], [True, False, True])
    assert measure.value() == pytest.approx(0.4)
    assert measure.of_members([0, 1]).value() == pytest.approx(0.2)
    nothing = measure.of_members([1])
    assert math.isnan(nothing.value())
    assert intervals([nothing, nothing.of_members([])][:1], None, 0) == [None]
    assert intervals([measure.of_members([])], None, 0) == [None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_of([0.1, np.nan]), "NaN or Inf"),
        (lambda: mean_of([0.1], [True, False]), "must be"),
        (lambda: micro_f1(np.ones((4, 5))), "must be"),
        (lambda: intervals([mean_of([0.1, 0.2]), mean_of([0.1])], None, 0), "share their studies"),
        (lambda: intervals([mean_of([0.1, 0.2])], ["a"], 0), "1 clusters for 2 studies"),
        (lambda: intervals([mean_of([0.1, 0.2])], None, 0, level=95), "between 0 and 1"),
        (lambda: approximate_randomisation(mean_of([0.1, 0.2]), mean_of([0.1]), None, 0), "the same studies"),
        (lambda: holm([0.1, 1.5]), "outside"),
        (lambda: between_seeds([]), "one finite value"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_interval_of_a_mean_is_that_of_scipy() -> None:
    """Draws with replacement and random weights agree to first order; both are noisy by their replicates."""
    values = scores(400)
    low, high = intervals([mean_of(values)], None, 0, 20_000)[0]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


@pytest.mark.parametrize(("hits", "errors"), [(0, 12), (1, 30), (7, 25), (12, 0)])
def test_interval_of_one_finding_is_jeffreys(hits: int, errors: int) -> None:
    """Single studies: TP / (TP + FP + FN) is a proportion J, whose F1 is 2J / (1 + J)."""
    reference = np.arange(200) < hits + errors
    predicted = np.arange(200) < hits
    interval = intervals([class_f1(f1_parts(reference[:, None], predicted[:, None]), 0)], None, 3, 40_000)[0]
    limits = stats.beta(hits + 0.5, errors + 0.5).ppf([0.025, 0.975])
    expected = 2 * limits / (1 + limits)
    expected = [0.0 if hits == 0 else expected[0], 1.0 if errors == 0 else expected[1]]
    assert interval == pytest.approx(expected, abs=0.01)


def test_patients_and_not_studies_are_drawn() -> None:
    """Four copies of a study in one patient say no more than one, for all measures."""
    n = 40
    reference, predicted = labels(n, 3, seed=1)
    parts, values = f1_parts(reference, predicted), scores(n)
    patient = [f"p{index}" for index in range(n)]
    one = [mean_of(values), micro_f1(parts), class_f1(parts, 0), macro_f1(parts)]
    four = [
        mean_of(np.tile(values, 4)),
        *(f(np.tile(parts, (4, 1))) for f in (micro_f1, lambda p: class_f1(p, 0), macro_f1)),
    ]
    for short, long in zip(intervals(one, patient, 7), intervals(four, patient * 4, 7), strict=True):
        assert long == pytest.approx(short, abs=1e-9)
    wider, narrower = intervals(four, patient * 4, 7), intervals(four, None, 7)
    assert all(w[1] - w[0] > 1.5 * (s[1] - s[0]) for w, s in zip(wider, narrower, strict=True))


def test_neither_order_matters_and_the_seed_does() -> None:
    reference, predicted = labels(50, 4, seed=2)
    parts, values = f1_parts(reference, predicted), scores(50)
    patient = [str(index // 2) for index in range(50)]
    measures = [macro_f1(parts), mean_of(values), class_f1(parts, 2), micro_f1(parts), bleu_of(0, 50)]
    first = intervals(measures, patient, 5)
    assert intervals(measures[::-1], patient, 5)[::-1] == first == intervals(measures, patient, 5)
    assert intervals(measures, patient, 6) != first
    order = np.random.default_rng(0).permutation(50)
    shuffled = intervals([m.of_members(order) for m in measures], [patient[i] for i in order], 5)
    assert np.array(shuffled) == pytest.approx(np.array(first), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_an_interval_holds_its_value_and_stays_within_the_range(seed: int, n: int, share: float) -> None:
    reference, predicted = labels(n, 3, seed, share)
    parts = f1_parts(reference, predicted)
    graded = np.round(np.random.default_rng(seed).random(n), 1) * share
    measures = [mean_of(graded), micro_f1(parts), macro_f1(parts), class_f1(parts, 1)]
    for measure, (low, high) in zip(measures, intervals(measures, None, seed, 200), strict=True):
        assert 0.0 <= low <= measure.value() <= high <= 1.0


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_score_that_never_varies_still_has_an_interval(score: float) -> None:
    parts = f1_parts(np.ones((50, 1)), np.full((50, 1), score))
    squared = Measure(np.stack([np.full(50, score), np.ones(50)], axis=1), lambda s: np.square(s[..., 0] / s[..., 1]))
    measures = [mean_of(np.full(50, score)), squared, micro_f1(parts), macro_f1(parts)]
    for low, high in intervals(measures, None, 0):
        assert (low if score == 0.0 else high) == score
        assert 0.02 < high - low < 0.15  # 3 / n, more or less


def test_a_mean_of_classes_joins_what_the_classes_have() -> None:
    """Alike classes say together what one says; independent ones say it sqrt(c) times as well."""
    reference, predicted = labels(4000, 4, seed=8)
    parts = f1_parts(reference, predicted)
    alike = np.tile(parts[:, :3], (1, 4))
    one, copies, several, *classes = intervals(
        [class_f1(parts, 0), macro_f1(alike), macro_f1(parts), *(class_f1(parts, index) for index in range(4))], None, 0
    )
    assert copies == pytest.approx(one, abs=1e-12)
    assert several[1] - several[0] == pytest.approx(math.hypot(*(high - low for low, high in classes)) / 4, rel=0.05)


def test_fewer_than_two_patients_have_none() -> None:
    measures = [mean_of([0.1, 0.4]), micro_f1(np.ones((2, 3)))]
    assert intervals(measures, ["p", "p"], 0) == [None, None]
    difference = paired_bootstrap(measures[0], mean_of([0.3, 0.3]), ["p", "p"], 0)
    assert (difference.ci, difference.p) == (None, None)
    assert difference.value == pytest.approx(-0.05)


def test_coverage_of_a_rare_finding() -> None:
    """Twenty expected positives, patients with two like studies: the figures of docs/statistics.md, in small."""
    rng, trials, n = np.random.default_rng(11), 300, 500
    jaccard = 0.1
    truth = 2 * jaccard / (1 + jaccard)
    held = 0
    for trial in range(trials):
        counted = rng.random(n // 2) < 2 * FEW_POSITIVES / n
        right = counted & (rng.random(n // 2) < jaccard)
        parts = np.repeat(np.stack([right, np.zeros_like(right), counted & ~right], axis=1).astype(float), 2, axis=0)
        patient = [str(index // 2) for index in range(n)]
        low, high = intervals([class_f1(parts, 0)], patient, trial, 400)[0]
        held += low <= truth <= high
    assert 0.92 < held / trials < 0.985


@pytest.mark.parametrize("seed", range(3))
def test_randomisation_is_exact_for_few_patients(seed: int) -> None:
    """All swaps by a loop that knows nothing of sums."""
    a, b = bleu_of(seed, 12), bleu_of(seed + 10, 12)
    patient = [index // 2 for index in range(12)]
    observed = abs(a.value() - b.value())
    reached = 0
    for swaps in product([False, True], repeat=6):
        swap = np.array([swaps[p] for p in patient])[:, None]
        one, other = np.where(swap, b.parts, a.parts), np.where(swap, a.parts, b.parts)
        reached += abs(float(corpus_bleu(one.sum(0)) - corpus_bleu(other.sum(0)))) >= observed - 1e-12
    assert approximate_randomisation(a, b, [str(p) for p in patient], seed) == reached / 64


def test_randomisation_is_that_of_scipy() -> None:
    a, b = scores(9, 1), scores(9, 2)
    theirs = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert approximate_randomisation(mean_of(a), mean_of(b), None, 0) == pytest.approx(theirs.pvalue)
    a, b = scores(60, 1), scores(60, 2) + 0.05
    theirs = stats.ttest_rel(a, b).pvalue
    assert approximate_randomisation(mean_of(a), mean_of(b), None, 0) == pytest.approx(theirs, abs=0.02)


def test_paired_bootstrap_of_means_is_that_of_scipy() -> None:
    a, b = scores(300, 1), scores(300, 2) + 0.02
    ours = paired_bootstrap(mean_of(a), mean_of(b, within=(0, 2)), None, 0, 20_000)
    theirs = stats.bootstrap((a - b,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours.value == pytest.approx(float(np.mean(a - b)))
    assert ours.ci == pytest.approx((theirs.low, theirs.high), abs=0.03 * (theirs.high - theirs.low))
    assert ours.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


@pytest.mark.parametrize("kind", ["mean", "bleu", "macro", "one"])
def test_changing_sides_changes_the_sign_alone(kind: str) -> None:
    reference, predicted = labels(80, 3, seed=3)
    parts, worse = f1_parts(reference, predicted), f1_parts(reference, labels(80, 3, seed=4)[1])
    a, b = {
        "mean": (mean_of(scores(80, 1)), mean_of(scores(80, 2))),
        "bleu": (bleu_of(1), bleu_of(2)),
        "macro": (macro_f1(parts), macro_f1(worse)),
        "one": (class_f1(parts, 0), class_f1(worse, 0)),
    }[kind]
    there, back = paired_bootstrap(a, b, None, 0, 8000), paired_bootstrap(b, a, None, 0, 8000)
    assert there.value == -back.value
    width = there.ci[1] - there.ci[0]
    assert there.ci == pytest.approx((-back.ci[1], -back.ci[0]), abs=0.06 * width)
    assert there.p == pytest.approx(back.p, abs=0.03)
    assert approximate_randomisation(a, b, None, 0) == approximate_randomisation(b, a, None, 0)
    assert paired_bootstrap(a, b, None, 0, 8000) == there != paired_bootstrap(a, b, None, 1, 8000)
    assert (there.p < 0.05) == (not there.ci[0] <= 0 <= there.ci[1])


def test_equal_systems_do_not_differ() -> None:
    reference, predicted = labels(30, 3, seed=5)
    for measure in (mean_of(scores(30)), micro_f1(f1_parts(reference, predicted)), bleu_of(0)):
        difference = paired_bootstrap(measure, measure, None, 0)
        assert (difference.value, difference.ci, difference.p) == (0.0, (0.0, 0.0), 1.0)
        assert approximate_randomisation(measure, measure, None, 0) == 1.0


def test_one_patient_proves_nothing() -> None:
    """One system is right in one patient more: all reweightings favour it, yet no test may."""
    reference = np.arange(100)[:, None] < 12
    more, fewer = (f1_parts(reference, np.arange(100)[:, None] < right) for right in (7, 6))
    for measure in (lambda parts: class_f1(parts, 0), macro_f1):
        assert paired_bootstrap(measure(more), measure(fewer), None, 0).p > 0.1
        assert approximate_randomisation(measure(more), measure(fewer), None, 0) == 1.0


def test_no_p_value_is_zero() -> None:
    better, worse = mean_of(scores(300) + 0.5), mean_of(scores(300))
    assert approximate_randomisation(better, worse, None, 0, 99) == pytest.approx(1 / 100)
    assert paired_bootstrap(better, worse, None, 0, 99).p == pytest.approx(2 / 100)


def test_both_tests_err_as_often_as_they_say() -> None:
    """No difference in the population, patients of three studies: a twentieth is called significant."""
    rng, trials, called = np.random.default_rng(6), 400, np.zeros((2, 3))
    patient = [str(index // 3) for index in range(120)]
    for trial in range(trials):
        hard = np.repeat(rng.normal(size=40), 3)
        a, b = (mean_of(stats.norm.cdf(hard + np.repeat(rng.normal(size=40), 3))) for _ in range(2))
        called[0, 0] += approximate_randomisation(a, b, patient, trial, 200) <= 0.05
        called[1, 0] += paired_bootstrap(a, b, patient, trial, 400).p <= 0.05
        called[0, 1] += approximate_randomisation(a, b, None, trial, 200) <= 0.05
    rates = called / trials
    assert 0.02 <= rates[0, 0] <= 0.09
    assert 0.02 <= rates[1, 0] <= 0.09
    assert rates[0, 1] > 0.15  # studies of a patient are no independent witnesses


def test_holm_by_hand() -> None:
    adjusted = holm([0.01, 0.04, None, 0.03, 0.005, math.nan])
    assert adjusted[2] is None
    assert math.isnan(adjusted[5])
    assert [adjusted[i] for i in (0, 1, 3, 4)] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds() -> None:
    spread = between_seeds([0.31, 0.35, 0.33, 0.30])
    assert spread.sd == pytest.approx(np.std([0.31, 0.35, 0.33, 0.30], ddof=1))
    assert (spread.mean, spread.low, spread.high, spread.n) == (pytest.approx(0.3225), 0.30, 0.35, 4)
    assert between_seeds([0.5]) == Spread(0.5, None, 0.5, 0.5, 1)


def test_python_of_the_page_runs() -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M)
    assert blocks
    for block in blocks:
        exec(block, names)
