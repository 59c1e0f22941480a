"""LLM-CXR (arXiv 2305.11490): one GPT-NeoX for words and for the codes of a VQ-GAN, so that it reads and draws."""

from unix_bench.models.llm_cxr.adapter import LlmCxr
from unix_bench.models.llm_cxr.vqgan import VQGAN

__all__ = ["VQGAN", "LlmCxr"]
