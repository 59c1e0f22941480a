"""`run` and `score`: predictions, and numbers from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unix_bench.cli.group import main
from unix_bench.cli.options import (
    FOLDER,
    admits_bad_images,
    data_option,
    json_option,
    limit_option,
    progress_option,
    results_option,
    scoring_options,
    settings_from,
    task_option,
)
from unix_bench.cli.output import print_json, print_one, show_progress, show_table
from unix_bench.errors import UserError

if TYPE_CHECKING:
    from unix_bench.records import Results, RunFolder
    from unix_bench.settings import Settings


@main.command()
@click.option("--model", "models", multiple=True, required=True, help="Model to run; may be given several times.")
@task_option
@data_option
@click.option("--weights", type=FOLDER, help="The model's weights, or the folder that holds them.")
@click.option("--subset", help="A fixed subset, made by `unix-bench data subset`.", metavar="NAME")
@limit_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of the run; each sample's follows from it.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="K",
    help="Run K seeds from --seed on, and show the spread between them.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples a batch.  [default: the task card's]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:I.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--deterministic", is_flag=True, help="float32 and deterministic kernels only.")
@click.option(
    "--executor",
    type=click.Choice(["inline", "process", "ray"]),
    help="Who predicts: this process, processes of this machine, or Ray actors.  [default: process on several GPUs, "
    "else inline]",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="How many.  [default: one a GPU]")
@click.option("--shard", metavar="I/N", help="Only every N-th batch, from the I-th on; `unix-bench merge` joins them.")
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="A batch that takes longer counts as hung.  [default: 20 times the slowest, at least 600]",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the model's card.")
@scoring_options
@results_option
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be run.")
@progress_option
@json_option
def run(
    models: tuple[str, ...],
    task: str | None,
    data: str | None,
    weights: Path | None,
    seeds: int | None,
    overrides: tuple[str, ...],
    on_error: str | None,
    results: Path | None,
    dry_run: bool,
    as_json: bool,
    progress: str,
    shard: str | None,
    **options: Any,
) -> None:
    """Predict and score. A finished run is not predicted again; an interrupted one goes on."""
    if task is None:
        raise UserError("--task is missing: say report, generation or probe")
    settings = settings_from(results=results, training_data=options.pop("training_data"))
    from unix_bench.benchmark import benchmark, plan_all
    from unix_bench.plan import PredictOptions
    from unix_bench.score import check_outcome

    scoring = _score_options(on_error, options)
    names = ("subset", "limit", "batch_size", "device", "dtype", "deterministic", "executor", "workers", "deadline_s")
    part = _shard(shard, seeds)
    show_progress(progress)
    wanted = [
        PredictOptions(
            model,
            task,
            data or "demo",
            weights,
            seed=seed,
            overrides=_pairs(overrides),
            skip_bad_images=admits_bad_images(on_error, options["protocol"]),
            stop_at_failure=on_error == "fail",
            shard=part,
            allow_external=options["allow_external"],
            **{name: options[name] for name in names},
        )
        for model in models
        for seed in range(options["seed"], options["seed"] + (seeds or 1))
    ]
    if dry_run:
        _show_plans(plan_all(wanted, scoring, settings, thorough=True), settings, as_json)
        return
    done: list[Results] = []

    def show_results(results: Results) -> None:
        done.append(results)
        if not as_json:
            print_one(results)

    def show_shard(folder: RunFolder) -> None:
        click.echo(f"shard {shard} is done: {folder.path}; `unix-bench merge` joins them when all are", err=True)

    try:
        benchmark(wanted, scoring, settings, show_results, show_shard)
    finally:  # what is done is shown, also where a later model fails
        if as_json and done and (seeds is None or len(done) < len(wanted)):
            print_json(done)
    if seeds is not None:
        _show_seeds(done, seeds, as_json)
    for results_of_one in done:
        check_outcome(results_of_one, scoring)


@main.command()
@click.argument("run_reference", metavar="[RUN]", required=False)
@task_option
@click.option(
    "--predictions",
    type=FOLDER,
    help="Somebody's predictions instead of RUN: JSON Lines, or UniX's CSV.",
)
@data_option
@limit_option
@scoring_options
@results_option
@progress_option
@json_option
def score(
    run_reference: str | None,
    task: str | None,
    predictions: Path | None,
    data: str | None,
    limit: int | None,
    on_error: str | None,
    results: Path | None,
    as_json: bool,
    progress: str,
    **options: Any,
) -> None:
    """Score a run again in another way, or a file of predictions; nothing is predicted.

    RUN is an id, the unique beginning of one, ID:PROTOCOL, or a folder.
    """
    if (run_reference is None) == (predictions is None):
        raise UserError("give either RUN or --predictions FILE")
    settings = settings_from(results=results, training_data=options.pop("training_data"))
    from unix_bench.predictions import import_predictions
    from unix_bench.records import find_run
    from unix_bench.score import check_outcome
    from unix_bench.score import score as score_run

    show_progress(progress)
    if predictions is not None:
        if task is None or data is None:
            raise UserError("--predictions needs --task and --data: say what was predicted, and for which studies")
        skip = admits_bad_images(on_error, options["protocol"])
        found = import_predictions(predictions, task, data, limit, skip, settings)
    else:
        if task is not None or data is not None or limit is not None:
            raise UserError(
                "a run has its own task, data and limit: leave them out, or predict again with `unix-bench run`"
            )
        found, protocol = find_run(run_reference or "", settings.results)
        options["protocol"] = options["protocol"] or protocol
    scoring = _score_options(on_error, options)
    with found:
        scored = score_run(found, scoring, settings)
    print_json([scored]) if as_json else print_one(scored)
    check_outcome(scored, scoring)


def _score_options(on_error: str | None, options: dict[str, Any]) -> Any:
    from unix_bench.score import ScoreOptions

    names = ("protocol", "per_pathology", "uncertain", "max_failed", "require", "allow_external")
    return ScoreOptions(on_error=on_error, **{name: options[name] for name in names})  # type: ignore[arg-type]


def _shard(text: str | None, seeds: int | None) -> Any:
    from unix_bench.spec import Shard

    if text is None:
        return None
    if seeds is not None:
        raise UserError("--shard and --seeds do not go together: run the shards of one --seed after the other")
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise UserError(f"--shard {error}") from error


def _pairs(overrides: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UserError(f"--set {text}: write KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


def _show_seeds(done: list[Results], seeds: int, as_json: bool) -> None:
    """The spread between the seeds of each model, whose results stand one after the other."""
    from dataclasses import asdict

    from unix_bench.spread import summarise
    from unix_bench.tables import print_spread

    summaries = [summarise(done[start : start + seeds]) for start in range(0, len(done), seeds)]
    if as_json:
        import json

        document = {"runs": [one.model_dump(mode="json") for one in done], "between_seeds": [*map(asdict, summaries)]}
        click.echo(json.dumps(document, indent=1))
        return
    for summary in summaries:
        print_spread(summary)


def _show_plans(plans: list[Any], settings: Settings, as_json: bool) -> None:
    from dataclasses import asdict

    rows = [
        {
            "run": plan.spec.run_id,
            "studies": len(plan.eligible),
            "folder": str(settings.results / plan.spec.run_id),
            **({"spec": asdict(plan.spec)} if as_json else {}),
        }
        for plan in plans
    ]
    show_table(rows, as_json)
