"""`external`: models that live in an environment of their own."""

from __future__ import annotations

from pathlib import Path

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import FOLDER
from unix_bench.errors import UserError


@main.group()
def external() -> None:
    """Run models that live in their own checkout and environment (docs/external.md)."""


@external.command("template")
@click.option("--out", type=FOLDER, help="New file.  [default: standard output]")
def template(out: Path | None) -> None:
    """Write a server's template: one file of standard Python, to be filled in beside the model."""
    from unix_bench.models.external import TEMPLATE

    text = TEMPLATE.read_text(encoding="utf-8")
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as stream:  # what is filled in already is nobody's to overwrite
            stream.write(text)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}: name a file that does not exist") from error
    click.echo(f"wrote {out}")
