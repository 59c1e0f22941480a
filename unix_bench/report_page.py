"""From a run's folder to a page about it: what is there is gathered, and what may be shown is chosen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unix_bench.data import FINDINGS, DataSet, Study
from unix_bench.errors import UserError
from unix_bench.records import (
    Results,
    RunFolder,
    RunRecord,
    Sample,
    find_scoring,
    read_phases,
    read_record,
    write_atomic,
)
from unix_bench.reopen import DataChanged, reopened
from unix_bench.settings import Settings
from unix_bench.tables import choose_shown, row_plots
from unix_bench.tables.page import Agreement, Group, Page, Picture, ShownReport, render_page, report_plots
from unix_bench.tables.page.page import PNG, SVG

RANKED_BY = ("radgraph_f1_partial", "rouge_l")  # the first that was computed
LABELLERS = ("chexbert", "rule14")  # likewise
RANDOM, SEED = 3, 0
POSITIVE, UNCERTAIN = 1, 3


def write_page(reference: str, out: Path, settings: Settings) -> Path:
    """Write the page of a run.

    Args:
        reference: The run, or the folder of a scoring.
        out: File to write. Restricted texts, images and ids are in it only where it lies in the run's own folder.
        settings: Where runs and data are.

    Raises:
        UserError: There is no such run, it has no results, or the file cannot be written.
    """
    path = find_scoring(reference, settings.results)
    write_atomic(out, render_page(gather(path, out, settings)))
    return out


def gather(path: Path, out: Path, settings: Settings) -> Page:
    """What a page at `out` may show of the scoring whose `results.json` is at `path`."""
    results = read_record(path, Results)
    folder = path.resolve().parents[2]
    run = RunFolder(folder) if (folder / "run.json").is_file() else None
    record = run.record() if run is not None else None
    data, why_no_data = _data(record, settings)
    restricted = results.restricted or (record is not None and record.restricted) or bool(data and data.restricted)
    home = run.path if run is not None else path.resolve().parent
    whole = not restricted or out.resolve().is_relative_to(home)
    left_out = [why_no_data] if why_no_data else []
    if not whole:
        left_out = [
            "The data is restricted, and this page does not lie in the run's folder: texts, images, ids and paths are "
            "left out of it."
        ]
    samples = run.samples() if run is not None and whole else {}
    studies = {study.id: study for study in data.studies} if data is not None and whole else {}
    is_report = results.predict_spec["task"] == "report"
    groups, criterion = _report_groups(path, samples, studies) if is_report and whole else ((), "")
    failures = tuple((sample.id, sample.error) for sample in samples.values() if sample.error is not None)
    return Page(
        results=results,
        record=record,
        restricted=restricted,
        left_out=tuple(left_out),
        data=_about(data),
        plots=_plots(results),
        grids=_grids(path.parent / "figures") if whole else (),
        criterion=criterion,
        groups=groups,
        failures=failures if whole and run is not None else None,
        origin=_origin(record, whole),
        phases=tuple(read_phases(run.path)) if run is not None else (),
    )


def _data(record: RunRecord | None, settings: Settings) -> tuple[DataSet | None, str]:
    """The test set of a run, or why it cannot be shown."""
    if record is None:
        return None, "The run itself is not here: predictions and where they came from are not shown."
    try:
        return reopened(record, settings).data, ""
    except DataChanged:
        return None, "The data changed since the run was made, and references are not shown."
    except UserError as error:
        return None, f"The data is not here, and references are not shown ({error})."


def _about(data: DataSet | None) -> dict[str, str]:
    if data is None:
        return {}
    return {"Licence": data.licence, "Citation": data.citation, "Reference text": data.reference_text}


def _plots(results: Results) -> tuple[Picture, ...]:
    if results.predict_spec["task"] == "report":
        return tuple(Picture(title, content, SVG) for title, content in report_plots(results).items())
    drawn = row_plots(results)
    return tuple(Picture(name, content, SVG) for name, content in drawn.items() if name.endswith(".svg"))


def _grids(figures: Path) -> tuple[Picture, ...]:
    """The grids of pictures that the scoring drew, that of all studies first."""
    order = ["overall", *(finding.lower().replace(" ", "_") for finding in FINDINGS)]
    titles = dict(zip(order, ["All studies", *FINDINGS], strict=True))
    found = [(titles[stem], figures / f"grid_{stem}.png") for stem in order]
    return tuple(Picture(title, file.read_bytes(), PNG) for title, file in found if file.is_file())


def _origin(record: RunRecord | None, whole: bool) -> dict[str, str]:
    if record is None:
        return {}
    code = record.code
    commit = f", commit {code.commit}{' and changes' if code.dirty else ''}" if code and code.commit else ""
    stated = {
        "Images, sha256": record.pixel_digest,
        "Code": f"unix-bench {code.version}{commit}" if code else "",
        "Begun": record.started,
    }
    if whole:
        stated["Command"] = shlex.join(record.command)
        stated["Data read from"] = record.data_path
        stated["Weights read from"] = record.weights_path or ""
    return stated


def _report_groups(
    path: Path, samples: Mapping[str, Sample], studies: Mapping[str, Study]
) -> tuple[tuple[Group, ...], str]:
    """The best, the most ordinary, the worst and some random reports, and by what they were chosen."""
    import pandas as pd

    try:
        scored = pd.read_parquet(path.with_name("samples.parquet"))
    except (OSError, ValueError):
        return (), ""
    scored = scored[[name in samples and name in studies and samples[name].error is None for name in scored["id"]]]
    if not len(scored):
        return (), ""
    ranked = next((name for name in RANKED_BY if name in scored and scored[name].notna().any()), None)
    labeller = next((name for name in LABELLERS if f"{name}_predicted" in scored), None)
    scores = scored[ranked].to_numpy(np.float64) if ranked else np.full(len(scored), np.nan)
    best, median, worst = choose_shown(scores, range(len(scored)))
    others = [index for index in range(len(scored)) if index not in {*best, *median, *worst}]
    drawn = np.random.default_rng(SEED).permutation(others)[:RANDOM].tolist() if others else []
    rows: list[dict[str, Any]] = [dict(zip(scored.columns, row, strict=True)) for row in scored.itertuples(index=False)]

    def group(title: str, indices: Sequence[int]) -> Group:
        return Group(title, tuple(_shown(rows[i], float(scores[i]), labeller, samples, studies) for i in indices))

    criterion = (
        f"Ranked by {ranked or 'nothing: no score is here'}; the random ones are drawn with seed {SEED}. Findings as "
        f"{labeller or 'nobody'} reads them; a question mark: uncertain."
    )
    titles = {"Best": best, "Most ordinary": median, "Worst": worst, "Drawn at random": drawn}
    return tuple(group(title, indices) for title, indices in titles.items()), criterion


def _shown(
    row: Mapping[str, Any],
    score: float,
    labeller: str | None,
    samples: Mapping[str, Sample],
    studies: Mapping[str, Study],
) -> ShownReport:
    sample, study = samples[row["id"]], studies[row["id"]]
    prediction, reference = sample.unix_csv or (sample.report or "", study.reference.report or "")
    labels: tuple[tuple[str, Agreement], ...] = ()
    if labeller is not None and row[f"{labeller}_predicted"] is not None:
        labels = compared_labels(row[f"{labeller}_predicted"], row[f"{labeller}_reference"])
    return ShownReport(row["id"], score if math.isfinite(score) else None, prediction, reference, labels)


def compared_labels(predicted: Sequence[int], reference: Sequence[int]) -> tuple[tuple[str, Agreement], ...]:
    """The findings that either labelling has, positive or uncertain, agreeing ones first.

    Args:
        predicted: [14], 0 blank, 1 positive, 2 negative, 3 uncertain.
        reference: Likewise.

    >>> compared_labels([1, 0, 3, 2] + [0] * 10, [1, 1, 0, 2] + [0] * 10)
    (('Enlarged Cardiomediastinum', 'both'), ('Cardiomegaly', 'missed'), ('Lung Opacity?', 'added'))
    """
    found: list[tuple[str, Agreement]] = []
    for finding, ours, theirs in zip(FINDINGS, predicted, reference, strict=True):
        there = (ours in (POSITIVE, UNCERTAIN), theirs in (POSITIVE, UNCERTAIN))
        if any(there):
            kind: Agreement = "both" if all(there) else "added" if there[0] else "missed"
            found.append((finding + "?" * (UNCERTAIN in (ours, theirs)), kind))
    return tuple(sorted(found, key=lambda one: ("both", "missed", "added").index(one[1])))
