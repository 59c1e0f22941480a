"""What is installed, which weights and data are found, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from unix_bench import registry
from unix_bench.data import open_data
from unix_bench.errors import UserError
from unix_bench.execution import describe_environment
from unix_bench.features.places import find_biovil_t, find_medsiglip, find_rad_dino
from unix_bench.protocols.report import find_annotator, find_labeller
from unix_bench.settings import FILE, NAMES, PREFIX, Settings
from unix_bench.weights import stand_in_name

EXTRAS = {"accelerate": "diffusers", "ray": "ray", "pydicom": "dicom"}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked for, whether all is well, and what was found or how to mend it."""

    subject: str
    fine: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything a run may need; finding nothing wrong needs no network and no write."""
    found = [Finding(name, True, text) for name, text in describe_environment().items()]
    for module, extra in EXTRAS.items():
        there = find_spec(module) is not None
        text = "installed" if there else f"not installed: pip install 'unix-bench[{extra}]'"
        found.append(Finding(f"extra [{extra}]", there, text))
    for name in NAMES:
        origin = settings.origin.get(name, "default")
        found.append(Finding(f"setting {name}", True, f"{getattr(settings, name) or 'not set'} ({origin})"))
    found += [_data(name, settings) for name in ("demo", *registry.set_names())]
    found += [_weights(name, settings) for name in registry.models()]
    found += [
        _instrument("CheXbert", lambda: find_labeller(settings)),
        _instrument("RadGraph", lambda: find_annotator(settings, settings.radgraph_model)),
        _instrument("RAD-DINO", lambda: find_rad_dino(settings)),
        _instrument("BioViL-T", lambda: find_biovil_t(settings)),
        _instrument("MedSigLIP", lambda: find_medsiglip(settings), known_answers=False),
    ]
    return found


def _data(name: str, settings: Settings) -> Finding:
    sets = {name: card for task in registry.tasks().values() for name, card in task.sets.items()}
    try:
        data = open_data(name, sets, settings)
    except UserError as error:
        return Finding(f"data {name}", False, str(error))
    return Finding(f"data {name}", not data.notes, "; ".join([f"{len(data.studies)} studies", *data.notes]))


def _instrument(name: str, find: Callable[[], object], known_answers: bool = True) -> Finding:
    subject = f"weights of {name}"
    try:
        find()
    except UserError as error:
        return Finding(subject, False, str(error))
    check = f": `unix-bench weights check {name.lower()}`" if known_answers else ""
    return Finding(subject, True, f"found; released ones are untested{check}")


def _weights(name: str, settings: Settings) -> Finding:
    card = registry.model(name)
    subject = f"weights of {card.title}"
    if settings.weights is None:
        how = f"set {PREFIX}WEIGHTS, or `weights` in {FILE}, to a folder with {card.weights}/ (from {card.hub_id})"
        return Finding(subject, False, f"not configured, demo weights are used: {how}")
    directory = settings.weights / card.weights
    if not directory.is_dir():
        return Finding(subject, False, f"{directory} is missing: put the files of {card.hub_id} there")
    try:
        registry.model_class(card.family).check_weights(directory)
    except UserError as error:
        return Finding(subject, False, str(error))
    stand_in = stand_in_name(directory)
    return Finding(subject, True, f"{directory}" + (f" (stand-in: {stand_in})" if stand_in else f". {card.verified}"))
