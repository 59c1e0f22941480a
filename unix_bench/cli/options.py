"""Options that several commands share, and settings with what flags say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unix_bench.settings import Settings

FOLDER = click.Path(path_type=Path)
ON_ERROR = ("drop-pair", "fail", "score-zero")
SKIPPING = ("drop-pair", "score-zero")  # said aloud, they let a damaged image be a failed sample


def admits_bad_images(on_error: str | None, protocol: str | None) -> bool:
    """May a damaged image of the data be a failed sample? As published, it is a black one."""
    return on_error in SKIPPING or protocol == "chexgenbench"


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
results_option = click.option("--results", type=FOLDER, help="Folder of the runs.  [default: results/runs]")
task_option = click.option("--task", help="report (or understanding), generation or probe.")
data_option = click.option("--data", help="Name of a data set, or a folder with a manifest.csv.", metavar="NAME|PATH")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N eligible studies.", metavar="N"
)


def progress_option(command: Any) -> Any:
    """`--progress`, and `--quiet` for none of it."""
    shown = click.option(
        "--progress",
        type=click.Choice(["auto", "json", "none"]),
        default="auto",
        show_default=True,
        help="On standard error. auto: a bar on a terminal, a few lines in a log; json: an object a line.",
    )
    return shown(click.option("--quiet", "progress", flag_value="none", help="No progress.")(command))


def scoring_options(command: Any) -> Any:
    """The options of every command that scores."""
    options = (
        click.option(
            "--protocol",
            help="Way of scoring: sound, or as published (report: unix; generation: chexgenbench).  [default: sound]",
        ),
        click.option("--per-pathology", is_flag=True, help="A row for each of the 14 CheXpert findings too."),
        click.option(
            "--uncertain",
            type=click.Choice(["negative", "positive"]),
            default="negative",
            show_default=True,
            help="What an uncertain label (-1) counts as in the rows of findings.",
        ),
        click.option(
            "--training-data",
            metavar="NAME|PATH",
            help="Images the models were trained on, for memorisation and the shift between splits.",
        ),
        click.option(
            "--on-error",
            type=click.Choice(ON_ERROR),
            help="What a failed sample counts as. Given, drop-pair and score-zero admit damaged images, which stop the "
            "run otherwise.  [default: drop-pair; as published under unix and chexgenbench]",
        ),
        click.option(
            "--max-failed",
            type=click.FloatRange(0, 1),
            default=0.01,
            show_default=True,
            metavar="F",
            help="Exit 1 if more than this share of samples failed.",
        ),
        click.option(
            "--require",
            multiple=True,
            metavar="METRIC",
            help="Exit 2 unless this metric, or all whose names begin so, can be computed (chexbert, kd_raddino, ...).",
        ),
        click.option(
            "--allow-external",
            is_flag=True,
            help="Run the commands that cards of models, or of your own metrics, name.",
        ),
    )
    for option in options:
        command = option(command)
    return command


def settings_from(**flags: Path | str | None) -> Settings:
    """Settings of this invocation, the given flags among them."""
    from unix_bench.settings import load_settings

    return load_settings(**flags)
