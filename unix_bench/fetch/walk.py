"""Fetching what one card and its parts name, and holding what lies there against the lock."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unix_bench.cards import Released
from unix_bench.errors import UserError
from unix_bench.fetch.hub import NOTES, download, is_of_hub, listing, visible
from unix_bench.fetch.lock import (
    LOCK,
    Lock,
    Locked,
    LockedFile,
    Say,
    alone,
    described,
    differing_files,
    read_lock,
    write_lock,
)
from unix_bench.fetch.sources import pieces, places
from unix_bench.settings import Settings
from unix_bench.weights import digest_file, stand_in_name


@dataclass(frozen=True)
class Standing:
    """What lies there, held against the lock.

    Attributes:
        folder: Where it lies; parts lie below.
        locked: What the lock says of the card's own repository, or if it has none or that is not there, of the first
            part that is.
        differing: Each file that is missing or not what the lock says, with how, and each part that the lock does not
            know; empty: whole.
        others: Files that lie there too, of which no lock speaks.
    """

    folder: Path
    locked: Locked
    differing: dict[str, str]
    others: list[str]


def fetch(card: Released, settings: Settings, say: Say) -> None:
    """Fetch what is missing or differs of a card and its parts, and note it in the lock; what is whole asks no network.

    Raises:
        UserError: The card names nothing to fetch, the hub does not give it, it is not what the hub or the lock says it
            is, or it cannot be written.
    """
    root, folder = places(card, settings)
    wanted = pieces(card)
    if not wanted:
        raise UserError(
            f"the card of '{card.name}' names no repository of the hub (hub_id): its weights are not fetched, put them "
            f"into {folder} yourself"
        )
    for place in dict.fromkeys([folder, *(root / piece.weights for piece in wanted.values())]):
        if stand_in := stand_in_name(place):
            raise UserError(f"{place} holds the stand-in weights {stand_in}: move them away, then fetch the real ones")
    with alone(root, say):
        for key, piece in wanted.items():
            try:
                _fetch_piece(piece, _taken(key, wanted), root, settings.cache, say)
            except UserError as error:
                if not key:
                    raise
                raise UserError(f"{piece.name}: {error}") from error
    if not card.hub_id:
        say(f"{card.name}: of its own it names no repository (hub_id): what it needs beside parts, put into {folder}")


def _fetch_piece(card: Released, taken: Collection[str], root: Path, cache: Path, say: Say) -> None:
    """Fetch one repository; in folders that are taken, others put their files."""
    lock, folder = read_lock(root), root / card.weights
    _refuse_shared_folder(card, lock, root)
    known = before = lock.weights.get(card.name)
    if known is not None and not known.is_of(card):
        say(f"{card.name}: its card no longer asks for what {LOCK} holds: fetched anew")
        known = None
    if known is not None:
        differing = differing_files(folder, known, cache)
        if not differing:
            say(f"{card.name}: already there, {described(known)}")
            return
        for name, how in differing.items():
            say(f"{card.name}: {name} is {how}: fetched again")
    commit, wanted = listing(card, known.commit if known else card.revision, taken, say)
    needed = [name for name, entry in wanted.items() if not is_of_hub(folder / name, entry, cache)]
    _refuse_foreign_files(needed, before, folder)
    if needed:
        download(card, commit, {name: wanted[name] for name in needed}, folder, cache, say)
    files = {
        name: LockedFile(sha256=digest_file(folder / name, cache), bytes=(folder / name).stat().st_size)
        for name in wanted
    }
    if known is not None and files != known.files:
        odd = sorted(name for name in {*files, *known.files} if files.get(name) != known.files.get(name))
        raise UserError(
            f"{card.hub_id} no longer holds at {commit} what {root / LOCK} says ({', '.join(odd)}): ask where that "
            "lock came from, or take the entry out of it to fetch what is there now"
        )
    locked = Locked(
        folder=card.weights,
        hub_id=card.hub_id,
        revision=card.revision,
        patterns=card.files,
        commit=commit,
        files=files,
    )
    write_lock(root, Lock(weights={**lock.weights, card.name: locked}))
    say(f"{card.name}: fetched into {folder}, {described(locked)}")


def standing(card: Released, settings: Settings, read: bool = True) -> Standing:
    """Hold what lies there of a card and its parts against the lock, without network.

    Args:
        card: Of a model or judge, or one of its `pieces`.
        settings: Say where weights lie, and where digests of big files are kept: a file is read again only if its size
            or time of change is another.
        read: False: compare names and sizes alone.

    Raises:
        UserError: The lock does not know the name, or nothing of it lies there.
    """
    root, folder = places(card, settings)
    lock = read_lock(root)
    wanted = pieces(card)
    known = {key: lock.weights[piece.name] for key, piece in wanted.items() if piece.name in lock.weights}
    if not known:
        name = card.name.partition("/")[0]
        raise UserError(f"{root / LOCK} knows nothing of '{card.name}': `unix-bench weights fetch {name}` first")
    if not any((root / locked.folder / name).exists() for locked in known.values() for name in locked.files):
        raise UserError(f"nothing of '{card.name}' lies in {folder}: fetch it, or copy the folder from where it was")
    differing: dict[str, str] = {}
    for key, piece in wanted.items():
        if key in known:
            found = differing_files(root / known[key].folder, known[key], settings.cache if read else None)
            differing |= {str(PurePosixPath(key, name)): how for name, how in found.items()}
        else:
            differing[key or piece.hub_id] = f"not in {LOCK}"
    if "" in known:  # where it was fetched to, whatever the card now says
        folder = root / known[""].folder
    spoken_of = {root / other.folder / name for other in lock.weights.values() for name in other.files}
    others = [name for name in visible(_below(folder)) if folder / name not in spoken_of]
    return Standing(folder, next(iter(known.values())), differing, others)


def _taken(key: str, wanted: Collection[str]) -> list[str]:
    """Folders, below that of one piece of a card, where other pieces put their files.

    >>> _taken("", ["", "base", "base/vae"]), _taken("base", ["", "base", "base/vae"])
    (['base', 'base/vae'], ['vae'])
    """
    places = [PurePosixPath(other) for other in wanted if other != key]
    return [str(place.relative_to(key)) for place in places if place.parts and place.is_relative_to(key)]


def _refuse_shared_folder(card: Released, lock: Lock, root: Path) -> None:
    for name, other in lock.weights.items():
        if name != card.name and other.folder == card.weights and other.hub_id != card.hub_id:
            raise UserError(
                f"{root / card.weights} holds '{name}' of {other.hub_id}: give '{card.name}' a folder of its own"
            )


def _refuse_foreign_files(needed: list[str], before: Locked | None, folder: Path) -> None:
    """What would be replaced must have come from here: somebody may keep weights of their own under these names."""
    for name in needed:
        fetched = (before and name in before.files) or (folder / NOTES / f"{name}.metadata").is_file()
        if (folder / name).is_file() and not fetched:
            raise UserError(
                f"{folder / name} is not the hub's, and was not fetched by this command: move it away first"
            )


def _below(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
