"""Models that live in their own checkout and environment, behind a server that speaks JSON over its pipes."""

from unix_bench.models.external.adapter import (
    TEMPLATE,
    ExternalModel,
    introduce,
    picture,
    report_items,
    sent_image,
)
from unix_bench.models.external.command import TEMPLATE_COMMAND, check_command, expand, needs_folder
from unix_bench.models.external.server import Refused, Server, ServerError

__all__ = [
    "TEMPLATE",
    "TEMPLATE_COMMAND",
    "ExternalModel",
    "Refused",
    "Server",
    "ServerError",
    "check_command",
    "expand",
    "introduce",
    "needs_folder",
    "picture",
    "report_items",
    "sent_image",
]
