"""BioViL-T's text tower: CXR-BERT (Boecking et al., arXiv 2204.09817), whose class token is projected to 128 numbers.

Read from `microsoft/BiomedVLP-BioViL-T` without the code that lies in that repository.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer

from unix_bench.errors import UserError
from unix_bench.features.chexbert import TextTooLong
from unix_bench.features.places import BIOVIL_T, VOCABULARIES
from unix_bench.released import CONFIG, CONFIG_ERRORS, read_json
from unix_bench.weights import TensorFile, check_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there; the release has the second
# The head that guesses masked words is in the file and not needed; its last layer shares the words' embeddings, which
# some ways of saving leave out. The pooler, if there, is not needed either. transformers before 4.31 kept the positions
# as a buffer.
UNUSED = re.compile(r"cls\.predictions\.|bert\.pooler\.|bert\.embeddings\.position_ids$")
PROJECTION = 128  # where config.json does not say, as in the release's own code
NORM_EPS = 1e-12
ENDING = "!?."  # taken off the end of a text
OTHER_RELEASE = re.compile(r"microsoft/BiomedVLP-CXR-BERT")  # of the same shape, but not trained with BioViL-T


class SpecialTokenInText(ValueError):
    """A text spells out a token that means something to the model, such as "[SEP]"."""


class TextNetwork(nn.Module):
    """Tokens to embeddings [n, projection] that are not yet of length 1; names as in the checkpoint."""

    def __init__(self, config: BertConfig, projection: int) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls_projection_head = _ProjectionHead(config.hidden_size, projection)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        projected: Tensor = self.cls_projection_head(hidden)
        return projected


class _ProjectionHead(nn.Module):
    def __init__(self, hidden: int, projection: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(hidden, projection)
        self.LayerNorm = nn.LayerNorm(projection, eps=NORM_EPS)
        self.dense_to_output = nn.Linear(projection, projection)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.dense_to_output(self.LayerNorm(nn.functional.gelu(self.dense_to_hidden(hidden))))
        return out


def text_weights(directory: Path) -> Path:
    """The file of the text tower's weights; where there is none, the name it should have."""
    return next((directory / name for name in WEIGHTS if (directory / name).is_file()), directory / WEIGHTS[-1])


def load_text_network(directory: Path, joint: int) -> TextNetwork:
    """The text tower with its weights.

    Args:
        directory: Folder with `config.json` and the weights.
        joint: Length of the image tower's embeddings, which the text tower's must have.

    Raises:
        UserError: A file is missing or damaged, describes another model, or its tensors do not fit; all named.
    """
    stated = read_json(directory / CONFIG, BIOVIL_T)
    origin, projection = str(stated.get("_name_or_path", "")), stated.get("projection_size", PROJECTION)
    if OTHER_RELEASE.match(origin):
        raise UserError(f"{directory / CONFIG} is that of {origin}: copy the text model of {BIOVIL_T} there")
    if projection != joint:
        raise UserError(
            f"{directory / CONFIG} says projection_size {projection}, and the image model's is {joint}: copy both "
            f"from {BIOVIL_T}"
        )
    try:
        network = TextNetwork(BertConfig(**_bert_only(stated)), joint)
    except CONFIG_ERRORS as error:
        why = " ".join(str(error).split())
        raise UserError(f"{directory / CONFIG} describes no BERT ({why}): copy that of {BIOVIL_T}") from error
    path = text_weights(directory)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with TensorFile.open(path) as file:
        check_tensors(path, file.shapes, expected, UNUSED)
        network.load_state_dict({name: file.read(name) for name in expected})
    return network.eval()


def _bert_only(stated: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what names the repository's own classes."""
    return {key: value for key, value in stated.items() if key not in ("model_type", "auto_map", "architectures")}


def load_tokenizer(directory: Path) -> Any:
    """BioViL-T's tokenizer.

    Raises:
        UserError: The vocabulary is missing or damaged.
    """
    if not any((directory / name).is_file() for name in VOCABULARIES):  # transformers would make one of no words
        raise UserError(f"{directory / VOCABULARIES[0]} is missing: copy it from {BIOVIL_T}")
    try:
        tokenizer = BertTokenizer.from_pretrained(directory, local_files_only=True)
        tokenizer("words")
    except Exception as error:  # the tokenizers library raises nothing more definite for a damaged vocabulary
        raise UserError(f"{directory} holds no vocabulary of BERT ({error}): copy vocab.txt of {BIOVIL_T}") from error
    return tokenizer


class TextReader:
    """Texts to tokens as hi-ml-multimodal makes them.

    Args:
        directory: Folder with `vocab.txt`.
        max_tokens: What the text tower takes, [CLS] and [SEP] included.
    """

    def __init__(self, directory: Path, max_tokens: int) -> None:
        self._tokenizer = load_tokenizer(directory)
        self._max_tokens = max_tokens
        # A mask may stand in a text there, to be guessed; every other special token may not.
        self._special = set(self._tokenizer.all_special_tokens) - {self._tokenizer.mask_token}

    def read(self, texts: Sequence[str], truncate: bool) -> tuple[list[list[int]], list[bool]]:
        """Token ids of each text, and whether it was cut.

        Raises:
            TextTooLong: A text has too many tokens and may not be truncated.
            SpecialTokenInText: A text holds a special token, and is to be read as the package reads it, not as words.
        """
        if not texts:
            return [], []
        if not truncate:
            self._refuse_special(texts)
        plain = [text.rstrip(ENDING) for text in texts]
        ids: list[list[int]] = self._tokenizer(plain, split_special_tokens=truncate)["input_ids"]
        longest = max(map(len, ids))
        if longest > self._max_tokens and not truncate:
            raise TextTooLong(f"a text has {longest} tokens, and BioViL-T reads {self._max_tokens}")
        cut = [len(row) > self._max_tokens for row in ids]
        # The last token is [SEP], which a cut text keeps.
        return [row if len(row) <= self._max_tokens else [*row[: self._max_tokens - 1], row[-1]] for row in ids], cut

    def _refuse_special(self, texts: Sequence[str]) -> None:
        for text in texts:
            for token in sorted(self._special):
                if token in text:
                    raise SpecialTokenInText(f"a text holds {token}, which means something else to BioViL-T")

    def pad(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Ids and attention mask, both [n, longest]."""
        batch = self._tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")
        return torch.as_tensor(batch["input_ids"]), torch.as_tensor(batch["attention_mask"])
