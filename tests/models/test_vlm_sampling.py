"""Drawing tokens: the right probabilities, from a seed of each row's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from scipy.stats import chisquare

from unix_bench import registry
from unix_bench.models.vlm.sampling import Drawn, Repetition, choices
from unix_bench.models.vlm.settings import ReportSettings

SCORES = torch.tensor([[2.0, 1.0, 0.5, -1.0, float("-inf"), 0.0]])
STATED = registry.model("medgemma-4b").settings["report"]
TOKENS = torch.zeros(1, 3, dtype=torch.long)


def settings(**changes: Any) -> ReportSettings:
    return ReportSettings(**{**STATED, **changes})


def chosen(made: ReportSettings, seeds: list[int], scores: torch.Tensor, tokens: torch.Tensor = TOKENS) -> list[int]:
    tokens, scores = tokens.expand(len(seeds), -1), scores.expand(len(seeds), -1)
    return choices(made, seeds, torch.ones_like(tokens))(tokens, scores).argmax(-1).tolist()


def filtered(temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    """What is left of the probabilities, by the definitions of both filters."""
    found = (SCORES[0].double() / temperature).softmax(0)
    order = found.argsort(descending=True)
    if top_k:
        found[order[top_k:]] = 0
        found = found / found.sum()
    before = found[order].cumsum(0) - found[order]
    found[order[before >= top_p]] = 0
    return found / found.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 3, 1.0), (1.5, 0, 0.8), (2.0, 4, 0.9)]
)
def test_frequencies_are_the_probabilities(temperature: float, top_k: int, top_p: float) -> None:
    made = settings(temperature=temperature, top_k=top_k, top_p=top_p)
    drawn = chosen(made, list(range(4000)), SCORES)
    counts = torch.bincount(torch.tensor(drawn), minlength=6)
    expected = filtered(temperature, top_k, top_p)
    assert counts[expected == 0].sum() == 0
    left = expected > 0
    assert chisquare(counts[left].numpy(), 4000 * expected[left].numpy()).pvalue > 1e-3


def test_a_row_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    steps = torch.randn(12, 8, 50)

    def walk(rows: list[int], seed: int) -> list[list[int]]:
        step = choices(settings(temperature=1.0), [8 * seed + row for row in rows], torch.ones(8, 3))
        walked = [step(TOKENS.expand(len(rows), -1), one[rows]).argmax(-1).tolist() for one in steps]
        return [list(row) for row in zip(*walked, strict=True)]

    together = walk(list(range(8)), 0)
    assert [walk([row], 0)[0] for row in range(8)] == together
    assert walk([5, 2], 0) == [together[5], together[2]]
    assert walk(list(range(8)), 1) != together
    assert len({tuple(row) for row in together}) == 8


def test_greedy_takes_the_best_and_never_nan() -> None:
    assert chosen(settings(), [0], SCORES) == [0]
    assert chosen(settings(repetition_penalty=5.0), [0], SCORES) == [1]  # 0 was there before
    with pytest.raises(ValueError, match="are NaN"):
        chosen(settings(), [0], SCORES * float("nan"))


def test_repetition_is_that_of_transformers_but_for_the_padding() -> None:
    torch.manual_seed(2)
    tokens, scores = torch.randint(0, 30, (4, 9)), torch.randn(4, 30)
    theirs = hf.RepetitionPenaltyLogitsProcessor(1.7)(tokens, scores.clone())
    assert torch.equal(Repetition(1.7, torch.ones(4, 5))(tokens, scores), theirs)  # four of nine are new
    padded = torch.cat([torch.full((4, 2), 29), tokens], dim=1)
    mask = torch.cat([torch.zeros(4, 2), torch.ones(4, 5)], dim=1)
    assert torch.equal(Repetition(1.7, mask)(padded, scores), theirs)


def test_a_draw_at_the_end_stays_in_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: torch.ones(1, dtype=torch.float64))
    assert Drawn([0])(TOKENS, torch.zeros(1, 4)).argmax(-1).tolist() == [3]
