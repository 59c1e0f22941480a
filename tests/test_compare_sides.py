"""What is said of two runs that were measured in different ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unix_bench.compare.sides import Side, _notes
from unix_bench.records import Counts, Results, RunFolder, RunRecord


def side(pixels: str = "", **score: Any) -> Side:
    record = RunRecord(
        id="one", predict_spec={}, demo=False, restricted=False, data_path="x", pixel_digest=pixels, command=[],
        started="", environment={},
    )  # fmt: skip
    results = Results(
        run="one", predict_spec={}, score_spec={"instruments": {"rule14": "ab"}, "training": None, **score}, demo=False,
        restricted=False, counts=Counts(total=0, ok=0, failed=0, skipped=0), metrics=[],
    )  # fmt: skip
    return Side(RunFolder(Path("one")), record, results, pd.DataFrame(), {})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (side(instruments={"rule14": "cd"}), "the runs were measured with different instruments"),
        (side(training="mimic@1"), "the runs were scored with different training sets"),
        (side(pixels="ab"), "the pixels of the images"),
    ],
)
def test_runs_that_were_measured_differently(other: Side, words: str) -> None:
    assert any(note.startswith(f"WARNING: {words}") for note in _notes(side(), other))
    assert not _notes(side(), side())
