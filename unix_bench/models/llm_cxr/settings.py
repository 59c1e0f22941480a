"""What a card may set of LLM-CXR, and of which type: checked where a user's words come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from unix_bench.errors import UserError
from unix_bench.models.llm_cxr.sampling import Sampling
from unix_bench.models.settings import checked_settings

Flag = Annotated[bool, Field(description="true or false")]
Count = Annotated[int, Field(ge=1, description="a whole number of 1 or more")]


class AnswerSettings(BaseModel):
    """How an answer is asked for and said.

    Attributes:
        instruction: What is asked, in the words of training; a data set's own question is not put.
        max_new_tokens: The answer's length at most; words of a report, or codes and what stands around them.
        do_sample, temperature, top_k, top_p: See `Sampling`.
        batched: Several answers at once, which is faster on a GPU; rounding then depends on the batch, and a sampled
            answer can become another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    instruction: Annotated[str, Field(min_length=1, description="a text")]
    max_new_tokens: Count
    do_sample: Flag
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False, description="a number above 0")]
    top_k: Annotated[int, Field(ge=0, description="a whole number, 0 for all tokens")]
    top_p: Annotated[float, Field(gt=0.0, le=1.0, description="a number above 0 and at most 1")]
    batched: Flag

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.do_sample, self.temperature, self.top_k, self.top_p)


class DrawSettings(AnswerSettings):
    """How an image is drawn.

    Attributes:
        attempts: An answer that does not hold all codes of an image is thrown away and another one asked for, so many
            times in all; then the sample has failed.
    """

    attempts: Count


GREEDY = Sampling(do_sample=False, temperature=1.0, top_k=0, top_p=1.0)
OF_KIND: dict[str, type[AnswerSettings]] = {"report": AnswerSettings, "generation": DrawSettings}


def check_settings(kind: str, stated: Mapping[str, Any]) -> AnswerSettings:
    """The settings as stated, if a task of this kind has just these and each is possible.

    Raises:
        UserError: A setting is missing, unknown, of another type or out of bounds.

    >>> check_settings("probe", {})
    Traceback (most recent call last):
        ...
    unix_bench.errors.UserError: LLM-CXR writes reports and draws images; it has no settings for probe
    """
    if kind not in OF_KIND:
        raise UserError(f"LLM-CXR writes reports and draws images; it has no settings for {kind}")
    all_of, one_of = f"an LLM-CXR card's settings for {kind}", f"LLM-CXR's {kind} setting"
    settings = checked_settings(OF_KIND[kind], stated, all_of, one_of)
    if not settings.do_sample and settings.sampling != GREEDY:
        raise UserError("with do_sample false nothing is drawn: set temperature to 1.0, top_k to 0 and top_p to 1.0")
    if isinstance(settings, DrawSettings) and not settings.do_sample and settings.attempts > 1:
        raise UserError("with do_sample false every attempt is the same: set attempts to 1")
    return settings
