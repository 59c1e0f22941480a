"""The samples whose predictions changed most, with what a person looks at to see how."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unix_bench.compare.drawn import Drawn
from unix_bench.compare.sides import Matched
from unix_bench.data import FINDINGS, open_image
from unix_bench.scoring.metrics import metric_card
from unix_bench.tables.comparison import ChangedSample, FindingChange

MOST = 12
THUMB = 224  # pixels of a thumbnail's long side
CRITERIA = ("radgraph_f1_partial", "rouge_l", "alignment_biovilt")
SAID = ("not mentioned", "present", "absent", "uncertain")
PREDICTED, REFERENCE = "_predicted", "_reference"  # ends of the columns of labels, which begin with the labeller
Columns = Mapping[str, Sequence[object]]
Scores = NDArray[np.float64]


def changed_samples(
    matched: Matched, a: Columns, b: Columns, drawn: Mapping[str, Drawn]
) -> tuple[str | None, list[ChangedSample]]:
    """The criterion in words, and the samples that changed most by it.

    Args:
        matched: The runs.
        a: Columns of run a, over `matched.ids`.
        b: Those of run b.
        drawn: Features of both runs' images by encoder.
    """
    criterion, lower, first, second = _criterion(a, b, drawn)
    if criterion is None:
        return None, []
    change = (second - first if lower else first - second).round(12)
    usable = np.flatnonzero(np.isfinite(change) & (change != 0.0))
    order = usable[np.argsort(-np.abs(change[usable]), kind="stable")][:MOST]
    return criterion, [
        ChangedSample(
            matched.ids[index],
            float(first[index]),
            float(second[index]),
            float(change[index]),
            _reports(matched, index),
            _findings(a, b, index),
            _pictures(matched, index),
        )
        for index in order.tolist()
    ]


def _criterion(a: Columns, b: Columns, drawn: Mapping[str, Drawn]) -> tuple[str | None, bool, Scores, Scores]:
    """What is looked at, whether less of it is better, and its values on both sides."""
    for name in CRITERIA:
        if name in a and name in b:
            card = metric_card(name)
            return card.title, card.better == "lower", _numbers(a[name]), _numbers(b[name])
    if "report_nats" in a and "report_nats" in b:
        first, second = (_numbers(side["report_nats"]) / _numbers(side["report_tokens"]) for side in (a, b))
        return "report loss a token", True, first, second
    for column, images in drawn.items():
        return f"likeness to the real image of the study ({column})", False, *images.likeness
    return None, False, np.empty(0), np.empty(0)


def _numbers(column: Sequence[object]) -> Scores:
    return np.asarray(column, dtype=np.float64)  # NaN for None


def _reports(matched: Matched, index: int) -> tuple[str, str, str] | None:
    a, b = (matched.pairs(side)[index] for side in (matched.a, matched.b))
    if a.sample.report is None and b.sample.report is None:
        return None
    return a.sample.report or "", b.sample.report or "", a.study.reference.report or ""


def _findings(a: Columns, b: Columns, index: int) -> tuple[FindingChange, ...]:
    """Findings on which the two reports differ, as the first labeller reads them."""
    for labeller in sorted(name.removesuffix(PREDICTED) for name in a if name.endswith(PREDICTED)):
        first, second = (np.asarray(side[labeller + PREDICTED][index], dtype=np.int8) for side in (a, b))
        reference = np.asarray(a[labeller + REFERENCE][index], dtype=np.int8)
        return tuple(
            FindingChange(FINDINGS[place], SAID[first[place]], SAID[second[place]], SAID[reference[place]])
            for place in np.flatnonzero(first != second).tolist()
        )
    return ()


def _pictures(matched: Matched, index: int) -> tuple[bytes | None, bytes | None, bytes | None] | None:
    a, b = (matched.pairs(side)[index] for side in (matched.a, matched.b))
    if a.sample.image is None or b.sample.image is None:
        return None
    drawn = matched.a.run.path / a.sample.image, matched.b.run.path / b.sample.image
    return _thumbnail(drawn[0]), _thumbnail(drawn[1]), _thumbnail(a.study.reference.image)


def _thumbnail(path: Path) -> bytes | None:
    """A small grey PNG; None where the file cannot be read."""
    try:
        image = open_image(path).convert("L")
    except (OSError, ValueError):
        return None
    image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
