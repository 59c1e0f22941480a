"""What the bench knows of: models, tasks, data sets, metrics, runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.readiness import readiness
from unix_bench.records import all_runs
from unix_bench.scoring.metrics import metric_cards
from unix_bench.settings import Settings

Rows = list[dict[str, Any]]


def listing(what: str, settings: Settings, whole: bool = False) -> Rows:
    """Rows of a table of `what`: models, tasks, data, metrics or runs; `whole`: with what no table has room for."""
    makers: dict[str, Callable[[], Rows]] = {
        "models": lambda: _models(settings, whole),
        "tasks": _tasks,
        "data": _data,
        "metrics": _metrics,
        "runs": lambda: _runs(settings.results),
    }
    return makers[what]()


def _models(settings: Settings, whole: bool) -> Rows:
    """Models; `whole`: with all that their cards say, which no table has room for."""
    rows: Rows = []
    for card in registry.models().values():
        found = readiness(card, settings)
        row: dict[str, Any] = {
            "model": card.name,
            "tasks": ", ".join(card.tasks),
            "runs here": "yes" if found.ready else "no",
            "weights": found.state,
            "parameters": card.parameters,
            "licence": card.licence,
            "gate": card.gate,
        }
        if whole:
            said = card.model_dump(mode="json", exclude={"name", "tasks", "settings", "weights"} | row.keys())
            row = {**row, "runs here": found.ready, "weights": found.text, "folder": card.weights, **said}
        rows.append(row)
    return rows


def _tasks() -> Rows:
    return [
        {
            "task": ", ".join([card.name, *card.aliases]),
            "version": card.version,
            "title": card.title,
            "protocols": ", ".join(card.protocols),
        }
        for card in registry.tasks().values()
    ]


def _data() -> Rows:
    rows = [{"data": "demo", "tasks": "all", "split": "", "views": "", "reference": "report column", "expected": ""}]
    for task in registry.tasks().values():
        for name, card in task.sets.items():
            expected = ""
            if card.expected:
                count = f"{card.expected.pairs} pairs" if card.expected.pairs else f"{card.expected.images} images"
                expected = f"{count} ({card.expected.stated_by})"
            rows.append(
                {
                    "data": name,
                    "tasks": task.name,
                    "split": card.split or "as annotated",
                    "views": ", ".join(card.views) or "all",
                    "reference": card.reference,
                    "expected": expected,
                }
            )
    return rows


def _metrics() -> Rows:
    """Every metric, those of single findings as one."""
    rows = {
        card.name.replace(card.finding or " ", "FINDING"): {
            "task": card.task,
            "kind": card.kind,
            "better": card.better,
            "unit": card.unit,
        }
        for card in metric_cards().values()
    }
    for external in registry.external_metrics():
        rows[external.name] = {"task": "report", "kind": "per-sample", "better": external.better, "unit": "external"}
    for name in registry.metric_plugins():
        rows[name] = {"task": "report", "kind": "per-sample", "better": "as it says", "unit": "plug-in"}
    return [{"metric": name, **row} for name, row in rows.items()]


def _runs(results: Path) -> Rows:
    rows: Rows = []
    for run in all_runs(results):
        try:
            record = run.record()
        except UserError as error:
            rows.append({"run": run.id, "started": "damaged", "samples": "", "scored": str(error), "demo": ""})
            continue
        rows.append(
            {
                "run": run.id,
                "started": record.started,
                "samples": len(run.samples()),
                "scored": ", ".join(sorted(path.parent.name for path in run.score_files())) or "no",
                "demo": record.demo,
            }
        )
    return rows
