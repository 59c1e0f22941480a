"""The command line: words in, one call into the house, words out.

Heavy modules are imported by the command that needs them.
"""

from unix_bench.cli import keep, look, run
from unix_bench.cli.group import main

__all__ = ["keep", "look", "main", "run"]
