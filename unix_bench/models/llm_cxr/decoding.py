"""Prompts and what GPT-NeoX says after them, token by token with its cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unix_bench.models.llm_cxr.sampling import Sampling, choose


def continue_prompts(
    model: Any,
    prompts: Sequence[Sequence[int]],
    how: Sampling,
    generators: Sequence[torch.Generator],
    max_new_tokens: int,
    end: int,
) -> list[list[int]]:
    """What the model says after each prompt, without the end.

    Prompts of different lengths are padded on the left; padding is masked, and positions are counted without it.
    What is computed for a prompt is then the same but for rounding, which follows the shape of the batch: with one
    prompt a call, it is the same to the last bit whatever else is to be done.

    Args:
        model: transformers' GPTNeoXForCausalLM.
        prompts: Token ids, one or more each.
        how: Of choosing tokens.
        generators: One a prompt, on the CPU; each goes on from where it stands.
        max_new_tokens: At most so many.
        end: The token after which nothing follows.

    Raises:
        ValueError: A prompt and its answer are longer than what the model has positions for, or its scores are NaN.
    """
    longest, limit = max(map(len, prompts)), model.config.max_position_embeddings
    if longest + max_new_tokens > limit:
        raise ValueError(
            f"a prompt of {longest} tokens and an answer of {max_new_tokens} are more than the model's {limit}"
        )
    answers: list[list[int]] = [[] for _ in prompts]
    talking = [True] * len(prompts)
    ids, mask = _left_padded(prompts, end)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = None
    for _ in range(max_new_tokens):
        told = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = told.past_key_values
        scores = told.logits[:, -1].float().cpu()  # [n, vocabulary]
        for row in range(len(prompts)):
            if talking[row]:
                token = choose(scores[row], how, generators[row])
                talking[row] = token != end
                answers[row] += [token] if talking[row] else []
        if not any(talking):
            break
        said = [answer[-1] if more else end for answer, more in zip(answers, talking, strict=True)]
        ids = torch.tensor(said)[:, None]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        positions = positions[:, -1:] + 1
    return answers


def _left_padded(prompts: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, both [n, longest]; which token stands for padding makes no difference."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), padding)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return ids, mask
