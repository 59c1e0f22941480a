"""What can be fetched by name, and where it goes: model cards, and the judges of judges.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePosixPath

from unix_bench import registry
from unix_bench.cards import ModelCard, Released
from unix_bench.errors import UserError, unknown_name
from unix_bench.fetch.lock import stays_below
from unix_bench.settings import FILE, PREFIX, Settings


def judges() -> dict[str, Released]:
    """Cards of the judges by name, as `judges.toml` has them."""
    path = Path(__file__).with_name("judges.toml")
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Released.model_validate({"name": name, **table}) for name, table in tables.items()}


def released(name: str) -> Released:
    """The card of a model or judge.

    Raises:
        UserError: Nothing is called so, it has no weights, or a model's card took a judge's name.
    """
    models, ours = registry.models(), judges()
    if both := models.keys() & ours.keys():
        raise UserError(f"a model's card is named '{min(both)}', which is a judge: give it another name")
    known: dict[str, Released] = {**models, **ours}
    if name not in known:
        raise unknown_name("model or judge", name, known)
    card = known[name]
    if not card.weights and not pieces(card):
        raise UserError(
            f"'{name}' has no weights to fetch: its card names neither a folder nor a repository of the hub"
        )
    return card


def pieces(card: Released) -> dict[str, Released]:
    """A card's repositories, each as a card that names one: its own first, where it has one, then each part's.

    Returns:
        Folder below the card's, "" for its own -> the piece; that of the part `base` of `mine` is named `mine/base`.

    Raises:
        UserError: A part has no repository, or no folder below the card's.
    """
    found: dict[str, Released] = {}
    if card.hub_id:
        kept = {name: getattr(card, name) for name in Released.model_fields}
        found[""] = Released(**kept)
    for key, part in (card.parts if isinstance(card, ModelCard) else {}).items():
        place = PurePosixPath(key)
        hidden = any(step.startswith(".") for step in place.parts)
        if not stays_below(key) or hidden or str(place) != key:
            raise UserError(
                f"'{card.name}': its part '{key}' must be named by a folder below '{card.weights}', not hidden"
            )
        if not part.hub_id:
            raise UserError(f"'{card.name}': its part '{key}' names no repository of the hub (hub_id)")
        found[key] = Released(
            name=f"{card.name}/{key}",
            title=card.title,
            weights=str(PurePosixPath(card.weights) / place),
            hub_id=part.hub_id,
            revision=part.revision,
            files=part.files,
        )
    return found


def places(card: Released, settings: Settings) -> tuple[Path, Path]:
    """The weights folder, and the card's below it.

    Raises:
        UserError: No weights folder is set, or the card names a place outside it.
    """
    if settings.weights is None:
        raise UserError(
            f"no weights folder is set: set {PREFIX}WEIGHTS, or `weights` in {FILE}, to the folder to fetch into"
        )
    if not stays_below(card.weights):
        raise UserError(f"'{card.name}': its weights folder '{card.weights}' must be a path below the weights folder")
    return settings.weights, settings.weights / card.weights
