"""Where a model's files lie: as somebody says, below the weights folder, or a stand-in made on the spot."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models import Loadable, model_family
from unix_bench.models.external import needs_folder
from unix_bench.settings import Settings
from unix_bench.weights import made_once, mark_stand_in, stand_in_name


def refuse_external(card: ModelCard, allowed: bool) -> None:
    """See that a command which a card names may be run.

    Raises:
        UserError: Nobody has allowed it.
    """
    if card.command and not allowed:
        raise UserError(
            f"model '{card.name}' is run by a command that its card names: say --allow-external to allow that"
        )


def find_weights(card: ModelCard, family: type[Loadable], stated: Path | None, settings: Settings) -> Path:
    """The directory of a model's weights: as stated, else below the weights folder, else demo weights.

    Raises:
        UserError: A place was named and the weights are not there.
    """
    if stated is not None:
        place = _from_hub_cache(stated)
        inner = place / card.weights
        directory = inner if inner.is_dir() else place
        if not directory.is_dir():
            raise UserError(
                f"--weights {stated} is neither a folder nor a repository in the local cache of huggingface_hub: give "
                f"the folder that holds {card.title}'s files"
            )
        return directory
    if settings.weights is not None:
        directory = settings.weights / card.weights
        if not directory.is_dir():
            source = f" ({card.hub_id})" if card.hub_id else ""
            raise UserError(
                f"{directory} does not exist: put the weights of {card.title}{source} there, "
                "or unset the weights folder to run with demo weights"
            )
        return directory
    directory = demo_weights(card, settings.cache / "demo-weights" / f"{card.name}-{family.demo_version}")
    print(
        f"No weights configured: {card.title} runs with random demo weights, and its numbers mean nothing "
        "(`unix-bench doctor` tells how to configure real ones).",
        file=sys.stderr,
    )
    return directory


def _from_hub_cache(stated: Path) -> Path:
    """Where the local cache of huggingface_hub keeps the repository `ORG/NAME`, if there is no such folder here."""
    if stated.is_dir() or stated.is_absolute() or len(stated.parts) != 2:
        return stated
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    with suppress(HFValidationError, LocalEntryNotFoundError):
        return Path(snapshot_download(stated.as_posix(), local_files_only=True))
    return stated


def find_command(card: ModelCard, family: type[Loadable], stated: Path | None, settings: Settings) -> Path:
    """The folder that a model's command runs in: its weights' if it speaks of them, else as stated, or this one.

    Raises:
        UserError: It is not there.
    """
    if needs_folder(card):
        return find_weights(card, family, stated, settings)
    if stated is not None and not stated.is_dir():
        raise UserError(f"--weights {stated} is not a folder: give the one that {card.title}'s command runs in")
    return stated or Path()


def demo_weights(card: ModelCard, directory: Path) -> Path:
    """A model's tiny stand-in, made where it is absent.

    Raises:
        UserError: There can be none, or the place cannot be written to.
    """
    if not card.weights:
        raise UserError(f"'{card.name}' has no weights, and needs none")
    family = model_family(card.family)

    def make(place: Path) -> None:
        family.write_demo_weights(place, card)
        if stand_in_name(place) is None:
            mark_stand_in(place, f"{card.name}-demo")

    return made_once(directory, make)
