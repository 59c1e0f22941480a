"""LLaVA-Rad as the bench runs it: settings checked, requests turned into one greedy walk a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaForCausalLM

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.base import ReportRequest
from unix_bench.models.llava_rad.demo import DEMO_VERSION, write_demo_weights
from unix_bench.models.llava_rad.language import BASE, LanguageFiles, llama_config, load_tokenizer
from unix_bench.models.llava_rad.projector import check_joint, check_projector, load_projector
from unix_bench.models.llava_rad.prompt import ReportSettings, prepare_image
from unix_bench.models.llava_rad.tower import Tower, TowerShape, check_tower, load_tower

if TYPE_CHECKING:
    from unix_bench.models.base import Loadable, ReportWriter


class LlavaRad:
    """Writes findings with one loaded LLaVA-Rad."""

    demo_version = DEMO_VERSION

    def __init__(
        self,
        tower: Tower,
        shape: TowerShape,
        projector: nn.Sequential,
        language: LlamaForCausalLM,
        tokenizer: Any,
        settings: ReportSettings,
    ) -> None:
        self.tower, self.shape, self.projector = tower, shape, projector
        self.language, self.tokenizer, self.settings = language, tokenizer, settings
        self.device: torch.device = tower.cls_token.device
        self.dtype: torch.dtype = tower.cls_token.dtype

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check the settings; the bench only has reports written by LLaVA-Rad."""
        if kind != "report":
            raise UserError(f"LLaVA-Rad writes reports; it has no settings for {kind}")
        settings = ReportSettings.checked(stated)
        limit = llama_config(directory / BASE).max_position_embeddings
        if settings.max_new_tokens > limit:
            raise UserError(f"max_new_tokens must be 1 to {limit} for these weights, not {settings.max_new_tokens}")
        return settings.model_dump()

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        kind = getattr(torch, dtype)
        check_joint(directory)
        tower, shape = load_tower(directory, kind, device)
        tokenizer = load_tokenizer(directory / BASE)
        with LanguageFiles(directory) as files:
            _check_vocabulary(directory, tokenizer, files.config.vocab_size)
            projector = load_projector(directory, shape.width, files.config.hidden_size, kind, device)
            language = files.load(kind, device)
        return cls(tower, shape, projector, language, tokenizer, ReportSettings.checked(settings))

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See from the files' headers whether `load` would work; raises as it does."""
        check_joint(directory)
        shape = check_tower(directory)
        tokenizer = load_tokenizer(directory / BASE)
        with LanguageFiles(directory) as files:
            _check_vocabulary(directory, tokenizer, files.config.vocab_size)
            check_projector(directory, shape.width, files.config.hidden_size)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write a tiny stand-in in the layout of the real weights."""
        write_demo_weights(directory)

    @torch.inference_mode()
    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """One report a request, greedily.

        It is asked as it was trained to be, with the settings' question and the request's indication; the request's
        own instruction is not used.

        Raises:
            ValueError: A prompt and its report have no room, or the scores of the next word are NaN or Inf.
        """
        if not requests:
            return []
        patches = self.see([request.image for request in requests])
        rows = [self.embed(request.indication, seen) for request, seen in zip(requests, patches, strict=True)]
        embedded, mask = _pad_left(rows)
        if embedded.shape[1] + self.settings.max_new_tokens > (room := self.language.config.max_position_embeddings):
            raise ValueError(
                f"a prompt of {embedded.shape[1]} tokens and {self.settings.max_new_tokens} new ones exceed {room}"
            )
        ids = self.language.generate(
            inputs_embeds=embedded,
            attention_mask=mask,
            generation_config=self._greedy(),
            logits_processor=[_finite],
        )
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def see(self, images: Sequence[Any]) -> Tensor:
        """What the language model is shown of each image, [n, patches, width]."""
        settings = self.settings
        pixels = [prepare_image(one, self.shape.pixels, settings.image_mean, settings.image_std) for one in images]
        shown: Tensor = self.projector(self.tower(torch.stack(pixels).to(self.device, self.dtype)))
        return shown

    def embed(self, indication: str | None, patches: Tensor) -> Tensor:
        """A whole prompt, the image's patches in their place: [tokens, width].

        The texts before and after the image are tokenised each for itself, as in training.
        """
        before, after = self.settings.conversation(indication)
        table = self.language.get_input_embeddings()
        start = torch.tensor([self.tokenizer.bos_token_id, *self._ids(before)], device=self.device)
        end = torch.tensor(self._ids(after), dtype=torch.long, device=self.device)
        return torch.cat([table(start), patches, table(end)])

    def _ids(self, text: str) -> list[int]:
        """Tokens of a text, without start and end; what spells a special token in it is read as words."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _greedy(self) -> GenerationConfig:
        """Beside this nothing counts: Vicuna's own generation_config.json samples."""
        return GenerationConfig(
            max_new_tokens=self.settings.max_new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            bos_token_id=self.tokenizer.bos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.eos_token_id,  # after a report's end, where it is skipped
        )


def _pad_left(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Embedded prompts [n, longest, width] that end together, and their mask [n, longest], 0 where nothing is."""
    longest = max(map(len, rows))
    embedded = rows[0].new_zeros(len(rows), longest, rows[0].shape[-1])
    mask = torch.zeros(len(rows), longest, dtype=torch.long, device=rows[0].device)
    for index, row in enumerate(rows):
        embedded[index, longest - len(row) :] = row
        mask[index, longest - len(row) :] = 1
    return embedded, mask


def _finite(ids: Tensor, scores: Tensor) -> Tensor:
    """Stop at scores that mean nothing."""
    if not torch.isfinite(scores).all():
        raise ValueError("the model's scores of the next word are NaN or Inf")
    return scores


def _check_vocabulary(directory: Path, tokenizer: Any, size: int) -> None:
    if len(tokenizer) > size:
        raise UserError(f"{directory / BASE}: its tokenizer has {len(tokenizer)} tokens and the model only {size}")


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: LlavaRad) -> tuple[type[Loadable], ReportWriter]:
        return LlavaRad, model
