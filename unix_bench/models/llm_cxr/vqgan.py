"""The VQ-GAN (arXiv 2012.09841): an image becomes a grid of codes, and codes become an image.

pixels --encoder--> --quant_conv--> vectors --nearest of the codebook--> codes
codes  --codebook-> --post_quant_conv--> --decoder--> pixels

Modules are named as the tensors of a taming-transformers checkpoint are, so that it loads without a map of names.
"""

from __future__ import annotations

from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32  # of every norm, so that all widths are multiples of it
NORM_EPS = 1e-6


class NetworkConfig(BaseModel):
    """`ddconfig`: sizes of encoder and decoder. Dropout, and whatever else training alone reads, is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    z_channels: int = Field(gt=0)
    resolution: int = Field(gt=0)
    in_channels: int = Field(ge=3, le=3)
    out_ch: int = Field(ge=3, le=3)
    ch: int = Field(gt=0)
    ch_mult: list[int] = Field(min_length=1)
    num_res_blocks: int = Field(gt=0)
    attn_resolutions: list[int]
    double_z: bool = True  # taming's own default; a VQ-GAN says false
    resamp_with_conv: bool = True

    @model_validator(mode="after")
    def _supported(self) -> NetworkConfig:
        if self.double_z or not self.resamp_with_conv:
            raise ValueError("a VQ-GAN has double_z false and resamp_with_conv true")
        if any(width < 1 or width % GROUPS for width in self.widths):
            raise ValueError(f"ch {self.ch} times ch_mult is not a multiple of {GROUPS}, the number of norm groups")
        if self.resolution % self.stride:
            raise ValueError(f"resolution {self.resolution} is not a multiple of {self.stride}, the stride")
        return self

    @property
    def widths(self) -> list[int]:
        """Channels of each level, the finest first."""
        return [self.ch * factor for factor in self.ch_mult]

    @property
    def stride(self) -> int:
        """Pixels along each side of one code."""
        return int(2 ** (len(self.ch_mult) - 1))

    def attends(self, level: int) -> bool:
        """Whether the blocks of a level are followed by attention; by its size in training, whatever the image's."""
        return self.resolution // 2**level in self.attn_resolutions


class VQConfig(BaseModel):
    """`model.params` of a taming-transformers project."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    ddconfig: NetworkConfig
    n_embed: int = Field(gt=0)
    embed_dim: int = Field(gt=0)
    remap: None = None  # a code would mean something else

    @property
    def grid(self) -> int:
        """Codes along each side of an image."""
        return self.ddconfig.resolution // self.ddconfig.stride

    @property
    def codes(self) -> int:
        """Codes of an image."""
        return self.grid**2


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=NORM_EPS)


def _conv(width_in: int, width_out: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, size, padding=size // 2)


class ResnetBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(width_in), _conv(width_in, width_out)
        self.norm2, self.conv2 = _norm(width_out), _conv(width_out, width_out)
        if width_in != width_out:
            self.nin_shortcut = _conv(width_in, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # [n, width_in, h, w] -> [n, width_out, h, w]
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        total: Tensor = (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h
        return total


class AttnBlock(nn.Module):
    """Attention of every place to every other, with one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v = _conv(width, width, 1), _conv(width, width, 1), _conv(width, width, 1)
        self.proj_out = _conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # [n, width, h, w], in and out
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))  # [n, h * w, width]
        mixed = functional.scaled_dot_product_attention(q, k, v)
        added: Tensor = self.proj_out(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        return x + added


class Downsample(nn.Module):
    """Half the size; the pixel that is lacking is added right and below."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        smaller: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return smaller


class Upsample(nn.Module):
    """Twice the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return larger


class Middle(nn.Module):
    """What lies between the levels and the codes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResnetBlock(width, width), AttnBlock(width), ResnetBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return h


class Level(nn.Module):
    """Blocks that work at one size, each with its attention where the level attends."""

    def __init__(self, width_in: int, width_out: int, blocks: int, attends: bool) -> None:
        super().__init__()
        widths = [width_in] + [width_out] * blocks
        self.block = nn.ModuleList(ResnetBlock(*pair) for pair in pairwise(widths))
        self.attn = nn.ModuleList(AttnBlock(width_out) for _ in range(blocks if attends else 0))

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[index](x)
        for name in ("downsample", "upsample"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


class Encoder(nn.Module):
    """[n, 3, H, W] -> [n, z_channels, H / stride, W / stride]."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = _conv(config.in_channels, config.ch)
        self.down = nn.ModuleList(
            Level(before, after, config.num_res_blocks, config.attends(level))
            for level, (before, after) in enumerate(zip([config.ch, *widths], widths, strict=False))
        )
        for level, width in zip(list(self.down)[:-1], widths, strict=False):
            level.downsample = Downsample(width)
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = _norm(widths[-1]), _conv(widths[-1], config.z_channels)

    def forward(self, pixels: Tensor) -> Tensor:
        h = self.conv_in(pixels)
        for level in self.down:
            h = level(h)
        z: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(h))))
        return z


class Decoder(nn.Module):
    """[n, z_channels, h, w] -> [n, 3, stride h, stride w]."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = _conv(config.z_channels, widths[-1])
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList(  # up.0 is the finest, which comes last
            Level(before, after, config.num_res_blocks + 1, config.attends(level))
            for level, (before, after) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        )
        for level, width in zip(list(self.up)[1:], widths[1:], strict=True):
            level.upsample = Upsample(width)
        self.norm_out, self.conv_out = _norm(widths[0]), _conv(widths[0], config.out_ch)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        pixels: Tensor = self.conv_out(functional.silu(self.norm_out(h)))
        return pixels


class Codebook(nn.Module):
    """The vectors that codes stand for."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.n_embed, config.embed_dim)

    def nearest(self, vectors: Tensor) -> Tensor:
        """The code whose vector is nearest to each: [..., embed_dim] -> [...]."""
        book = self.embedding.weight
        # |z - e|^2 without |z|^2, which is the same for every e.
        return (book.square().sum(dim=1) - 2 * vectors @ book.T).argmin(dim=-1)

    def forward(self, codes: Tensor) -> Tensor:
        vectors: Tensor = self.embedding(codes)
        return vectors


class VQGAN(nn.Module):
    """Images to codes and back, in float32."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        z_channels = config.ddconfig.z_channels
        self.encoder, self.decoder = Encoder(config.ddconfig), Decoder(config.ddconfig)
        self.quantize = Codebook(config)
        self.quant_conv = _conv(z_channels, config.embed_dim, 1)
        self.post_quant_conv = _conv(config.embed_dim, z_channels, 1)

    def vectors(self, pixels: Tensor) -> Tensor:
        """What is looked up in the codebook: [n, 3, H, W] in [-1, 1] -> [n, H / stride, W / stride, embed_dim]."""
        vectors: Tensor = self.quant_conv(self.encoder(pixels)).permute(0, 2, 3, 1)
        return vectors

    def encode(self, pixels: Tensor) -> Tensor:
        """Codes, row by row: [n, 3, H, W] in [-1, 1] -> [n, codes], 0 to n_embed - 1."""
        return self.quantize.nearest(self.vectors(pixels)).flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Images before any clamp: codes [n, codes], row by row -> [n, 3, resolution, resolution], about [-1, 1]."""
        grid = codes.unflatten(1, (self.config.grid, self.config.grid))
        pixels: Tensor = self.decoder(self.post_quant_conv(self.quantize(grid).permute(0, 3, 1, 2)))
        return pixels
