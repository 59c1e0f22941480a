"""Runs as one table for pandas."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unix_bench.errors import UserError
from unix_bench.records.run_folder import RESULTS_FILE, RUN_FILE, SCORES, read_record
from unix_bench.records.schema import Metric, Results
from unix_bench.settings import expand

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run", "model", "task", "data", "protocol", "pathology", "name", "value", "ci_low", "ci_high", "sd", "n", "support",
    "flags", "reason", "seed", "subset", "limit", "demo", "restricted", "failed", "data_digest", "weights", "scoring",
    "signature",
)  # fmt: skip


def load(results: str | Path = "results/runs") -> pd.DataFrame:
    """Every metric of every scoring, a row each, in the order of the runs' names.

    Args:
        results: Folder of the runs; or that of one run, or of one scoring.

    Returns:
        A row a value: `run`, `model`, `task`, `data`, `protocol`, `pathology` (NaN: all studies), `name`, `value`
        (NaN where `reason` says why there is none), `ci_low` and `ci_high` (95 %), `sd`, `n`, `support`, `flags`
        (with blanks between), `seed`, and what else tells scorings apart: `scoring` is the scoring's folder. A record
        that cannot be read is left out, with a warning. Without any scoring the table has its columns and no row.

    Raises:
        UserError: There is no such folder.
    """
    import pandas as pd

    folder = expand(Path(results))
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give that of the runs, or of one run")
    rows: list[dict[str, Any]] = []
    for path in _files(folder):
        try:
            found = read_record(path, Results)
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        rows += [_row(found, metric, path.parent.name) for metric in found.metrics]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = dict.fromkeys(("value", "ci_low", "ci_high", "sd"), "float64")
    return frame.astype({**numbers, "n": "int64", "support": "Int64", "seed": "Int64", "limit": "Int64"})


def _files(folder: Path) -> list[Path]:
    if (folder / RESULTS_FILE).is_file():
        return [folder / RESULTS_FILE]
    below = f"{SCORES}/*/{RESULTS_FILE}"
    return sorted(folder.glob(below if (folder / RUN_FILE).is_file() else f"*/{below}"))


def _row(results: Results, metric: Metric, scoring: str) -> dict[str, Any]:
    spec = results.predict_spec
    low, high = metric.ci or (None, None)
    stated = {name: spec.get(name) for name in ("model", "task", "data", "seed", "subset", "limit", "data_digest")}
    return {
        "run": results.run,
        **stated,
        "weights": spec.get("weights"),
        "protocol": metric.protocol,
        "pathology": metric.pathology,
        "name": metric.name,
        "value": metric.value,
        "ci_low": low,
        "ci_high": high,
        "sd": metric.sd,
        "n": metric.n,
        "support": metric.support,
        "flags": " ".join(metric.flags),
        "reason": metric.reason,
        "demo": results.demo,
        "restricted": results.restricted,
        "failed": results.counts.failed,
        "scoring": scoring,
        "signature": metric.signature,
    }
