"""Chat-style models of plain transformers that read an image and answer in text; the bench comes in by `adapter`."""

from unix_bench.models.vlm.adapter import VisionLanguageModel

__all__ = ["VisionLanguageModel"]
