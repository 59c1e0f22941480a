"""Which code is at work: the package's version and, in a checkout, its commit."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from unix_bench import __version__
from unix_bench.records.schema import Code

CHECKOUT = Path(__file__).parents[2]
DECIDING = ("unix_bench", "tasks", "baselines")  # a change elsewhere changes no number
PATIENCE_S = 10.0


@cache
def describe_code() -> Code:
    """The code of this process. Where git cannot be asked, or the package is installed, the version alone."""
    if not (CHECKOUT / ".git").exists():
        return Code(version=__version__)
    commit = _git("rev-parse", "HEAD")
    changes = None if commit is None else _git("status", "--porcelain", "--", *DECIDING)
    return Code(version=__version__, commit=commit, dirty=None if changes is None else bool(changes))


def _git(*words: str) -> str | None:
    """What git says; None where it cannot be asked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook's lead elsewhere
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *words],
            env={**kept, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()
