"""The command line: words in, one call into the house, words out.

Heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unix_bench import __version__
from unix_bench.errors import TooManyFailures, UserError, unknown_name

if TYPE_CHECKING:
    from unix_bench.records import Results
    from unix_bench.settings import Settings

INTERRUPTED = 130
FOLDER = click.Path(path_type=Path)
ON_ERROR = ("drop-pair", "fail", "score-zero")
SKIPPING = ("drop-pair", "score-zero")  # said aloud, they let a damaged image be a failed sample

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
results_option = click.option("--results", type=FOLDER, help="Folder of the runs.  [default: results/runs]")
quiet_option = click.option("--quiet", is_flag=True, help="No progress.")
task_option = click.option("--task", help="report (or understanding) or generation.")
data_option = click.option("--data", help="Name of a data set, or a folder with a manifest.csv.", metavar="NAME|PATH")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N eligible studies.", metavar="N"
)


def scoring_options(command: Any) -> Any:
    """The options of every command that scores."""
    options = (
        click.option("--protocol", help="Way of scoring: sound, or as published (report: unix).  [default: sound]"),
        click.option("--per-pathology", is_flag=True, help="A row for each of the 14 CheXpert findings too."),
        click.option(
            "--on-error",
            type=click.Choice(ON_ERROR),
            help="What a failed sample counts as. Given, drop-pair and score-zero admit damaged images, which stop the "
            "run otherwise.  [default: drop-pair; under unix, as published]",
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
            help="Exit 2 unless this metric, or all whose names begin so, can be computed (chexbert, radgraph, ...).",
        ),
        click.option("--allow-external", is_flag=True, help="Run the commands that cards of your own metrics name."),
    )
    for option in options:
        command = option(command)
    return command


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
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched while a benchmark runs
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


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
@click.option("--dtype", default="auto", show_default=True, help="auto, float32 or bfloat16.")
@click.option("--deterministic", is_flag=True, help="float32 and deterministic kernels only.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the model's card.")
@scoring_options
@results_option
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be run.")
@quiet_option
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
    **options: Any,
) -> None:
    """Predict and score. A finished run is not predicted again; an interrupted one goes on."""
    if task is None:
        raise UserError("--task is missing: say report or generation")
    settings = _settings(results=results)
    from unix_bench.benchmark import benchmark, plan_all
    from unix_bench.plan import PredictOptions
    from unix_bench.score import check_outcome

    scoring = _score_options(on_error, options)
    names = ("subset", "limit", "batch_size", "device", "dtype", "deterministic", "quiet")
    wanted = [
        PredictOptions(
            model,
            task,
            data or "demo",
            weights,
            seed=seed,
            overrides=_pairs(overrides),
            skip_bad_images=on_error in SKIPPING,
            stop_at_failure=on_error == "fail",
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
            _print(results)

    try:
        benchmark(wanted, scoring, settings, show_results)
    finally:  # what is done is shown, also where a later model fails
        if as_json and done and (seeds is None or len(done) < len(wanted)):
            _print_json(done)
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
@quiet_option
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
    **options: Any,
) -> None:
    """Score a run again in another way, or a file of predictions; nothing is predicted.

    RUN is an id, the unique beginning of one, ID:PROTOCOL, or a folder.
    """
    if (run_reference is None) == (predictions is None):
        raise UserError("give either RUN or --predictions FILE")
    settings = _settings(results=results)
    from unix_bench.predictions import import_predictions
    from unix_bench.records import find_run
    from unix_bench.score import check_outcome
    from unix_bench.score import score as score_run

    if predictions is not None:
        if task is None or data is None:
            raise UserError("--predictions needs --task and --data: say what was predicted, and for which studies")
        found = import_predictions(predictions, task, data, limit, on_error in SKIPPING, settings, options["quiet"])
    else:
        if task is not None or data is not None or limit is not None:
            raise UserError(
                "a run has its own task, data and limit: leave them out, or predict again with `unix-bench run`"
            )
        found, protocol = find_run(run_reference or "", settings.results)
        options["protocol"] = options["protocol"] or protocol
    scoring = _score_options(on_error, options)
    scored = score_run(found, scoring, settings)
    _print_json([scored]) if as_json else _print(scored)
    check_outcome(scored, scoring)


@main.command()
@click.argument("run_reference", metavar="RUN")
@results_option
@json_option
def show(run_reference: str, results: Path | None, as_json: bool) -> None:
    """Print the results of a run: the newest scoring, or ID:PROTOCOL's."""
    settings = _settings(results=results)
    from unix_bench.records import find_results

    found = find_results(run_reference, settings.results)
    _print_json([found]) if as_json else _print(found)


