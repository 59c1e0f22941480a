"""CheXbert (Smit et al., arXiv 2004.09167): BERT-base with one head for each of 14 observations.

Loaded strictly from the release's `chexbert.pth`; the configuration and vocabulary of bert-base-uncased lie apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer

from unix_bench.errors import UserError
from unix_bench.features.memory import remembered
from unix_bench.features.places import BERT, text_encoder_digest
from unix_bench.weights import TensorFile, check_tensors, digest_file

HEADS = (4,) * 13 + (2,)  # blank, positive, negative, uncertain; No Finding: blank, positive
PREFIX = "module."  # the release was saved from DataParallel
# transformers before 4.31 kept the positions as a buffer, so that an old checkpoint may hold them.
UNUSED = re.compile(r"module\.bert\.embeddings\.position_ids$")
MAX_TOKENS = 512
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
BATCH = 16


class TextTooLong(ValueError):
    """A text does not fit the model and may not be cut."""


class CheXbert:
    """The labeller: reports to labels of the 14 CheXpert observations."""

    name = "chexbert"
    stand_in = False

    def __init__(self, checkpoint: Path, bert: Path, cache: Path, device: str = "cpu") -> None:
        """Open the release's checkpoint; the network is loaded when a text is labelled that has no label yet.

        Args:
            checkpoint: `chexbert.pth`.
            bert: Folder with `config.json` and `vocab.txt` of bert-base-uncased.
            cache: Where labels are kept by text and weights.
            device: "cpu" or "cuda".
        """
        self._checkpoint, self._bert, self._cache, self._device = checkpoint, bert, cache, device

    @cached_property
    def digest(self) -> str:
        """sha256 over the checkpoint and the vocabulary's files."""
        parts = digest_file(self._checkpoint, self._cache) + text_encoder_digest(self._bert, self._cache)
        return hashlib.sha256(parts.encode()).hexdigest()

    @cached_property
    def _tokenizer(self) -> BertTokenizer:
        try:
            tokenizer = BertTokenizer.from_pretrained(self._bert, local_files_only=True)
            known = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
        except Exception as error:  # the tokenizers library raises nothing more definite for a damaged vocabulary
            raise UserError(f"{self._bert} holds no vocabulary of BERT ({error}): copy vocab.txt there") from error
        missing = [token for token in SPECIAL if token not in known]
        size = self._network.bert.config.vocab_size
        if missing or len(known) > size:
            lacks = f"lacks {', '.join(missing)}" if missing else f"has {len(known)} entries, the checkpoint {size}"
            raise UserError(f"the vocabulary in {self._bert} {lacks}: copy vocab.txt of {BERT} there again")
        return tokenizer

    @cached_property
    def _network(self) -> _Network:
        try:
            network = _Network(BertConfig.from_pretrained(self._bert, local_files_only=True))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self._bert}/config.json describes no BERT ({error}): copy that of {BERT}") from error
        expected = {PREFIX + name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        with TensorFile.open(self._checkpoint) as file:
            check_tensors(self._checkpoint, file.shapes, expected, UNUSED, f"{self._bert}/config.json")
            network.load_state_dict({name.removeprefix(PREFIX): file.read(name) for name in expected})
        return network.eval().to(self._device)

    def label(
        self, texts: Sequence[str], truncate: bool = True, advance: Callable[[int], None] = lambda count: None
    ) -> NDArray[np.int8]:
        """Labels 0 blank, 1 positive, 2 negative, 3 uncertain of each text, [n, 14]; No Finding is 0 or 1.

        Args:
            texts: Reports.
            truncate: Read the first 512 tokens of a longer one; otherwise refuse it.
            advance: Told how many texts were labelled.

        Raises:
            TextTooLong: A text has over 512 tokens and may not be truncated.
            UserError: The checkpoint is of another model, or a file is damaged; names the tensors.
        """
        place = self._cache / "labels" / f"{self.name}-{self.digest[:16]}{'' if truncate else '-whole'}"
        rows = remembered(texts, lambda missing: self._label(missing, truncate), place, advance)
        return np.array(rows, dtype=np.int8).reshape(-1, len(HEADS))

    @torch.inference_mode()
    def _label(self, texts: list[str], truncate: bool) -> list[list[int]]:
        tokens = self._tokenizer(texts, truncation=truncate, max_length=MAX_TOKENS if truncate else None)["input_ids"]
        longest = max(map(len, tokens))
        if longest > MAX_TOKENS:
            raise TextTooLong(f"a text has {longest} tokens, and CheXbert reads {MAX_TOKENS}")
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        rows: list[list[int]] = [[]] * len(texts)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]  # of like length, so that little is padding
            batch = self._tokenizer.pad({"input_ids": [tokens[index] for index in chosen]}, return_tensors="pt")
            logits = self._network(batch["input_ids"].to(self._device), batch["attention_mask"].to(self._device))
            labels = torch.stack([head.argmax(dim=-1) for head in logits], dim=-1)  # [batch, 14]
            for index, row in zip(chosen, labels.tolist(), strict=True):
                rows[index] = row
        return rows


class _Network(nn.Module):
    """Names as in the checkpoint."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config)
        self.linear_heads = nn.ModuleList(nn.Linear(self.bert.config.hidden_size, size) for size in HEADS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return [head(hidden) for head in self.linear_heads]
