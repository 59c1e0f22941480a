"""BLEU and ROUGE-L against golden values, nltk and rouge-score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.translate.bleu_score import corpus_bleu as nltk_corpus_bleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator, Score

from unix_bench.scoring.report import bleu, bleu_counts, bootstrap_median, corpus_bleu, rouge_l
from unix_bench.scoring.report.tokens import words

GOLDEN = Path(__file__).parents[1] / "golden" / "report_metrics"
PAIRS = [json.loads(line) for line in (GOLDEN / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
TEXTS = st.lists(
    st.sampled_from(["no", "effusion", ".", ",", "heart", "is", "the", "normal", "Large", "(", ")", "3.2"]), max_size=14
).map(" ".join)


def test_golden_pairs() -> None:
    ours = bleu([pair["hyp"] for pair in PAIRS], [pair["ref"] for pair in PAIRS], "unix")
    rouge = rouge_l([pair["hyp"] for pair in PAIRS], [pair["ref"] for pair in PAIRS])
    for row, f1, pair in zip(ours, rouge, PAIRS, strict=True):
        assert f1 == pytest.approx(pair["rougeL"]["f"], abs=1e-9)
        for order in range(1, 5):
            expected = pair["bleu"][f"BLEU{order}"] if pair["bleu"] else float("nan")
            assert row[order - 1] == pytest.approx(expected, abs=1e-9, nan_ok=True), pair["id"]


def test_golden_median_of_bootstrap_means() -> None:
    golden = json.loads((GOLDEN / "aggregate.json").read_text())
    kept = [pair for pair in PAIRS if pair["hyp"].strip() and pair["ref"].strip()]
    scores = rouge_l([pair["hyp"] for pair in kept], [pair["ref"] for pair in kept])
    assert scores.mean() == pytest.approx(golden["rougeL_mean"], abs=1e-9)
    assert bootstrap_median(scores) == pytest.approx(golden["rougeL_bootstrap"]["median"], abs=1e-9)


def test_median_of_bootstrap_means_against_the_library() -> None:
    scores = np.random.default_rng(3).random(57)
    aggregator = BootstrapAggregator(n_samples=500)
    for score in scores:
        aggregator.add_scores({"rougeL": Score(score, score, score)})
    np.random.seed(7)
    assert bootstrap_median(scores, seed=7) == pytest.approx(aggregator.aggregate()["rougeL"].mid.fmeasure, abs=1e-12)


def test_corpus_bleu_against_nltk() -> None:
    kept = [pair for pair in PAIRS if pair["hyp_tokens"] and pair["ref_tokens"]]
    counts = bleu_counts([pair["hyp"] for pair in kept], [pair["ref"] for pair in kept])
    theirs = nltk_corpus_bleu([[pair["ref_tokens"]] for pair in kept], [pair["hyp_tokens"] for pair in kept])
    assert corpus_bleu(counts.sum(axis=0)) == pytest.approx(theirs, abs=1e-12)
    halves = np.stack([counts[:50].sum(axis=0), counts[50:].sum(axis=0)])
    assert corpus_bleu(halves).tolist() == [float(corpus_bleu(half)) for half in halves]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_against_the_libraries(prediction: str, reference: str) -> None:
    hypothesis, expected = words(prediction), words(reference)
    smoothing = SmoothingFunction().method4
    for order in range(1, 5):
        weights = [1 / order] * order
        theirs = sentence_bleu([expected], hypothesis, weights, smoothing) if hypothesis and expected else 0.0
        assert bleu([prediction], [reference])[0, order - 1] == pytest.approx(theirs, abs=1e-12)
    theirs = RougeScorer(["rougeL"]).score(reference, prediction)["rougeL"].fmeasure
    assert rouge_l([prediction], [reference])[0] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("metric", [bleu, rouge_l])
def test_lists_must_match(metric: object) -> None:
    assert len(metric([], [])) == 0
    with pytest.raises(ValueError, match="1 predictions but 2 references"):
        metric(["a"], ["a", "b"])
