"""Training losses of packed batches: next word, flow matching, representation alignment (arXiv 2601.11522, 3.4).

A batch packs samples of text, read images and drawn images into one sequence; each sample sees itself alone, as its
mask says. Fields are named as the public training code names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unix_bench.models.unix.parts import Parts


@dataclass(frozen=True)
class TrainBatch:
    """One packed batch; indexes and positions count tokens of the whole sequence.

    Attributes:
        packed_position_ids: Rotary position of every token, [tokens].
        packed_text_ids: Text tokens, the borders of images among them, [text].
        packed_text_indexes: Where they stand, [text].
        nested_attention_masks: One a sample, added to the scores: 0 or -inf, [own tokens, own tokens].
        packed_vit_images: Images to read, normalised, [3, H, W] each.
        packed_vit_token_indexes: Where their patches stand, [images * patches].
        padded_latent: VAE latents of images to draw, scaled, [images, z, rows, columns]; smaller ones padded.
        patchified_vae_latent_shapes: (rows, columns) of each without padding; None: none is padded.
        packed_latent_position_ids: Index of each latent in the positional table, [latents].
        packed_vae_token_indexes: Where the latents stand, [latents].
        packed_timesteps: Of each latent, before the sigmoid; -inf marks a clean image, [latents].
        mse_loss_indexes: Where a velocity is asked for: the latents that are not clean.
        ce_loss_indexes: Where a next word is asked for, [labels].
        packed_label_ids: The words, [labels].
        noise: Noise of each latent, [latents, z]; drawn if None.
        encoder_features: Features the drawn images are aligned with, [images, patches, dim].
        original_images: The drawn images' pixels, which `encoder_features` are computed from.
        packed_vit_position_ids: Carried by the public format; the reference never uses them.
        vit_token_seqlens: Patches of each read image; always the vision tower's own number.
    """

    packed_position_ids: Tensor
    packed_text_ids: Tensor
    packed_text_indexes: Tensor
    nested_attention_masks: Sequence[Tensor]
    packed_vit_images: Sequence[Tensor] = ()
    packed_vit_token_indexes: Tensor | None = None
    padded_latent: Tensor | None = None
    patchified_vae_latent_shapes: Sequence[tuple[int, int]] | None = None
    packed_latent_position_ids: Tensor | None = None
    packed_vae_token_indexes: Tensor | None = None
    packed_timesteps: Tensor | None = None
    mse_loss_indexes: Tensor | None = None
    ce_loss_indexes: Tensor | None = None
    packed_label_ids: Tensor | None = None
    noise: Tensor | None = None
    encoder_features: Tensor | None = None
    original_images: Tensor | None = None
    packed_vit_position_ids: Tensor | None = None
    vit_token_seqlens: Tensor | None = None


@dataclass(frozen=True)
class Alignment:
    """REPA (Yu et al., arXiv 2410.06940): the latents after layer `depth`, counted from 0, seen through `projector`."""

    projector: nn.Module
    depth: int


def packed_losses(
    model: Parts, batch: TrainBatch, timestep_shift: float, alignment: Alignment | None
) -> dict[str, Tensor]:
    """Unreduced losses of a batch; see `UniX.losses`."""
    und_at, und = _understanding_rows(model, batch)
    gen_at, gen, target = _generation_rows(model, batch, timestep_shift)
    order = torch.cat([und_at, gen_at])
    mask = torch.block_diag(*(sample.isfinite() for sample in batch.nested_attention_masks))[order][:, order]
    language, positions = model.language, batch.packed_position_ids
    und_rotary = language.rotary(positions[und_at][None], und.dtype)
    gen_rotary = language.rotary(positions[gen_at][None], gen.dtype)
    found: dict[str, Tensor] = {}
    for index in range(model.config.language.num_hidden_layers):
        und, gen = language.joint_layer(index, und, gen, und_rotary, gen_rotary, mask)
        if alignment is not None and index == alignment.depth and batch.encoder_features is not None:
            found["repa"] = alignment_loss(alignment.projector(gen[0]), batch.encoder_features)
    if batch.ce_loss_indexes is not None and batch.packed_label_ids is not None:
        rows = language.understanding_norm(und)[0, _rows_at(und_at, batch.ce_loss_indexes)]
        found["ce"] = F.cross_entropy(model.logits(rows).float(), batch.packed_label_ids, reduction="none")
    if batch.mse_loss_indexes is not None and target is not None:
        rows = _rows_at(gen_at, batch.mse_loss_indexes)
        velocity = model.latent_out(language.generation_norm(gen)[0, rows])
        found["mse"] = (velocity.float() - target[rows]) ** 2
    return found


def losses_of_samples(batch: TrainBatch, loss: Tensor, at: Tensor) -> list[Tensor]:
    """The unreduced loss of each sample of a batch, in order; empty for one of which nothing is asked.

    Args:
        batch: What the loss is of.
        loss: "ce" [labels] or "mse" [latents, z], as `packed_losses` gives it.
        at: Where in the sequence its rows stand, ascending: `ce_loss_indexes` or `mse_loss_indexes`.
    """
    ends = torch.tensor([len(mask) for mask in batch.nested_attention_masks], device=at.device).cumsum(0)
    counts = torch.searchsorted(at, ends).diff(prepend=ends.new_zeros(1))
    return list(loss.split(counts.tolist()))


def _understanding_rows(model: Parts, batch: TrainBatch) -> tuple[Tensor, Tensor]:
    """Where the rows of text and read images stand, and their embeddings, [1, rows, width]."""
    at, rows = [batch.packed_text_indexes], [model.language.embed_tokens(batch.packed_text_ids)]
    if batch.packed_vit_token_indexes is not None:
        patches = model.vision(torch.stack(list(batch.packed_vit_images)).to(model.dtype)).last_hidden_state
        at.append(batch.packed_vit_token_indexes)
        rows.append(model.connector(patches).flatten(0, 1))
    return torch.cat(at), torch.cat(rows)[None]


def _generation_rows(model: Parts, batch: TrainBatch, shift: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Where the latents stand, their embeddings with noise, [1, rows, width], and the velocity they should show."""
    if (
        batch.padded_latent is None
        or batch.packed_timesteps is None
        or batch.packed_vae_token_indexes is None
        or batch.packed_latent_position_ids is None
    ):
        nowhere = torch.empty(0, dtype=torch.int64, device=model.device)
        return (
            nowhere,
            torch.empty(1, 0, model.config.language.hidden_size, device=model.device, dtype=model.dtype),
            None,
        )
    count, _, height, width = batch.padded_latent.shape
    shapes = batch.patchified_vae_latent_shapes or [(height, width)] * count
    clean = torch.cat(
        [latent[:, :h, :w].flatten(1).T for latent, (h, w) in zip(batch.padded_latent, shapes, strict=True)]
    )
    noise = torch.randn_like(clean) if batch.noise is None else batch.noise
    t = torch.sigmoid(batch.packed_timesteps)
    t = (shift * t / (1.0 + (shift - 1.0) * t))[:, None]
    mixed = (1.0 - t) * clean + t * noise
    places = model.latent_positions[batch.packed_latent_position_ids]
    rows = model.latent_in(mixed.to(model.dtype)) + model.time_embedder(t[:, 0]) + places
    return batch.packed_vae_token_indexes, rows[None], noise - clean


def _rows_at(standing: Tensor, wanted: Tensor) -> Tensor:
    """Which of our rows, standing at `standing` in the sequence, stand at `wanted`."""
    order = standing.argsort()
    return order[torch.searchsorted(standing[order], wanted)]


def alignment_loss(projected: Tensor, features: Tensor) -> Tensor:
    """Mean of -cosine between projected latents [images * tokens, dim] and features [images, patches, dim].

    All images have the same number of latents. Where there are more or fewer patches, the normalised latents are
    interpolated along the tokens and not normalised again. The reference divides by the number of images twice.
    """
    images = features.shape[0]
    mine = F.normalize(projected.unflatten(0, (images, -1)), dim=-1)
    theirs = F.normalize(features, dim=-1)
    if mine.shape[1] != theirs.shape[1]:
        resized = F.interpolate(mine.transpose(1, 2), size=theirs.shape[1], mode="linear", align_corners=False)
        mine = resized.transpose(1, 2)
    return -(mine * theirs).sum(dim=-1).mean() / images
