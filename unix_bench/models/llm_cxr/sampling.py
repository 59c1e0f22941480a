"""How the next token is chosen. Plain arithmetic on the CPU: a token's own scores and random number decide it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Rules of the choice, applied in this order.

    Attributes:
        do_sample: False: the best token, and nothing below counts.
        temperature: Scores are divided by it.
        top_k: Only so many of the best are left; 0: all.
        top_p: Of these, the fewest whose probabilities sum to it.
    """

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float


def candidates(scores: Tensor, how: Sampling) -> tuple[Tensor, Tensor]:
    """Tokens that may be drawn, the likeliest first; of equals the one of the lower number.

    Args:
        scores: float32 [vocabulary].
        how: What is left of them.

    Returns:
        float64 [k], not normalised, and the tokens' numbers [k]; k is at least 1.
    """
    ordered, tokens = (scores / how.temperature).sort(descending=True, stable=True)
    if how.top_k:
        ordered, tokens = ordered[: how.top_k], tokens[: how.top_k]
    chances = ordered.softmax(dim=0).double()
    if how.top_p == 1.0:  # rounding can bring the sum to 1 before the last
        return chances, tokens
    before = chances.cumsum(dim=0) - chances
    left = int((before < how.top_p).sum())
    return chances[:left], tokens[:left]


def choose(scores: Tensor, how: Sampling, generator: torch.Generator) -> int:
    """The next token.

    Args:
        scores: The model's, float32 [vocabulary], on the CPU.
        how: Rules of the choice.
        generator: On the CPU; gives one number where a token is sampled, and none otherwise.

    Raises:
        ValueError: A score is NaN or Inf.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("the model's scores are NaN or Inf")
    if not how.do_sample:
        return int(scores.argmax())
    chances, tokens = candidates(scores, how)
    sums = chances.cumsum(dim=0)
    drawn = torch.rand((), generator=generator, dtype=torch.float64) * sums[-1]
    place = int(torch.searchsorted(sums, drawn, right=True))
    return int(tokens[min(place, len(tokens) - 1)])
