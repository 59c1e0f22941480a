"""`weights` and `cache`: what lies on this machine's disk."""

from __future__ import annotations

from pathlib import Path

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import FOLDER, json_option, settings_from
from unix_bench.cli.output import show_table
from unix_bench.errors import TooManyFailures, UserError


@main.group()
def weights() -> None:
    """Make stand-in weights, or try real ones."""


@weights.command("demo")
@click.option("--out", type=FOLDER, required=True, help="New folder for the weights.")
@click.option("--model", default="unix", show_default=True, help="Whose layout.")
def weights_demo(out: Path, model: str) -> None:
    """Write tiny random weights in the layout of the real ones."""
    from unix_bench import registry
    from unix_bench.weights import made_once

    if out.exists():
        raise UserError(f"{out} exists: name a folder that does not")
    family = registry.model_class(registry.model(model).family)
    click.echo(f"wrote {made_once(out, family.write_demo_weights)}")


@weights.command("check")
@click.argument("what", type=click.Choice(["chexbert", "radgraph", "rad-dino", "biovil-t"]))
@json_option
def weights_check(what: str, as_json: bool) -> None:
    """Ask a judge's real weights what they must know; exit 1 if an answer is wrong."""
    from unix_bench import known_answers

    ask = {
        "chexbert": known_answers.ask_chexbert,
        "radgraph": known_answers.ask_radgraph,
        "rad-dino": known_answers.ask_rad_dino,
        "biovil-t": known_answers.ask_biovil_t,
    }[what]
    answers = ask(settings_from())
    rows = [
        {"": "ok" if one.right else "WRONG", "text": one.text, "expected": one.expected, "given": one.given}
        for one in answers
    ]
    show_table(rows, as_json)
    wrong = sum(not one.right for one in answers)
    if wrong:
        raise TooManyFailures(f"{wrong} of {len(answers)} answers are not those of {what}: are these its real weights?")


@main.group()
def cache() -> None:
    """Look at, or empty, what is kept so that it need not be computed again."""


@cache.command("info")
@json_option
def cache_info_(as_json: bool) -> None:
    """Print what the cache holds, and how much of it."""
    from unix_bench.storage import cache_info

    show_table(cache_info(settings_from()), as_json)


@cache.command("clear")
@click.argument("what", required=False)
def cache_clear(what: str | None) -> None:
    """Remove everything, or WHAT alone (as `cache info` names it); no result is lost, only time."""
    from unix_bench.storage import clear_cache

    files, size = clear_cache(settings_from(), what)
    click.echo(f"removed {files} files, {size / 1e6:.1f} MB")
