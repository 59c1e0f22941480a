"""Words and image codes as tokens: the prompt, an image within it, and what an answer holds.

Token ids 0 to n - 1 are the tokenizer's; code k of the VQ-GAN is token n + k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from unix_bench.errors import UserError
from unix_bench.released import read_json

# Dolly's form of a question, whose key words are tokens of their own.
PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\nInput:\n{input}\n\n### Response:\n"
)
RESPONSE, END = "### Response:\n", "### End"
IMAGE = "<image>"  # three tokens, of which an image's codes replace the middle one

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
# Spaces that transformers 4.28, which the release asks for, takes out of decoded text.
SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens mean.

    Attributes:
        words: The tokenizer.
        end: The token that ends an answer.
        image: The three tokens of "<image>".
        first_code: How many words there are, which is the token of code 0.
        codes: How many codes there are.
        control: What the tokens that begin and end something are spelt like.
        takes_spaces: Whether decoded text loses the spaces of `SPACED`.
    """

    words: Tokenizer
    end: int
    image: tuple[int, int, int]
    first_code: int
    codes: int
    control: tuple[str, ...]
    takes_spaces: bool

    @classmethod
    def from_directory(cls, directory: Path, codes: int, release: str) -> Vocabulary:
        """Read `tokenizer.json`, and one flag of `tokenizer_config.json`.

        Raises:
            UserError: A file is missing or damaged, or the tokenizer does not know the words of the prompt.
        """
        path = directory / TOKENIZER
        if not path.is_file():
            raise UserError(f"{path} is missing: copy it from {release}")
        try:
            words = Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises nothing more definite
            raise UserError(f"{path} is no tokenizer ({error}): copy it from {release} again") from error
        words.no_truncation()  # training cut its texts, and the file may remember at which length
        words.no_padding()
        split = {text: words.encode(text).ids for text in (RESPONSE, END, IMAGE)}
        for text, length in ((RESPONSE, 1), (END, 1), (IMAGE, 3)):
            if len(split[text]) != length:
                raise UserError(
                    f"{path} splits {text!r} into {len(split[text])} tokens, not {length}: it is not the tokenizer "
                    f"that LLM-CXR was trained with, copy that of {release}"
                )
        stated = read_json(directory / TOKENIZER_CONFIG, release) if (directory / TOKENIZER_CONFIG).is_file() else {}
        return cls(
            words=words,
            end=split[END][0],
            image=(split[IMAGE][0], split[IMAGE][1], split[IMAGE][2]),
            first_code=words.get_vocab_size(with_added_tokens=True),
            codes=codes,
            control=tuple(sorted(one.content for one in words.get_added_tokens_decoder().values() if one.special)),
            takes_spaces=bool(stated.get("clean_up_tokenization_spaces", True)),
        )

    def __len__(self) -> int:
        """Rows of the model's table."""
        return self.first_code + self.codes

    def about_text(self, instruction: str, text: str) -> list[int]:
        """The prompt that asks for something about a text.

        Raises:
            ValueError: A text spells a token that would end the question or the answer.
        """
        for token in self.control:
            if token in instruction or token in text:
                raise ValueError(f"the question holds {token!r}, which means something of its own to this model")
        ids: list[int] = self.words.encode(PROMPT.format(instruction=instruction, input=text)).ids
        return ids

    def about_image(self, instruction: str, codes: Sequence[int]) -> list[int]:
        """The prompt that asks for something about an image; the brackets around its codes stay.

        Raises:
            ValueError: The instruction speaks of an <image> of its own.
        """
        ids = self.about_text(instruction, IMAGE)
        places = [start for start in range(len(ids)) if tuple(ids[start : start + 3]) == self.image]
        if len(places) != 1:
            raise ValueError(f"the prompt holds {IMAGE} {len(places)} times: leave it out of the instruction")
        before = places[0] + 1
        return ids[:before] + [self.first_code + code for code in codes] + ids[before + 1 :]

    def codes_in(self, answer: Sequence[int]) -> list[int]:
        """The codes of an answer, in order, whatever stands between them."""
        return [token - self.first_code for token in answer if token >= self.first_code]

    def text_in(self, answer: Sequence[int]) -> str:
        """The words of an answer; codes among them are passed over."""
        text: str = self.words.decode([token for token in answer if token < self.first_code], skip_special_tokens=False)
        if self.takes_spaces:
            for spaced in SPACED:
                text = text.replace(spaced, spaced.strip())
        return text.strip()
