"""Models under test: one file a family, behind the requests of `base`."""

import inspect

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.models.base import (
    ImageDrawer,
    ImageRequest,
    Loadable,
    PairLosses,
    Probe,
    ProbePair,
    ReportRequest,
    ReportWriter,
)
from unix_bench.models.settings import checked_settings

__all__ = [
    "ImageDrawer",
    "ImageRequest",
    "Loadable",
    "PairLosses",
    "Probe",
    "ProbePair",
    "ReportRequest",
    "ReportWriter",
    "checked_settings",
    "model_family",
]


def model_family(name: str) -> type[Loadable]:
    """The class that runs a family of models.

    Raises:
        UserError: A plug-in's class cannot be imported, or lacks what every family has.
    """
    family: type[Loadable] = registry.model_class(name)
    own = vars(Loadable)
    asked = [member for member in {**Loadable.__annotations__, **own} if not member.startswith("_")]
    # What a class only inherits from Loadable does nothing.
    lacking = [member for member in asked if inspect.getattr_static(family, member, own.get(member)) is own.get(member)]
    if lacking:
        place = registry.families()[name]
        raise UserError(f"model family '{name}': {place} lacks {', '.join(lacking)} (see docs/adding.md, a new family)")
    return family
