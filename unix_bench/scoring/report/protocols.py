"""How a published report metric is computed: soundly, or as UniX's evaluation does, quirks included."""

from typing import Literal

Protocol = Literal["sound", "unix"]
