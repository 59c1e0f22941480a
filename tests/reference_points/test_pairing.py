"""Who is given whose answer, held against properties and against scikit-learn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from unix_bench.data import Inputs, Reference, Study
from unix_bench.reference_points.pairing import deranged, matched
from unix_bench.reference_points.retrieval import nearest_rows, nearest_texts

TEXTS = st.text(alphabet="ab c.d", max_size=12)


def study(name: str, patient: str | None = None, **labels: int) -> Study:
    image = Path(f"{name}.png")
    return Study(Inputs(name, image), Reference(image, labels=labels), patient_id=patient)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.integers(0, 5))
def test_a_derangement(patients: list[int], seed: int) -> None:
    studies = [study(f"s{index}", f"p{patient}") for index, patient in enumerate(patients)]
    given_ = deranged(studies, seed)
    assert sorted(other.id for other in given_.values()) == sorted(given_) == sorted(one.id for one in studies)
    assert all(other.id != name for name, other in given_.items())
    own = sum(given_[one.id].patient_id == one.patient_id for one in studies)
    most = max(Counter(patients).values())
    assert own == max(0, 2 * most - len(patients))  # the pigeonholes leave no fewer
    assert given_ == deranged(studies[::-1], seed)


def test_another_seed_is_another_derangement() -> None:
    studies = [study(f"s{index}") for index in range(20)]
    assert deranged(studies, 0) != deranged(studies, 1)


def test_images_show_the_same_findings_as_far_as_there_are_some() -> None:
    studies = [study("a", Edema=1), study("b", Edema=1), study("c", Edema=0), study("d")]
    pool = [study("w", Edema=0), study("x"), study("y", Edema=1), study("z", Fracture=1), study("spare", Fracture=1)]
    for seed in range(20):
        found = matched(studies, pool, seed)
        assert len({other.id for other in found.values()}) == len(found) == 4
        assert found["c"].id == "w"
        assert "y" in (found["a"].id, found["b"].id)
        assert found["d"].id in ("x", "z", "spare")


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 40), st.integers(0, 9))
def test_the_nearest_row_is_that_of_all_distances(queries: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = rng.integers(-2, 3, size=(queries, 5)).astype(np.float32)
    known = rng.integers(-2, 3, size=(rows, 5)).astype(np.float32)  # few values: there are many ties
    distances = ((asked[:, None].astype(int) - known[None].astype(int)) ** 2).sum(axis=2)
    assert nearest_rows(asked, known).tolist() == distances.argmin(axis=1).tolist()


def test_the_first_of_equal_rows_far_from_the_origin() -> None:
    rng = np.random.default_rng(0)
    known = np.repeat(1000.0 + rng.normal(size=(40, 32)).astype(np.float32), 3, axis=0)
    assert nearest_rows(known[2::3], known).tolist() == list(range(0, 120, 3))


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8), st.lists(TEXTS, min_size=1, max_size=80))
def test_likeness_is_that_of_scikit_learn(texts: list[str], queries: list[str]) -> None:
    found = nearest_texts(queries, texts).tolist()
    try:
        vectoriser = TfidfVectorizer().fit(texts)
    except ValueError:  # no text has a word
        assert found == [0] * len(queries)
        return
    likeness = (vectoriser.transform(queries) @ vectoriser.transform(texts).T).toarray()
    for row, chosen in zip(likeness, found, strict=True):
        assert row[chosen] == pytest.approx(row.max(), abs=1e-9)
        assert chosen == next(index for index, value in enumerate(row) if value >= row.max() - 1e-9)
