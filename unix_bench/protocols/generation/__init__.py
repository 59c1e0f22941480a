"""Protocols of the generation task: `sound`, and `chexgenbench` as published."""

from unix_bench.protocols.generation.encoders import Training
from unix_bench.protocols.generation.published import PublishedGeneration
from unix_bench.protocols.generation.sound import SoundGeneration

__all__ = ["PublishedGeneration", "SoundGeneration", "Training"]
