"""Metrics that others bring: a Python object behind an entry point, or any command that reads and writes JSON Lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unix_bench import registry
from unix_bench.cards import ExternalMetricCard
from unix_bench.errors import UserError
from unix_bench.features.radgraph import MODEL_TYPES
from unix_bench.protocols.base import Columns, NewLine
from unix_bench.protocols.metered import Absent, mean_of_column, numbers
from unix_bench.protocols.report.meters.base import Measured, Texts
from unix_bench.scoring.metrics import metric_cards
from unix_bench.scoring.statistics import Measure
from unix_bench.subprocesses import Program, ProgramError

NOT_ALLOWED = Absent("its card names a command: allow that it is run with --allow-external")
Score = Callable[[Texts], Sequence[float]]


class PluginMeter:
    """A metric with one number a report; the table shows their mean."""

    once = ()

    def __init__(self, name: str, better: str, version: str, score: Score | None) -> None:
        self.names = (name,)
        self._better, self._version, self._score = better, version, score
        self.absent = NOT_ALLOWED if score is None else None

    @property
    def instruments(self) -> Mapping[str, str]:
        return {} if self._score is None else {self.names[0]: self._version}

    def definition(self, metric: str) -> dict[str, str]:
        return {"plug-in": f"{metric} {self._version}", "aggregate": "mean over reports"}

    def measure(self, texts: Texts, new_line: NewLine) -> Measured:
        if self._score is None:
            return Measured(reason=NOT_ALLOWED.reason)
        name = self.names[0]
        with new_line(name, len(texts.ids)) as line:
            try:
                scores = _checked(self._score(texts), len(texts.ids))
            except Exception as error:  # code of others may fail in any way, and the other metrics still count
                # What it says may hold texts or paths, which results must not.
                print(f"WARNING: {name} failed: {str(error) or type(error).__name__}", file=sys.stderr)
                return Measured(reason=f"{name} failed ({type(error).__name__}); what it said stood on standard error")
            line.advance(len(texts.ids))
        columns = {name: scores.tolist()}
        return Measured(self.measures(columns), columns, better=self._better)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        name = self.names[0]
        if name not in columns:
            return {}
        scores = numbers(columns[name])
        seen = (float(scores.min()), float(scores.max()))  # nobody says what it could be
        return {name: mean_of_column(columns[name], seen)}


def _checked(scores: Sequence[float], expected: int) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (expected,):
        raise ValueError(f"it gave {len(array) if array.ndim else 1} scores for {expected} reports")
    if not np.isfinite(array).all():
        raise ValueError(f"its score of report {int(np.argmin(np.isfinite(array))) + 1} is not finite")
    return array


def plugin_meters(allow_external: bool) -> list[PluginMeter]:
    """A meter for each installed plug-in and each of the user's external scorers.

    Args:
        allow_external: May commands be run that cards name?

    Raises:
        UserError: A plug-in cannot be imported or is none, or takes another metric's name.
    """
    meters = [_python(name) for name in registry.metric_plugins()]
    meters += [_external(card, allow_external) for card in registry.external_metrics()]
    taken = {*metric_cards(), "chexbert", "rule14", *MODEL_TYPES}
    for meter in meters:
        if meter.names[0] in taken:
            raise UserError(f"metric '{meter.names[0]}' of a plug-in or card: the name is taken, give it another")
        taken.add(meter.names[0])
    return meters


def _python(name: str) -> PluginMeter:
    plugin = registry.metric_plugin(name)
    try:
        better, version, score = plugin.better, str(plugin.version), plugin.score
    except AttributeError as error:
        raise UserError(f"metric plug-in '{name}': {error}: it needs better, version and score") from error
    if better not in ("higher", "lower"):
        raise UserError(f"metric plug-in '{name}': better is '{better}', and must be 'higher' or 'lower'")
    return PluginMeter(name, better, version, lambda texts: score(texts.predictions, texts.references))


def _external(card: ExternalMetricCard, allowed: bool) -> PluginMeter:
    return PluginMeter(card.name, card.better, card.version, partial(_run, card.command) if allowed else None)


def _run(command: Sequence[str], texts: Texts) -> list[float]:
    """Scores that a command prints, a line `{"id", "score"}` for each line `{"id", "prediction", "reference"}`."""
    rows = zip(texts.ids, texts.predictions, texts.references, strict=True)
    asked = "".join(
        json.dumps({"id": identity, "prediction": prediction, "reference": reference}) + "\n"
        for identity, prediction, reference in rows
    )
    with Program(command) as program:
        try:
            printed = program.run(asked.encode())
        except ProgramError as error:
            raise ValueError(str(error)) from error
    found: dict[str, float] = {}
    for number, line in enumerate(printed.decode(errors="replace").splitlines(), start=1):
        try:
            answer = json.loads(line)
            if answer["id"] in found:
                raise ValueError(f"line {number} of its output gives '{answer['id']}' a second score")
            found[answer["id"]] = float(answer["score"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'line {number} of its output is no {{"id", "score"}}: {line[:80]}') from error
    missing = [identity for identity in texts.ids if identity not in found]
    if missing:
        raise ValueError(f"it gave no score for {len(missing)} reports, '{missing[0]}' among them")
    return [found[identity] for identity in texts.ids]
