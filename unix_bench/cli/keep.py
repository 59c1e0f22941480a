"""`weights` and `cache`: what lies on this machine's disk."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unix_bench.cli.group import INTERRUPTED, OFFLINE_BY_DEFAULT, main
from unix_bench.cli.options import FOLDER, json_option, settings_from
from unix_bench.cli.output import show_table
from unix_bench.errors import AnswerIsNo, UserError, unknown_name

if TYPE_CHECKING:
    from unix_bench.cards import Released
    from unix_bench.settings import Settings


@main.group()
def weights() -> None:
    """Make stand-in weights, fetch real ones, or try them."""


@weights.command("demo")
@click.option("--out", type=FOLDER, required=True, help="New folder for the weights.")
@click.option("--model", default="unix", show_default=True, help="Whose layout.")
def weights_demo(out: Path, model: str) -> None:
    """Write tiny random weights in the layout of the real ones."""
    from unix_bench import registry
    from unix_bench.model_folders import demo_weights

    if out.exists():
        raise UserError(f"{out} exists: name a folder that does not")
    card = registry.model(model)
    click.echo(f"wrote {demo_weights(card, out)}")


@weights.command("check")
@click.argument("what", metavar="NAME")
@click.option("--allow-external", is_flag=True, help="Run the command that a model's card names.")
@click.option("--weights", "stated", type=FOLDER, help="A model's folder, or the one that holds it.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:I; for a model.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16; for a model.")
@json_option
def weights_check(what: str, allow_external: bool, stated: Path | None, device: str, dtype: str, as_json: bool) -> None:
    """Ask real weights what they must know; exit 1 if an answer is wrong.

    NAME is a judge (chexbert, radgraph, rad-dino, biovil-t), or a model: of one that its card runs by a command, the
    server is asked whether it keeps to the protocol (docs/external.md), of any other, whether its files would load.
    """
    from unix_bench import known_answers, registry

    judges = {
        "chexbert": known_answers.ask_chexbert,
        "radgraph": known_answers.ask_radgraph,
        "rad-dino": known_answers.ask_rad_dino,
        "biovil-t": known_answers.ask_biovil_t,
    }
    if what in judges:
        answers = judges[what](settings_from())
    elif what in registry.models():
        answers = known_answers.ask_model(registry.model(what), stated, device, dtype, allow_external, settings_from())
    else:
        raise unknown_name("model or judge", what, [*judges, *registry.models()])
    rows = [
        {"": "ok" if one.right else "WRONG", "text": one.text, "expected": one.expected, "given": one.given}
        for one in answers
    ]
    show_table(rows, as_json)
    wrong = sum(not one.right for one in answers)
    if wrong:
        hint = "are these its real weights?" if what in judges else "see the table"
        raise AnswerIsNo(f"{wrong} of {len(answers)} answers are not those of {what}: {hint}")


@weights.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--check", is_flag=True, help="Fetch nothing: hold what lies there against weights.lock; exit 1 if it differs."
)
@click.pass_context
def weights_fetch(context: click.Context, names: tuple[str, ...], check: bool) -> None:
    """Fetch released weights from the Hugging Face hub into UNIX_BENCH_WEIGHTS.

    NAME is a model, as `list models` has it, or a judge: chexbert, bert-base-uncased, radgraph, rad-dino, ... With a
    model come its parts, which its card takes from repositories of their own. What was fetched stands in weights.lock
    there; for compute nodes without internet, copy the folder and --check it.
    """
    from unix_bench import fetch

    settings = settings_from()
    cards = [fetch.released(name) for name in dict.fromkeys(names)]
    if check:
        _check_weights(cards, settings)
        return
    # The library reads both when it is imported, which nothing before this line does.
    if context.meta[OFFLINE_BY_DEFAULT]:
        del os.environ["HF_HUB_OFFLINE"]
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    fetch.refuse_offline()
    with _leaving_at_once():
        for card in cards:
            fetch.fetch(card, settings, say=click.echo)


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Let Ctrl-C and a scheduler's SIGTERM end the process: the library would first finish the files it is at."""

    def leave(*_: object) -> None:
        click.echo("unix-bench: interrupted; the same command goes on from here", err=True)
        os._exit(INTERRUPTED)  # leaves what a killed fetch leaves, which the next one clears away

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_weights(cards: list[Released], settings: Settings) -> None:
    from unix_bench.fetch import pieces, standing

    absent, wrong = [], []
    for card in cards:
        try:
            found = standing(card, settings)
        except UserError as error:
            click.echo(f"{card.name}: {error}")
            absent.append(card.name)
            continue
        if found.differing:
            wrong.append(card.name)
        for name, how in found.differing.items():
            click.echo(f"{card.name}: {name} is {how}")
        if found.others:
            click.echo(f"{card.name}: not in weights.lock, but also there: {', '.join(found.others)}")
        if not found.differing:
            origins = [standing(piece, settings, read=False).locked for piece in pieces(card).values()]
            said = ", ".join(f"{one.hub_id} at {one.commit}" for one in origins)
            click.echo(f"{card.name}: whole, as fetched from {said}")
    if absent:
        raise UserError(f"not there: {', '.join(absent)}")
    if wrong:
        raise AnswerIsNo(f"not what weights.lock says: {', '.join(wrong)}; `weights fetch` mends that")


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
