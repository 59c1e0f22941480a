"""What a card sets of a chat-style model: how it is asked, how it decodes, which part of its answer is the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unix_bench.models.settings import checked_settings
from unix_bench.models.vlm.answers import Extract

PLACE = re.compile(r"\{([A-Za-z_]+)\}")  # not the empty braces of \boxed{}


class ReportSettings(BaseModel):
    """Settings of the report task; all are stated, none falls back to what the library or a release would do.

    Attributes:
        system: System prompt; empty: none.
        prompt: What is said beside the image; `{instruction}` is the question of the task or of the study.
        prompt_with_indication: The same where the study has an indication, `{indication}`; empty: it is not shown.
        max_new_tokens: Longest answer.
        temperature: 0: greedy. Above: drawn, each answer from its request's seed.
        top_p: Draw from the most likely tokens that together have this probability; 1: from all.
        top_k: Draw from so many most likely tokens; 0: from all.
        repetition_penalty: Scores of tokens that were there before are divided by it; 1: they are not.
        extract: Which part of the answer is the report; see `answers`.
        section: Name of the section, for `extract = "section"`; else empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    system: str = Field(description="text in quotes")
    prompt: str = Field(min_length=1, description="text in quotes, not empty")
    prompt_with_indication: str = Field(description="text in quotes")
    max_new_tokens: int = Field(ge=1, description="a whole number from 1")
    temperature: float = Field(ge=0, le=100, description="a number from 0 (greedy) to 100")
    top_p: float = Field(gt=0, le=1, description="a number above 0 and at most 1")
    top_k: int = Field(ge=0, description="a whole number from 0")
    repetition_penalty: float = Field(gt=0, le=100, description="a number above 0 and at most 100")
    extract: Extract = Field(description='"all", "boxed" or "section"')
    section: str = Field(description="text in quotes")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if not self.prompt.strip():
            raise ValueError("prompt must hold words, not white space alone")
        for name, allowed in (("prompt", {"instruction"}), ("prompt_with_indication", {"instruction", "indication"})):
            unknown = sorted(set(PLACE.findall(getattr(self, name))) - allowed)
            if unknown:
                places = " and ".join(f"{{{place}}}" for place in sorted(allowed))
                raise ValueError(f"{name} may hold {places}, not {{{unknown[0]}}}")
        if self.prompt_with_indication and "{indication}" not in self.prompt_with_indication:
            raise ValueError("prompt_with_indication must hold {indication}, or be empty")
        if self.temperature == 0 and (self.top_p, self.top_k) != (1, 0):
            raise ValueError("top_p and top_k must be 1.0 and 0 where temperature is 0, since nothing is drawn")
        if bool(self.section.strip()) != (self.extract == "section"):
            raise ValueError('section must be a name where extract is "section", and empty elsewhere')
        if self.section != self.section.strip():
            raise ValueError(f"section must be a name without white space around it, not {self.section!r}")
        return self

    @classmethod
    def checked(cls, stated: Mapping[str, Any], title: str) -> Self:
        """Settings as stated, if they are just these.

        Args:
            stated: Name -> value.
            title: What the model is called.

        Raises:
            UserError: One is missing, unknown, impossible, or does not go with another.
        """
        return checked_settings(cls, stated, f"{title}'s settings for report", f"{title}'s report setting")

    def question(self, instruction: str, indication: str | None) -> str:
        """What is said beside the image.

        >>> stated = dict(system="", prompt="{instruction}", prompt_with_indication="{indication}: {instruction}")
        >>> stated |= dict(max_new_tokens=9, temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0)
        >>> settings = ReportSettings(**stated, extract="all", section="")
        >>> settings.question("Describe it.", "Cough"), settings.question("Describe it.", " ")
        ('Cough: Describe it.', 'Describe it.')
        """
        said = (indication or "").strip()
        template = self.prompt_with_indication if said and self.prompt_with_indication else self.prompt
        words = {"instruction": instruction, "indication": said}
        return PLACE.sub(lambda place: words[place[1]], template)  # once over: what is put in is not read again
