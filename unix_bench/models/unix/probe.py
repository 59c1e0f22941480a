"""What reports and images of test pairs cost a UniX: training's own losses, one value a sample, nothing sampled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from unix_bench.models.unix.losses import losses_of_samples
from unix_bench.models.unix.model import UniX
from unix_bench.models.unix.packing import pack_images, pack_reports
from unix_bench.models.unix.preprocess import prepare_image, prepare_target


@torch.inference_mode()
def report_losses(
    model: UniX, images: Sequence[Image.Image], instructions: Sequence[str], reports: Sequence[str]
) -> list[Tensor]:
    """Cross entropy of each token of each report, teacher-forced, its eos among them: n of float32 [tokens], in nats.

    Args:
        model: With a tokenizer.
        images: n, any Pillow mode.
        instructions: Encoded as for writing.
        reports: Encoded without the tokenizer's own special tokens, as training does.

    Raises:
        ValueError: A text is too long for the model.
    """
    pixels = [prepare_image(image, model.config.vision.image_size).to(model.device) for image in images]
    words = [model.tokenizer.encode(report, add_special_tokens=False) for report in reports]
    batch = pack_reports(model.config, pixels, [model.text_segment(text) for text in instructions], words)
    assert batch.ce_loss_indexes is not None
    return losses_of_samples(batch, model.losses(batch)["ce"], batch.ce_loss_indexes)


@torch.inference_mode()
def flow_losses(
    model: UniX,
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    seeds: Sequence[int],
    size: int,
    times: Sequence[float],
) -> Tensor:
    """Mean squared error of the velocity of each image at each time, float32 [n, times].

    Args:
        model: With a tokenizer.
        images: n, any Pillow mode.
        prompts: Encoded as for drawing.
        seeds: Of a CPU generator each, which draws an image's noise, for one time after the other.
        size: Longer side of the images in pixels.
        times: In (0, 1], 1 being noise alone.

    Raises:
        ValueError: A prompt is too long for the model.
    """
    segments = [model.text_segment(prompt) for prompt in prompts]
    latents = [_latent(model, image, size) for image in images]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    columns = []
    for time in times:
        noise = [
            torch.randn(one[0].numel(), one.shape[0], generator=generator)
            for one, generator in zip(latents, generators, strict=True)
        ]
        batch = pack_images(model.config, segments, latents, noise, [time] * len(latents))
        assert batch.mse_loss_indexes is not None
        found = losses_of_samples(batch, model.losses(batch)["mse"], batch.mse_loss_indexes)
        columns.append(torch.stack([one.mean() for one in found]))
    return torch.stack(columns, dim=1)


def _latent(model: UniX, image: Image.Image, size: int) -> Tensor:
    """The image as the VAE encodes it, alone, whatever its batch: float32 [z, rows, columns]."""
    pixels = prepare_target(image, size, model.config.vae.ddconfig.stride)
    latent: Tensor = model.vae.encode(pixels[None].to(model.device, model.dtype))[0].float()
    return latent
