"""Flow matching: the grid of times, guidance of the velocity, and the Euler walk from noise to latents.

Time runs from 1 (noise) to 0 (data); the velocity points from data to noise. Source: arXiv 2601.11522, section 3.3,
and the released sampler, whose settings are kept by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

RenormType = Literal["global", "channel", "text_channel"]
# velocity(x [n, tokens, z], embedded time [width], guided): with the prompt, and where guided without it
Velocity = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class SamplerSettings:
    """How an image is drawn.

    Attributes:
        num_timesteps: Points of the time grid, both ends counted: 50 points are 49 steps.
        timestep_shift: s in t <- s t / (1 + (s - 1) t); above 1 it spends more steps near the noise.
        cfg_text_scale: Guidance away from the velocity without the prompt; 1 or less: none.
        cfg_img_scale: Guidance away from the velocity without the images of the prompt. A prompt of text alone has
            none to drop, so that velocity is the conditional one, and no pass is spent on it.
        cfg_interval: Guidance holds where low < t <= high.
        cfg_renorm_type: What the guided velocity is scaled back to the norm of: the sample (`global`), each token
            (`channel`), or each token before image guidance (`text_channel`).
        cfg_renorm_min: The least factor of that scaling; the greatest is 1.
    """

    num_timesteps: int = 50
    timestep_shift: float = 3.0
    cfg_text_scale: float = 2.0
    cfg_img_scale: float = 1.0
    cfg_interval: tuple[float, float] = (0.4, 1.0)
    cfg_renorm_type: RenormType = "global"
    cfg_renorm_min: float = 0.0

    def __post_init__(self) -> None:
        numbers = (
            self.timestep_shift,
            self.cfg_text_scale,
            self.cfg_img_scale,
            *self.cfg_interval,
            self.cfg_renorm_min,
        )
        if not all(map(math.isfinite, numbers)):
            raise ValueError("the sampler's settings must be finite numbers")
        if self.num_timesteps < 2:
            raise ValueError(f"num_timesteps must be 2 or more, not {self.num_timesteps}")
        if self.timestep_shift <= 0:
            raise ValueError(f"timestep_shift must be positive, not {self.timestep_shift}")
        if self.cfg_renorm_type not in get_args(RenormType):
            known = ", ".join(get_args(RenormType))
            raise ValueError(f"cfg_renorm_type must be one of {known}, not '{self.cfg_renorm_type}'")
        if len(self.cfg_interval) != 2:
            raise ValueError(f"cfg_interval must be two numbers, not {self.cfg_interval}")
        if self.cfg_interval[0] > self.cfg_interval[1]:
            raise ValueError(f"cfg_interval must rise, not {self.cfg_interval}")
        if not 0.0 <= self.cfg_renorm_min <= 1.0:
            raise ValueError(f"cfg_renorm_min must lie between 0 and 1, not {self.cfg_renorm_min}")

    def guided(self, t: float) -> bool:
        """Does guidance change the velocity at time t?"""
        low, high = torch.tensor(self.cfg_interval).tolist()  # to float32, as t is
        return self.cfg_text_scale > 1.0 and low < t <= high


def time_grid(num_timesteps: int, shift: float) -> tuple[Tensor, Tensor]:
    """Times at which the velocity is evaluated and the step taken from each, float32 [num_timesteps - 1].

    >>> t, dt = time_grid(3, 1.0)
    >>> t.tolist(), dt.tolist()
    ([1.0, 0.5], [0.5, 0.5])
    """
    t = torch.linspace(1.0, 0.0, num_timesteps)
    t = shift * t / (1.0 + (shift - 1.0) * t)
    return t[:-1], t[:-1] - t[1:]


def guide(conditional: Tensor, text_dropped: Tensor, settings: SamplerSettings) -> Tensor:
    """The guided velocity, [n, tokens, z] float32; every norm is taken within one sample.

    The image-dropped velocity of a text-only prompt is the conditional one, and stands for it here.
    """
    scale, image_scale = settings.cfg_text_scale, settings.cfg_img_scale
    guided = text_dropped + scale * (conditional - text_dropped)
    if settings.cfg_renorm_type == "text_channel":
        guided = _renorm(guided, conditional, (-1,), settings.cfg_renorm_min)
    if image_scale > 1.0:
        guided = conditional + image_scale * (guided - conditional)
    if settings.cfg_renorm_type == "text_channel":
        return guided
    dims = (-2, -1) if settings.cfg_renorm_type == "global" else (-1,)
    return _renorm(guided, conditional, dims, settings.cfg_renorm_min)


def _renorm(guided: Tensor, reference: Tensor, dims: tuple[int, ...], least: float) -> Tensor:
    """Scale `guided` down to the norm of `reference` over `dims`, by a factor in [least, 1]."""
    target = torch.linalg.vector_norm(reference, dim=dims, keepdim=True)
    norm = torch.linalg.vector_norm(guided, dim=dims, keepdim=True)
    factor: Tensor = (target / (norm + 1e-8)).clamp(least, 1.0)
    return guided * factor


def integrate(
    velocity: Velocity,
    embed: Callable[[Tensor], Tensor],
    noise: Tensor,
    settings: SamplerSettings,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Walk from noise to latents by Euler steps; nothing on the way waits for the device.

    Args:
        velocity: The field.
        embed: Times [n] as the field takes them, [n, width].
        noise: [n, tokens, z] float32.
        settings: Of the walk.
        watch: Is shown each state and the velocity that leads on from it.

    Returns:
        Of the noise's shape.
    """
    times, steps = time_grid(settings.num_timesteps, settings.timestep_shift)
    x = noise
    for t, dt, embedded in zip(times.tolist(), steps.tolist(), embed(times.to(noise.device)), strict=True):
        v, text_dropped = velocity(x, embedded, settings.guided(t))
        if text_dropped is not None:
            v = guide(v, text_dropped, settings)
        if watch is not None:
            watch(x, v)
        x = x - v * dt
    return x


class TimeEmbedder(nn.Module):
    """A sinusoid of t in [0, 1] (256 channels, cosines first), then Linear, SiLU, Linear."""

    channels = 256

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(self.channels, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """[n] -> [n, width]."""
        out: Tensor = self.fc2(nn.functional.silu(self.fc1(sinusoid(t, self.channels).to(self.fc1.weight.dtype))))
        return out


def sinusoid(t: Tensor, channels: int) -> Tensor:
    """[cos(t f), sin(t f)] at frequencies falling geometrically from 1 to 1/10000: [n] -> [n, channels]."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def position_table(width: int, side: int) -> Tensor:
    """2D sine-cosine table of a square grid, float32 [side * side, width]: columns first, then rows.

    Each half holds [sin, cos] of index * 10000^(-i / (width / 4)). It fills `latent_pos_embed` at construction; a
    checkpoint brings its own.
    """
    index = torch.arange(side, dtype=torch.float64)
    omega = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    angles = index[:, None] * omega  # [side, width / 4]
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, width / 2]
    columns = axis[None].expand(side, side, -1)
    rows = axis[:, None].expand(side, side, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1).float()


def latent_places(rows: int, columns: int, side: int, device: torch.device) -> Tensor:
    """Index of each latent of an image in the positional table of a square grid, raster order, [rows * columns]."""
    row, column = torch.arange(rows, device=device), torch.arange(columns, device=device)
    return (row[:, None] * side + column).flatten()
