"""The command line: words in, one call into the house, words out.

Heavy modules are imported by the command that needs them.
"""

from unix_bench.cli import board, compare, external, keep, look, records, run, state
from unix_bench.cli.group import main

__all__ = ["board", "compare", "external", "keep", "look", "main", "records", "run", "state"]
