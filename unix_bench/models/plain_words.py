"""Keeping the libraries that load models from speaking to users: what matters is said in sentences here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging

from unix_bench.errors import UserError


@contextmanager
def in_plain_words(what: str, remedy: str = "copy the release's files again") -> Iterator[None]:
    """Turn whatever a library raises over a user's files into one sentence, a `UserError`."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the libraries say it in a dozen ways, of which none is meant for a user
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{what} ({why}): {remedy}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing bars and tables; what matters of them is said in sentences here."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
