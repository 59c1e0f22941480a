"""The command itself: every subcommand hangs on `main`, which turns what goes wrong into one line."""

from __future__ import annotations

import os
import signal
from typing import Any

import click

from unix_bench import __version__
from unix_bench.errors import UserError, unknown_name

INTERRUPTED = 130
OFFLINE_BY_DEFAULT = "unix_bench.offline_by_default"  # in a context: the hub is kept out by us, not by the user


class Bench(click.Group):
    """Turns what goes wrong into one line and an exit code; a user's mistake never shows a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"unix-bench: {error}", err=True)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("unix-bench: interrupted; the same command goes on from here", err=True)
            ctx.exit(INTERRUPTED)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown_name("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(cls=Bench, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="unix-bench")
def main() -> None:
    """Benchmark chest-X-ray models that write reports and draw images.

    Begin with: unix-bench run --model unix --task generation --per-pathology
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's word: end as Ctrl-C does, resumable
    click.get_current_context().meta[OFFLINE_BY_DEFAULT] = "HF_HUB_OFFLINE" not in os.environ
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched while a benchmark runs; see `weights fetch`
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
