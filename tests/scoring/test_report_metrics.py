"""BLEU and ROUGE-L against golden values, nltk and rouge-score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer

from unix_bench.scoring.report import bleu, rouge_l
from unix_bench.scoring.report.tokens import words

GOLDEN = Path(__file__).parents[1] / "golden" / "report_metrics"
PAIRS = [json.loads(line) for line in (GOLDEN / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
TEXTS = st.lists(
    st.sampled_from(["no", "effusion", ".", ",", "heart", "is", "the", "normal", "Large", "(", ")", "3.2"]), max_size=14
).map(" ".join)


def test_tokens_are_those_of_nltk_3_9_2() -> None:
    for pair in PAIRS:
        for side in ("hyp", "ref"):
            if pair[f"{side}_tokens"] is not None:
                assert words(pair[side]) == pair[f"{side}_tokens"]


def test_golden_pairs() -> None:
    ours = bleu([pair["hyp"] for pair in PAIRS], [pair["ref"] for pair in PAIRS])
    rouge = rouge_l([pair["hyp"] for pair in PAIRS], [pair["ref"] for pair in PAIRS])
    for row, f1, pair in zip(ours, rouge, PAIRS, strict=True):
        assert f1 == pytest.approx(pair["rougeL"]["f"], abs=1e-9)
        for order in (1, 2, 4):  # the golden BLEU-3 has weights of 0.33, ours of 1/3
            expected = pair["bleu"][f"BLEU{order}"] if pair["bleu"] else 0.0
            assert row[order - 1] == pytest.approx(expected, abs=1e-9), pair["id"]


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
