"""Choosing the next token: greedily, or drawn from a seed of each answer's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from unix_bench.models.vlm.settings import ReportSettings


def choices(settings: ReportSettings, seeds: Sequence[int], attended: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """What is done to the scores of each step, in order, before the best is taken.

    Args:
        settings: How to decode.
        seeds: Of the requests, one a row.
        attended: [n, longest], 0 where a question is padded.
    """
    steps: list[Callable[[Tensor, Tensor], Tensor]] = [finite]
    if settings.repetition_penalty != 1:
        steps.append(Repetition(settings.repetition_penalty, attended))
    if settings.temperature == 0:
        return _in_order(steps)
    steps.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        steps.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        steps.append(TopPLogitsWarper(settings.top_p))
    steps.append(Drawn(seeds))
    return _in_order(steps)


def _in_order(steps: list[Callable[[Tensor, Tensor], Tensor]]) -> Callable[[Tensor, Tensor], Tensor]:
    made: Callable[[Tensor, Tensor], Tensor] = LogitsProcessorList(steps)
    return made


def finite(tokens: Tensor, scores: Tensor) -> Tensor:
    """The scores as they are.

    Raises:
        ValueError: One is NaN, and the greatest of them would mean nothing.
    """
    if scores.isnan().any():
        raise ValueError("the scores of the next token are NaN: the weights are damaged, or the dtype is too narrow")
    return scores


class Repetition:
    """Makes tokens less likely that were there before, in the question or in the answer.

    As transformers does it, but for what a question is padded with, which would make an answer depend on its batch.
    """

    def __init__(self, penalty: float, attended: Tensor) -> None:
        self._penalty, self._attended = penalty, attended

    def __call__(self, tokens: Tensor, scores: Tensor) -> Tensor:
        """Scores [n, vocabulary]; of a token that was there, divided by the penalty, or multiplied below 0."""
        new = tokens.shape[1] - self._attended.shape[1]
        counts = nn.functional.pad(self._attended, (0, new), value=1).to(scores.dtype)
        there = torch.zeros_like(scores).scatter_add_(1, tokens, counts) > 0
        penalised = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(there, penalised, scores)


class Drawn:
    """Leaves one token a row, drawn by its probability; transformers' own drawing has one generator for the batch.

    Each row has a generator on the CPU, and one number of it a step picks the token whose slice of [0, 1) it falls
    into: so an answer depends on its seed and its scores, not on the batch or the device.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, tokens: Tensor, scores: Tensor) -> Tensor:
        """Scores [n, vocabulary] of which all but the drawn token's are minus infinity."""
        draws = [torch.rand(1, generator=generator, dtype=torch.float64) for generator in self._generators]
        until = scores.double().cpu().softmax(dim=-1).cumsum(dim=-1)
        drawn = torch.searchsorted(until, torch.stack(draws) * until[:, -1:], right=True)
        drawn = drawn.clamp(max=scores.shape[1] - 1)  # a draw that rounding took to the very end
        return torch.full_like(scores, float("-inf")).scatter_(1, drawn.to(scores.device), 0.0)
