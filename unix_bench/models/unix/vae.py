"""The KL-f16 autoencoder: diffusers' `AutoencoderKL` (the same numbers to rounding) with UniX's map of latents."""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from unix_bench.models.unix.config import VAEConfig


class VAE(nn.Module):
    """Images in [-1, 1] to scaled latents and back.

    Latents are scaled as the decoder saw them in training: z = scale * (mean - shift).
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        dd = config.ddconfig
        # CompVis gives a level attention by its nominal resolution, whatever the size of the image at hand.
        attends = [dd.resolution // 2**level in dd.attn_resolutions for level in range(len(dd.ch_mult))]
        self.network = AutoencoderKL(
            in_channels=dd.in_channels,
            out_channels=dd.out_ch,
            latent_channels=dd.z_channels,
            block_out_channels=[dd.ch * factor for factor in dd.ch_mult],
            layers_per_block=dd.num_res_blocks,
            down_block_types=["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attends],
            up_block_types=["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(attends)],
            sample_size=dd.resolution,
            norm_num_groups=32,
        )
        # Faster, and kept by casts, moves and loading.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Tensor) -> Tensor:
        """The mode of the posterior, scaled: [n, 3, H, W] in [-1, 1] -> [n, z, H/stride, W/stride]."""
        mean: Tensor = self.network.encode(images).latent_dist.mode()
        return self.config.scale_factor * (mean - self.config.shift_factor)

    def decode(self, latents: Tensor) -> Tensor:
        """Images before any clamp: scaled latents [n, z, h, w] -> [n, 3, stride h, stride w], about [-1, 1]."""
        images: Tensor = self.network.decode(latents / self.config.scale_factor + self.config.shift_factor).sample
        return images
