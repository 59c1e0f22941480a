"""What is installed, which weights and data are found, and as fetched, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from unix_bench import fetch, registry
from unix_bench.cards import ModelCard, Released
from unix_bench.data import open_data
from unix_bench.errors import UserError
from unix_bench.execution import describe_environment
from unix_bench.features.places import find_biovil_t, find_medsiglip, find_rad_dino
from unix_bench.protocols.report import find_annotator, find_labeller
from unix_bench.readiness import readiness
from unix_bench.settings import NAMES, Settings

EXTRAS = {"accelerate": "diffusers", "pydicom": "dicom"}


@dataclass(frozen=True)
class Line:
    """What was looked for, whether all is well, and what was found or how to mend it."""

    subject: str
    fine: bool
    text: str


def examine(settings: Settings) -> list[Line]:
    """Look at everything a run may need; finding nothing wrong needs no network and no write."""
    found = [Line(name, True, text) for name, text in describe_environment().items()]
    for module, extra in EXTRAS.items():
        there = find_spec(module) is not None
        text = "installed" if there else f"not installed: pip install 'unix-bench[{extra}]'"
        found.append(Line(f"extra [{extra}]", there, text))
    found.append(_executors())
    for name in NAMES:
        origin = settings.origin.get(name, "default")
        found.append(Line(f"setting {name}", True, f"{getattr(settings, name) or 'not set'} ({origin})"))
    found += [_data(name, settings) for name in ("demo", *registry.set_names())]
    found += [_weights(card, settings) for card in registry.models().values()]
    found += [
        _instrument("CheXbert", lambda: find_labeller(settings), settings, ("chexbert", "bert-base-uncased")),
        _instrument(
            "RadGraph",
            lambda: find_annotator(settings, settings.radgraph_model),
            settings,
            (settings.radgraph_model,),
        ),
        _instrument("RAD-DINO", lambda: find_rad_dino(settings), settings, ("rad-dino",)),
        _instrument("BioViL-T", lambda: find_biovil_t(settings), settings, ("biovil-t",)),
        _instrument("MedSigLIP", lambda: find_medsiglip(settings), settings, ("medsiglip",), known_answers=False),
    ]
    return found


def _data(name: str, settings: Settings) -> Line:
    sets = {name: card for task in registry.tasks().values() for name, card in task.sets.items()}
    try:
        data = open_data(name, sets, settings)
    except UserError as error:
        return Line(f"data {name}", False, str(error))
    return Line(f"data {name}", not data.notes, "; ".join([f"{len(data.studies)} studies", *data.notes]))


def _executors() -> Line:
    """Who can do a run's batches; whether the cluster of --executor ray answers is not tried."""
    there = find_spec("ray") is not None
    ray = ", ray" if there else "; not ray, which is not installed: pip install 'unix-bench[ray]'"
    return Line("executors", there, f"inline, process{ray}")


def _instrument(
    name: str, find: Callable[[], object], settings: Settings, judges: Sequence[str], known_answers: bool = True
) -> Line:
    """A judge: `judges` are the names that `weights fetch` has for what it needs."""
    subject = f"weights of {name}"
    check = f": `unix-bench weights check {name.lower()}`" if known_answers else ""
    try:
        find()
        found = Line(subject, True, f"found; released ones are untested{check}")
    except UserError as error:
        found = Line(subject, False, str(error))
    known = fetch.judges()
    return _held_against_lock(
        found, [known[judge] for judge in judges if not _lies_elsewhere(judge, settings)], settings
    )


def _weights(card: ModelCard, settings: Settings) -> Line:
    return _held_against_lock(_found(card, settings), [card], settings)


def _found(card: ModelCard, settings: Settings) -> Line:
    """A model's weights, whatever a lock says."""
    found = readiness(card, settings)
    doubt = card.verified.get("weights") if found.ready else None
    return Line(f"weights of {card.title}", found.ready, f"{found.text}. {doubt}" if doubt else found.text)


def _held_against_lock(found: Line, cards: Sequence[Released], settings: Settings) -> Line:
    """What was found, with what `weights.lock` says of it; what is not there can be fetched."""
    fine, parts, absent = found.fine, [found.text.rstrip()], []
    for card in cards:
        try:
            pieces = fetch.pieces(card)
        except UserError as error:
            fine, parts = False, [*parts, str(error)]
            continue
        for key, piece in pieces.items():
            try:
                standing = fetch.standing(piece, settings, read=False)
            except UserError:
                absent.append(card.name)
                continue
            fine = fine and not standing.differing
            parts.append(_against_lock(card.name, key, standing))
    if not found.fine and absent:
        names = " ".join(dict.fromkeys(absent))
        parts[0] += f", or `unix-bench weights fetch {names}` on a machine with internet"
    return Line(found.subject, fine, "; ".join(parts))


def _against_lock(name: str, part: str, standing: fetch.Standing) -> str:
    """What the lock says of a card's own files, where `part` is empty, or of those of one of its parts."""
    if standing.differing:
        how = ", ".join(f"{Path(part, file)} is {what}" for file, what in standing.differing.items())
        return f"not as fetched: {how}; `unix-bench weights fetch {name}` mends that"
    files = len(standing.locked.files)
    return (
        f"weights.lock{f' of {part}/' if part else ''}: {standing.locked.commit[:8]}, {files} "
        f"{'file' if files == 1 else 'files'}, sizes as fetched (`unix-bench weights fetch --check {name}` reads them)"
    )


def _lies_elsewhere(judge: str, settings: Settings) -> bool:
    """Does a setting of its own say where a judge lies, so that the lock does not speak of it?"""
    places: dict[str, Path | None] = {
        "chexbert": settings.chexbert,
        "bert-base-uncased": settings.bert,
        "rad-dino": settings.rad_dino,
        "biovil-t": settings.biovil_t,
        "medsiglip": settings.medsiglip,
    }
    return places.get(judge, settings.radgraph) is not None
