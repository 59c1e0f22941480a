"""Words to vectors: each word is cut into pieces by itself and becomes the mean of its pieces' hidden states.

A report of more pieces than the encoder reads at once is cut into segments, in the middle of a word if it falls so;
each gets special tokens of its own and is read alone. All of this is as radgraph 0.1.18 does it with transformers 4,
faults included, since the released weights were trained with them (`Tokeniser.adds_special`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from unix_bench.errors import UserError

VOCABULARIES = ("tokenizer.json", "vocab.txt")
# transformers' classes, of versions 4 and 5, for a vocabulary without rules of its own, such as ModernBERT's.
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
# The release shows the encoder these words by their second mark alone.
RENAMED = {"/.": ".", "/?": "?"}


@dataclass(frozen=True)
class Pieces:
    """A report as the encoder reads it.

    Attributes:
        rows: Ids that are read at once; none where no word has a piece.
        lengths: How many pieces each word has.
    """

    rows: list[list[int]]
    lengths: list[int]


class Tokeniser:
    """Words to pieces.

    Attributes:
        adds_special: Whether segments get special tokens. Under transformers 4 a generic vocabulary's
            `build_inputs_with_special_tokens` adds none, yet the release counts on them: with ModernBERT each word
            gets the states one piece further on, and the last pieces of a report are out of reach.
        padding: Id that fills short rows.
        size: Entries of the vocabulary.
    """

    def __init__(self, encoder: Path, segment: int) -> None:
        """Read the encoder's vocabulary.

        Args:
            encoder: Folder with config.json and the vocabulary.
            segment: Pieces of a segment, special ones included.

        Raises:
            UserError: The folder holds no vocabulary, or one without the special tokens.
        """
        if not any((encoder / name).is_file() for name in VOCABULARIES):
            raise UserError(f"{encoder} holds no vocabulary: copy {' or '.join(VOCABULARIES)} of the encoder there")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the readers of vocabularies raise whatever a damaged file leads them to
            raise UserError(f"the vocabulary in {encoder} cannot be read ({error}): copy it again") from error
        start, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        if start is None or end is None:
            raise UserError(f"the vocabulary in {encoder} has no [CLS] or no [SEP]: copy that of the archive's encoder")
        self._start, self._end, self._segment = start, end, segment
        self.adds_special = _tokeniser_class(encoder) not in GENERIC
        self.padding: int = self._tokenizer.pad_token_id or 0
        self.size = len(self._tokenizer)

    def cut(self, reports: Sequence[Sequence[str]]) -> list[Pieces]:
        """Pieces of each report's words."""
        distinct = list(dict.fromkeys(word for report in reports for word in report))
        # A lone surrogate is no character that a vocabulary could know.
        shown = [RENAMED.get(word, word).encode("utf-8", "replace").decode() for word in distinct]
        ids = self._tokenizer(shown, add_special_tokens=False)["input_ids"] if shown else []
        known: dict[str, list[int]] = dict(zip(distinct, ids, strict=True))
        return [self._pieces([known[word] for word in report]) for report in reports]

    def _pieces(self, words: list[list[int]]) -> Pieces:
        pieces = [piece for word in words for piece in word]
        if self.adds_special:
            rows = [[self._start, *part, self._end] for part in _parts(pieces, self._segment - 2)]
        else:
            rows = list(_parts(pieces, self._segment))
        return Pieces(rows, [len(word) for word in words])


def _parts(pieces: list[int], size: int) -> Iterator[list[int]]:
    return (pieces[start : start + size] for start in range(0, len(pieces), size))


def _tokeniser_class(encoder: Path) -> str:
    """The class that a folder's tokeniser has under transformers 4: stated, or following from the model."""
    files = [encoder / name for name in ("tokenizer_config.json", "config.json")]
    stated = [json.loads(path.read_text(encoding="utf-8")) for path in files if path.is_file()]
    named = [fields["tokenizer_class"] for fields in stated if fields.get("tokenizer_class")]
    return str(named[0]) if named else GENERIC[0] if stated[-1].get("model_type") == "modernbert" else "BertTokenizer"


def make_encoder(encoder: Path) -> nn.Module:
    """The encoder that the folder's config.json describes, with random weights, in float32.

    Raises:
        UserError: The folder describes none that transformers knows.
    """
    try:
        config = AutoConfig.from_pretrained(encoder, local_files_only=True, trust_remote_code=False)
        network: nn.Module = AutoModel.from_config(
            config, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=False
        )
    except Exception as error:  # a configuration of anything else fails in as many ways as there are models
        raise UserError(
            f"{encoder}/config.json describes no text encoder ({error}): copy that of the archive's encoder"
        ) from error
    return network


def embed(encoder: Any, reports: Sequence[Pieces], padding: int, at_once: int, device: torch.device) -> list[Tensor]:
    """A vector a word of each report.

    Args:
        encoder: Ids and mask to hidden states.
        reports: Reports of like length, so that little is padding.
        padding: Id that fills short rows.
        at_once: Rows that the encoder reads at once.
        device: Where the encoder is.

    Returns:
        float32 [words, dim] a report; zeros for a word without a piece.
    """
    rows = [row for report in reports for row in report.rows]
    states: list[Tensor] = []
    for start in range(0, len(rows), at_once):
        read = rows[start : start + at_once]
        longest = max(map(len, read))
        ids = torch.tensor([row + [padding] * (longest - len(row)) for row in read], device=device)
        lengths = torch.tensor([len(row) for row in read], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]  # [rows, longest]
        hidden = encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state  # [rows, longest, dim]
        states += [state[: len(row)] for state, row in zip(hidden, read, strict=True)]
    vectors, taken = [], 0
    for report in reports:
        mine = states[taken : taken + len(report.rows)]
        taken += len(report.rows)
        joined = _joined(mine) if mine else torch.empty(0, encoder.config.hidden_size, device=device)
        vectors.append(_means(joined, report.lengths))
    return vectors


def _joined(rows: list[Tensor]) -> Tensor:
    """One sequence of the states of a report's rows, of which all but the last are full: [ids, dim].

    Each row's first and last state are left out, but for the very first and the very last.
    """
    ids, size = sum(map(len, rows)), len(rows[0])
    inner = torch.cat([rows[0][:1], *(row[1 : size - 1] for row in rows)])
    return torch.cat([inner[: ids + 1 - 2 * len(rows)], rows[-1][-1:]])


def _means(states: Tensor, lengths: list[int]) -> Tensor:
    """Mean of each word's states, of which the first word's begin at the second: [ids, dim] to [words, dim]."""
    start, counts = 1, []
    for length in lengths:
        counts.append(max(0, min(length, len(states) - start)))
        start += length
    pieces = states[1 : 1 + sum(counts)]
    shares = torch.tensor(counts, device=states.device)
    return torch.segment_reduce(pieces, "sum", lengths=shares, axis=0) / shares.clamp(min=1)[:, None]
