"""What the hub holds of a card, and bringing it here through huggingface_hub; its errors become one sentence.

A card without `files` gets all that its repository holds, but for hidden files, and for `.bin`, `.h5` and `.msgpack`
where the same folder of the repository holds a `.safetensors`, which they repeat.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from unix_bench.cards import Released
from unix_bench.errors import UserError
from unix_bench.fetch.lock import COMMIT, LOCK, Say, amount, stays_below
from unix_bench.weights import FULL, digest_file

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

REPEATED = (".bin", ".h5", ".msgpack")
NOTES = Path(".cache/huggingface/download")  # of the library, below a folder that it downloaded into
# What a killed download leaves, under a name of its own that no later one goes on with.
STRAY = re.compile(r"\.[0-9a-f]{8}\.incomplete$")


def refuse_offline() -> None:
    """Stop where the user forbade the network.

    Raises:
        UserError: HF_HUB_OFFLINE, or its older name TRANSFORMERS_OFFLINE, is set.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "HF_HUB_OFFLINE=1 is set (or TRANSFORMERS_OFFLINE): unset it on a machine with internet, or copy the "
            "weights folder from one; `weights fetch --check` needs no internet"
        )


def listing(card: Released, revision: str, taken: Collection[str], say: Say) -> tuple[str, dict[str, RepoFile]]:
    """The commit of a revision, and what the hub says of each file that is wanted of it.

    Args:
        card: Whose repository it is.
        revision: Branch, tag or commit.
        taken: Folders below the card's where another repository's files go; files of this one there are not wanted.
        say: Told of patterns that nothing is called by.

    Raises:
        UserError: The hub does not say it, or nothing there is wanted.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with _in_plain_words(card):
        api = HfApi()
        pinned = re.fullmatch(COMMIT, revision)
        commit = revision if pinned else api.model_info(card.hub_id, revision=revision).sha or ""
        tree = api.list_repo_tree(card.hub_id, recursive=True, revision=commit)
        held = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    for name in held:
        if not stays_below(name):
            raise UserError(f"{card.hub_id} holds a file named '{name}', which leaves its folder: do not trust it")
    ours = (name for name in held if not any(name.startswith(f"{place}/") for place in taken))
    wanted = _chosen(ours, card.files)
    unmatched = [pattern for pattern in card.files if not any(fnmatchcase(name, pattern) for name in wanted)]
    if not wanted:
        raise UserError(
            f"{card.hub_id} holds at {commit} none of the files of '{card.name}' "
            f"({', '.join(unmatched) or 'it is empty'}): see `files` and `revision` of its card"
        )
    if unmatched:
        say(f"{card.name}: {card.hub_id} holds no {', no '.join(unmatched)}")
    return commit, {name: held[name] for name in wanted}


def _chosen(names: Iterable[str], patterns: list[str]) -> list[str]:
    """Which files of a repository are fetched; see the head of this file.

    >>> _chosen(["a.safetensors", "a.bin", "vae/b.bin", ".gitattributes"], [])
    ['a.safetensors', 'vae/b.bin']
    >>> _chosen(["a.safetensors", "a.bin", "vae/b.bin"], ["*.bin"])
    ['a.bin', 'vae/b.bin']
    """
    seen = visible(names)
    if patterns:
        return [name for name in seen if any(fnmatchcase(name, pattern) for pattern in patterns)]
    safe = {PurePosixPath(name).parent for name in seen if name.endswith(".safetensors")}
    return [name for name in seen if not (name.endswith(REPEATED) and PurePosixPath(name).parent in safe)]


def visible(names: Iterable[str]) -> list[str]:
    """Names of files none of which is hidden or lies in a hidden folder, sorted."""
    return sorted(name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts))


def download(card: Released, commit: str, needed: dict[str, RepoFile], folder: Path, cache: Path, say: Say) -> None:
    """Download files, in place of what has their names, and see that each then is what the hub states.

    Raises:
        UserError: There is no room, the hub does not give a file, or it is another than it states.
    """
    from huggingface_hub import snapshot_download

    there = [folder / name for name in needed if (folder / name).is_file()]
    size = sum(_size(entry) for entry in needed.values())
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.is_dir())).free
    if size > free + sum(path.stat().st_size for path in there):
        raise UserError(
            f"{folder} has no room: {size / 1e6:.1f} MB are to be fetched, {free / 1e6:.1f} MB are free: "
            "free space there or choose another weights folder"
        )
    say(f"{card.name}: fetching {amount(len(needed), size)} of {card.hub_id} at {commit}")
    with _in_plain_words(card):
        for path in there:  # a file that the library itself fetched once, it would trust
            path.unlink()
        for stray in (folder / NOTES).rglob("*.incomplete"):
            if STRAY.search(stray.name):
                stray.unlink(missing_ok=True)
        snapshot_download(
            card.hub_id, revision=commit, local_dir=folder, allow_patterns=[escape(name) for name in needed]
        )
    for name, entry in needed.items():
        if not (folder / name).is_file():
            raise UserError(f"{card.hub_id} did not give {name}: give the same command again")
        if not is_of_hub(folder / name, entry, cache):
            with suppress(OSError):
                (folder / name).unlink()
            raise UserError(
                f"{name} came otherwise than {card.hub_id} states its digest, and was removed: give the same command "
                "again; if that happens twice, something between here and the hub changes files"
            )


def is_of_hub(path: Path, entry: RepoFile, cache: Path) -> bool:
    """Is a file there, and what the hub states: the sha256 of a big file, git's name for the content of a small one?"""
    try:
        if not path.is_file() or path.stat().st_size != _size(entry):
            return False
        if entry.lfs:
            return digest_file(path, cache) == entry.lfs.sha256
        content = path.read_bytes()
    except OSError:
        return False
    named = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return named == entry.blob_id


