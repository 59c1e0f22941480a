"""What a UniX model is made of: its modules under the names that checkpoints and losses know them by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.flow import TimeEmbedder, position_table
from unix_bench.models.unix.language import MixtureOfTransformers
from unix_bench.models.unix.vae import VAE
from unix_bench.models.unix.vision import Connector, build_vision_tower

BORDER = 2  # tokens around an image: its start and its end


class Parts(nn.Module):
    """Every module, and no walk through them."""

    def __init__(self, config: UniXConfig, rotary_bf16: bool = False) -> None:
        super().__init__()
        width, z = config.language.hidden_size, config.vae.ddconfig.z_channels
        self.config = config
        self.language = MixtureOfTransformers(config.language, rotary_bf16)
        self.vision = build_vision_tower(config.vision)
        self.connector = Connector(config.vision.hidden_size, width)
        self.time_embedder = TimeEmbedder(width)
        self.latent_in = nn.Linear(z, width)
        self.latent_out = nn.Linear(width, z)
        self.latent_positions = nn.Parameter(position_table(width, config.max_latent_size), requires_grad=False)
        self.vae = VAE(config.vae)

    @property
    def dtype(self) -> torch.dtype:
        return self.latent_in.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.latent_in.weight.device

    def border(self) -> Tensor:
        """Embeddings of the start and the end of an image, [1, 2, width]."""
        tokens = self.config.special_tokens
        ids = torch.tensor([[tokens.start_of_image, tokens.end_of_image]], device=self.device)
        embedded: Tensor = self.language.embed_tokens(ids)
        return embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, [..., vocabulary], from final hidden states."""
        scores: Tensor = self.language.lm_head(hidden)
        return scores