@main.command("list")
@click.argument("what", type=click.Choice(["models", "tasks", "data", "metrics", "runs"]))
@results_option
@json_option
def list_(what: str, results: Path | None, as_json: bool) -> None:
    """List models, tasks, data sets, metrics or runs."""
    from unix_bench.listings import listing

    _show_table(listing(what, _settings(results=results)), as_json)


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
@click.argument("what", type=click.Choice(["chexbert", "radgraph"]))
@json_option
def weights_check(what: str, as_json: bool) -> None:
    """Ask a labeller's real weights what they must know; exit 1 if an answer is wrong."""
    from unix_bench.known_answers import ask_chexbert, ask_radgraph

    answers = (ask_chexbert if what == "chexbert" else ask_radgraph)(_settings())
    rows = [
        {"": "ok" if one.right else "WRONG", "text": one.text, "expected": one.expected, "given": one.given}
        for one in answers
    ]
    _show_table(rows, as_json)
    wrong = sum(not one.right for one in answers)
    if wrong:
        raise TooManyFailures(f"{wrong} of {len(answers)} answers are not those of {what}: are these its real weights?")


@main.group("data")
def data_group() -> None:
    """Look at a data set before anything is run on it."""


@data_group.command("check")
@click.argument("reference", metavar="NAME|PATH")
@click.option("--task", default="report", show_default=True, help="Whose set of that name.")
@quiet_option
@json_option
def data_check(reference: str, task: str, quiet: bool, as_json: bool) -> None:
    """Open every image, hold the rows against each other, and print both digests; exit 1 if there are errors."""
    from unix_bench.inspect_data import check_data

    found = check_data(reference, task, _settings(), quiet)
    if as_json:
        from dataclasses import asdict

        _show_table([asdict(found)], as_json)
    else:
        from unix_bench.tables import print_audit

        print_audit(found)
    if not found.sound:
        raise SystemExit(1)


@data_group.command("describe")
@click.argument("reference", metavar="NAME|PATH")
@click.option("--task", default="report", show_default=True, help="Whose set of that name.")
@json_option
def data_describe(reference: str, task: str, as_json: bool) -> None:
    """Print a data set's card: what is in it, counted."""
    from unix_bench.inspect_data import describe_data

    card = describe_data(reference, task, _settings())
    findings: Any = card.pop("findings")
    if as_json:
        _show_table([{**card, "findings": findings}], as_json)
        return
    _show_table([{"": key, "value": value} for key, value in card.items()], as_json)
    _show_table([{"finding": name, **counts} for name, counts in findings.items()], as_json)


@data_group.command("subset")
@click.argument("reference", metavar="NAME|PATH")
@click.option("--name", required=True, help="What `--subset` will call it, such as nightly-512.")
@click.option("--size", type=click.IntRange(min=1), required=True, help="At most so many studies.")
@click.option("--task", default="report", show_default=True, help="Whose studies.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which patients.")
def data_subset(reference: str, name: str, size: int, task: str, seed: int) -> None:
    """Choose a fixed subset of whole patients, every finding in its share, and keep it for `run --subset`."""
    from unix_bench.inspect_data import make_subset

    subset, path = make_subset(reference, name, size, task, seed, _settings())
    click.echo(f"wrote {path}: {len(subset.ids)} studies, {subset.tag}")


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Tell what is installed, which weights and data are found, and how to get what is missing."""
    from unix_bench.doctor import examine

    found = examine(_settings())
    rows = [{"state": "ok" if one.fine else "--", "subject": one.subject, "finding": one.text} for one in found]
    _show_table(rows, as_json)


def _settings(**flags: Path | None) -> Settings:
    from unix_bench.settings import load_settings

    return load_settings(**flags)


def _score_options(on_error: str | None, options: dict[str, Any]) -> Any:
    from unix_bench.score import ScoreOptions

    names = ("protocol", "per_pathology", "max_failed", "require", "allow_external", "quiet")
    return ScoreOptions(on_error=on_error, **{name: options[name] for name in names})  # type: ignore[arg-type]


def _pairs(overrides: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UserError(f"--set {text}: write KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


def _print(results: Results) -> None:
    from unix_bench.tables import print_results

    print_results(results)


def _print_json(results: list[Results]) -> None:
    """One results object, or a list of several."""
    objects = [one.model_dump_json(indent=1) for one in results]
    click.echo(objects[0] if len(objects) == 1 else "[" + ",\n".join(objects) + "]")


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
    _show_table(rows, as_json)


def _show_table(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=1))
        return
    from unix_bench.tables import print_rows

    print_rows(rows)
