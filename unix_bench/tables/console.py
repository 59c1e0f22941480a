"""Where tables are printed."""

from rich.console import Console


def wide_console() -> Console:
    """As wide as the terminal; where there is none, wide enough for every column."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
