"""Test pairs as the packed batches that training losses are defined on, laid out as the public training code does.

To read:  start, patches, end (all at position 0, all seeing all), question, [bos] + report + [eos]; causal.
To draw:  prompt, causal; then start, latents, end (all at the position after it), seeing the prompt and each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.flow import latent_places
from unix_bench.models.unix.losses import TrainBatch


def pack_reports(
    config: UniXConfig, pixels: Sequence[Tensor], questions: Sequence[Sequence[int]], reports: Sequence[Sequence[int]]
) -> TrainBatch:
    """Samples of which the report's words and its end are asked for.

    Args:
        config: Of the model.
        pixels: What is read, [3, H, W] each, normalised, all on one device.
        questions: Whole text segments, each with its bos and eos.
        reports: Words alone.

    Raises:
        ValueError: A question and its report are longer together than the model's texts may be.
    """
    special, patches, device = config.special_tokens, config.vision.num_patches, pixels[0].device
    image = patches + 2
    ids: list[int] = []
    labels: list[int] = []
    at: dict[str, list[Tensor]] = {"text": [], "patches": [], "labels": [], "positions": []}
    masks, start = [], 0
    for question, report in zip(questions, reports, strict=True):
        text = [*question, special.bos_token_id, *report, special.eos_token_id]
        _check_length(config, text)
        ids += [special.start_of_image, special.end_of_image, *text]
        labels += [*report, special.eos_token_id]
        first, end = start + image, start + image + len(text)
        at["text"] += [torch.tensor([start, first - 1]), torch.arange(first, end)]
        at["patches"].append(torch.arange(start + 1, first - 1))
        at["labels"].append(torch.arange(end - len(report) - 2, end - 1))  # each word is asked for one token before it
        at["positions"] += [torch.zeros(image, dtype=torch.int64), torch.arange(1, len(text) + 1)]
        masks.append(_mask(image + len(text), slice(0, image), device))
        start = end
    places = {name: torch.cat(each).to(device) for name, each in at.items()}
    return TrainBatch(
        packed_position_ids=places["positions"],
        packed_text_ids=torch.tensor(ids, device=device),
        packed_text_indexes=places["text"],
        nested_attention_masks=masks,
        packed_vit_images=list(pixels),
        packed_vit_token_indexes=places["patches"],
        ce_loss_indexes=places["labels"],
        packed_label_ids=torch.tensor(labels, device=device),
    )


def pack_images(
    config: UniXConfig,
    prompts: Sequence[Sequence[int]],
    latents: Sequence[Tensor],
    noise: Sequence[Tensor],
    times: Sequence[float],
) -> TrainBatch:
    """Samples of which the velocity at one time each is asked for; use them with a timestep shift of 1.

    Args:
        config: Of the model.
        prompts: Whole text segments, each with its bos and eos.
        latents: Of the images, scaled, [z, rows, columns] each, float32, all on one device.
        noise: [rows * columns, z] each.
        times: In (0, 1], 1 being noise alone.

    Raises:
        ValueError: A prompt is longer than the model's texts may be.
    """
    special, device = config.special_tokens, latents[0].device
    shapes = [(one.shape[1], one.shape[2]) for one in latents]
    height, width = (max(sides) for sides in zip(*shapes, strict=True))
    ids: list[int] = []
    at: dict[str, list[Tensor]] = {"text": [], "latents": [], "positions": []}
    masks, start = [], 0
    for prompt, (rows, columns) in zip(prompts, shapes, strict=True):
        _check_length(config, prompt)
        ids += [*prompt, special.start_of_image, special.end_of_image]
        border, end = start + len(prompt), start + len(prompt) + rows * columns + 2
        at["text"] += [torch.arange(start, border + 1), torch.tensor([end - 1])]
        at["latents"].append(torch.arange(border + 1, end - 1))
        at["positions"] += [torch.arange(len(prompt)), torch.full((rows * columns + 2,), len(prompt))]
        masks.append(_mask(end - start, slice(len(prompt), end - start), device))
        start = end
    places = {name: torch.cat(each).to(device) for name, each in at.items()}
    counts = torch.tensor([rows * columns for rows, columns in shapes])
    return TrainBatch(
        packed_position_ids=places["positions"],
        packed_text_ids=torch.tensor(ids, device=device),
        packed_text_indexes=places["text"],
        nested_attention_masks=masks,
        padded_latent=torch.stack(
            [
                torch.nn.functional.pad(one, (0, width - columns, 0, height - rows))
                for one, (rows, columns) in zip(latents, shapes, strict=True)
            ]
        ),
        patchified_vae_latent_shapes=shapes,
        packed_latent_position_ids=torch.cat(
            [latent_places(rows, columns, config.max_latent_size, device) for rows, columns in shapes]
        ),
        packed_vae_token_indexes=places["latents"],
        packed_timesteps=torch.logit(torch.tensor(times)).repeat_interleave(counts).to(device),
        mse_loss_indexes=places["latents"],
        noise=torch.cat(list(noise)).to(device),
    )


def _check_length(config: UniXConfig, text: Sequence[int]) -> None:
    if len(text) > config.language.max_position_embeddings:
        raise ValueError(f"a text is longer than {config.language.max_position_embeddings} tokens")


def _mask(tokens: int, image: slice, device: torch.device) -> Tensor:
    """What is added to a sample's scores, [tokens, tokens]: causal, but the rows of an image see each other."""
    seen = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
    seen[image, image] = True
    return torch.zeros(tokens, tokens, device=device).masked_fill(~seen, float("-inf"))
