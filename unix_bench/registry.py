"""From a name to its card, and from a card to the class that runs it, imported only then."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from unix_bench.cards import ExternalMetricCard, ModelCard, TaskCard, read_cards
from unix_bench.errors import UserError, unknown_name

# Family -> class; packages add theirs under the entry point group of the same name.
FAMILIES = {
    "unix": "unix_bench.models.unix.adapter:UniXAdapter",
    "recorded": "unix_bench.models.recorded:Recorded",
    "reference-point": "unix_bench.reference_points:ReferenceSource",  # no model: `plan_run` sees to it
    "radedit": "unix_bench.models.radedit.adapter:RadEdit",
    "llava-rad": "unix_bench.models.llava_rad.adapter:LlavaRad",
    "llm-cxr": "unix_bench.models.llm_cxr.adapter:LlmCxr",
    "diffusers": "unix_bench.models.diffusion.adapter:DiffusionModel",
    "external": "unix_bench.models.external:ExternalModel",
    "vlm": "unix_bench.models.vlm.adapter:VisionLanguageModel",
}
ENTRY_POINTS = "unix_bench.models"
METRIC_ENTRY_POINTS = "unix_bench.metrics"


def tasks() -> dict[str, TaskCard]:
    """All task cards by name."""
    return read_cards("tasks", TaskCard)


def models() -> dict[str, ModelCard]:
    """All model cards by name.

    Raises:
        UserError: A card names a family that nothing provides.
    """
    cards, known = read_cards("baselines", ModelCard), families()
    for card in cards.values():
        if card.family not in known:
            raise UserError(f"card '{card.name}': {unknown_name('family', card.family, known)}")
    return cards


def families() -> dict[str, str]:
    """Family -> `module:class`, the built-in ones and those of installed plug-ins."""
    plugged = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return {**plugged, **FAMILIES}


def task(name: str) -> TaskCard:
    """The task of that name or alias."""
    cards = tasks()
    names = {alias: card for card in cards.values() for alias in (card.name, *card.aliases)}
    if name not in names:
        raise unknown_name("task", name, names)
    return names[name]


def set_names() -> list[str]:
    """Names of all test sets that some task card defines."""
    return sorted({name for card in tasks().values() for name in card.sets})


def model(name: str) -> ModelCard:
    """The model of that name."""
    cards = models()
    if name not in cards:
        raise unknown_name("model", name, cards)
    return cards[name]


def model_class(family: str) -> Any:
    """Import the class that runs a family of models.

    Raises:
        UserError: A plug-in's class cannot be imported.
    """
    return _import(families()[family], f"model family '{family}'")


def metric_plugins() -> dict[str, str]:
    """Metric -> `module:object` of installed plug-ins."""
    return {point.name: point.value for point in entry_points(group=METRIC_ENTRY_POINTS)}


def metric_plugin(name: str) -> Any:
    """Import a plug-in's metric.

    Raises:
        UserError: It cannot be imported.
    """
    return _import(metric_plugins()[name], f"metric plug-in '{name}'")


def external_metrics() -> list[ExternalMetricCard]:
    """Cards of the metrics that commands of the user's compute."""
    return list(read_cards("metrics", ExternalMetricCard).values())


def _import(place: str, what: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{what} cannot be loaded from {place}: {error}") from error