def _size(entry: RepoFile) -> int:
    return entry.lfs.size if entry.lfs else entry.size


@contextmanager
def _in_plain_words(card: Released) -> Iterator[None]:
    """Turn what the hub's library raises into one sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    # HTTPError of the library's httpx, whichever that is.
    transport = cast("type[Exception]", HfHubHTTPError.__bases__[0])
    try:
        yield
    except (transport, OSError, ValueError, RuntimeError) as error:
        raise UserError(_sentence(error, card)) from error


def _sentence(error: BaseException, card: Released) -> str:
    from huggingface_hub import constants, errors

    while isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    hub, repository = constants.ENDPOINT, card.hub_id
    token = "set HF_TOKEN to a token of yours that may read it, or run `hf auth login`"
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, errors.GatedRepoError):
        return f"{repository} is gated: accept its licence at {hub}/{repository}, then {token}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{hub} shows no repository {repository}: see hub_id of '{card.name}', or if it is private, {token}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} has no revision '{card.revision}': see `revision` of '{card.name}', and {LOCK}"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"{hub} refuses {repository} ({status}): accept its licence at {hub}/{repository}, then {token}"
        if status == 429 or status >= 500:
            return f"{hub} answers {status} for {repository}: try again later, the same command goes on"
        return f"{hub} answers {status} for {repository}: is it a hub (HF_ENDPOINT)? Is hub_id of '{card.name}' right?"
    if isinstance(error, OSError) and error.errno in FULL:
        return f"no room for {repository}: {error.strerror}: free space, then the same command goes on"
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"cannot write {error.filename}: {error.strerror}"
    if isinstance(error, errors.HFValidationError):
        return f"'{repository}' is no name of a repository: see hub_id of '{card.name}'"
    if isinstance(error, OSError | ValueError):
        return f"{repository} could not be fetched: {first}: the same command goes on"
    return f"the connection to {hub} failed ({first}): fetch on a machine with internet; the same command goes on"
