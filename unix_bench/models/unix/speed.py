"""What of that which is done to be fast can be switched off. None of it changes a number but by rounding."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch


@dataclass(frozen=True)
class Speed:
    """Switches.

    Attributes:
        together: Both velocities of a guided step in one batch.
        retire: Finished answers leave their batch at once, and waiting questions take their places.
        compiled: Layers through `torch.compile`.
        graphs: Passes recorded once as CUDA graphs and replayed.
        blocks: Products of layers into memory that is got once, which torch sees to itself on a GPU.
        decoded_at_once: Images that the VAE decodes in one batch.
        look_every: Tokens between two looks at which answers are finished; each look waits for the GPU.
    """

    together: bool = True
    retire: bool = True
    compiled: bool = False
    graphs: bool = False
    blocks: bool = True
    decoded_at_once: int = 1
    look_every: int = 1

    @classmethod
    def on(cls, device: torch.device) -> Speed:
        """What a device can use. A deterministic run is not compiled, and its batches stay as they are."""
        fixed = torch.are_deterministic_algorithms_enabled()
        if device.type != "cuda":
            return cls(retire=not fixed)
        compiled = not fixed and find_spec("triton") is not None
        return cls(retire=not fixed, compiled=compiled, graphs=True, blocks=False, decoded_at_once=4, look_every=8)
