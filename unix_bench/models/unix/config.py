"""Sizes of a UniX model, as its directory states them; what is absent has the released value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from unix_bench.errors import UserError

ROPE_THETA = 10_000.0  # the reference never reads rope_theta or rms_norm_eps from config.json
RMS_NORM_EPS = 1e-6
VISION_NORM_EPS = 1e-6


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class LanguageConfig(_Section):
    """The mixture-of-transformers decoder (both branches have the same sizes)."""

    hidden_size: int = Field(2048, gt=0)
    intermediate_size: int = Field(5632, gt=0)
    num_hidden_layers: int = Field(24, gt=0)
    num_attention_heads: int = Field(16, gt=0)
    num_key_value_heads: int = Field(16, gt=0)
    vocab_size: int = Field(102_400, gt=0)
    max_position_embeddings: int = Field(16_384, gt=0)

    @model_validator(mode="after")
    def _divisible(self) -> LanguageConfig:
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not an even multiple of num_attention_heads")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads is not a multiple of num_key_value_heads")
        return self

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


class VisionConfig(_Section):
    """The SigLIP vision tower."""

    image_size: int = Field(384, gt=0)
    patch_size: int = Field(16, gt=0)
    hidden_size: int = Field(1024, gt=0)
    num_hidden_layers: int = Field(24, gt=0)
    num_attention_heads: int = Field(16, gt=0)
    intermediate_size: int = Field(4096, gt=0)

    @model_validator(mode="after")
    def _divisible(self) -> VisionConfig:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads")
        return self

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


class AutoencoderConfig(_Section):
    """CompVis `ddconfig` of the KL-f16 autoencoder."""

    z_channels: int = Field(16, gt=0)
    resolution: int = Field(256, gt=0)
    in_channels: int = Field(3, gt=0)
    out_ch: int = Field(3, gt=0)
    ch: int = Field(128, gt=0)
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = Field(2, gt=0)
    attn_resolutions: tuple[int, ...] = (16,)

    @model_validator(mode="after")
    def _divisible(self) -> AutoencoderConfig:
        if any(self.ch * factor % 32 for factor in self.ch_mult):
            raise ValueError(f"ch {self.ch} times ch_mult is not a multiple of 32, the number of norm groups")
        return self

    @property
    def stride(self) -> int:
        """Pixels along each side of one latent."""
        return int(2 ** (len(self.ch_mult) - 1))


class VAEConfig(_Section):
    """The autoencoder and the affine map of its latents."""

    ddconfig: AutoencoderConfig = AutoencoderConfig()
    embed_dim: int = Field(16, gt=0)
    scale_factor: float = 0.238092
    shift_factor: float = -0.201906

    @model_validator(mode="after")
    def _supported(self) -> VAEConfig:
        if self.embed_dim != self.ddconfig.z_channels:
            raise ValueError(f"embed_dim {self.embed_dim} differs from z_channels {self.ddconfig.z_channels}")
        return self


class SpecialTokens(_Section):
    """Ids that frame texts and images in the token stream."""

    bos_token_id: int = 100_000
    eos_token_id: int = 100_001
    start_of_image: int = 100_003
    end_of_image: int = 100_580


class UniXConfig(_Section):
    """All sizes of one UniX model.

    >>> UniXConfig().language.head_dim
    128
    """

    language: LanguageConfig = Field(
        LanguageConfig(), validation_alias=AliasChoices("language_config", "llm_config", "language")
    )
    vision: VisionConfig = Field(VisionConfig(), validation_alias=AliasChoices("vit_config", "vision"))
    vae: VAEConfig = Field(VAEConfig(), validation_alias=AliasChoices("vae_config", "vae"))
    special_tokens: SpecialTokens = SpecialTokens()
    max_latent_size: int = Field(32, gt=0)

    @model_validator(mode="after")
    def _tokens_in_vocabulary(self) -> UniXConfig:
        for name, token in self.special_tokens.model_dump().items():
            if not 0 <= token < self.language.vocab_size:
                raise ValueError(f"special token {name} = {token} lies outside the vocabulary")
        return self

    @classmethod
    def from_directory(cls, directory: Path) -> UniXConfig:
        """Read `config.json` and, for a VAE it does not describe, `vae/config.yaml`; both may be absent.

        Raises:
            UserError: A file is not readable as JSON / YAML, or states impossible sizes.
        """
        path = directory / "config.json"
        stated: dict[str, Any] = {}
        try:
            if path.is_file():
                stated = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(stated, dict):
                raise ValueError("it does not hold a JSON object")
            yaml_path = directory / "vae" / "config.yaml"
            if "vae_config" not in stated and yaml_path.is_file():
                path = yaml_path
                stated["vae_config"] = _vae_section(yaml.safe_load(yaml_path.read_text(encoding="utf-8")))
            return cls.model_validate(stated)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: {where or 'config'}: {first['msg']}") from error
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise UserError(f"{path} is not a valid configuration file: {error}") from error

    def to_json(self, **extra: Any) -> str:
        """The text of a `config.json` that `from_directory` reads back, with further top-level keys."""
        sections = {
            "language_config": self.language.model_dump(),
            "vit_config": self.vision.model_dump(),
            "vae_config": self.vae.model_dump(),
            "special_tokens": self.special_tokens.model_dump(),
            "max_latent_size": self.max_latent_size,
        }
        return json.dumps({**sections, **extra}, indent=2) + "\n"


def _vae_section(document: Any) -> dict[str, Any]:
    """`model.params` of a CompVis config.yaml."""
    try:
        params = document["model"]["params"]
        return {key: params[key] for key in ("ddconfig", "embed_dim") if key in params}
    except (KeyError, TypeError) as error:
        raise ValueError("it has no model.params section") from error
