"""CheXbert: the labels of the reference code on a tiny random checkpoint, and what the cache must not change."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from unix_bench.errors import UserError
from unix_bench.features import CheXbert, TextTooLong, remembered

TINY = Path(__file__).parents[1] / "golden" / "report_metrics" / "tiny_models"
CHECKPOINT, BERT = TINY / "chexbert_tiny_random.pth", TINY / "bert-tiny"
# Two scores as near as the others are left out: another processor may round them the other way.
ROWS = [r for r in json.loads((TINY / "chexbert_tiny_expected.json").read_text())["rows"] if r["min_margin"] > 1e-3]


def test_labels_of_the_reference(tmp_path: Path) -> None:
    rows = random.Random(0).sample(ROWS, len(ROWS))
    texts = [row["text"][:512].strip().replace("\n", " ") for row in rows]
    advanced: list[int] = []
    model = CheXbert(CHECKPOINT, BERT, tmp_path)
    expected = [row["labels"] for row in rows]
    assert model.label(texts, truncate=False, advance=advanced.append).tolist() == expected
    assert sum(advanced) == len(texts)
    again = CheXbert(CHECKPOINT, BERT, tmp_path)
    again.__dict__["_network"] = None  # every answer comes from the cache
    assert again.label(texts, truncate=False).tolist() == expected


def test_a_checkpoint_as_old_torch_wrote_it(tmp_path: Path) -> None:
    stored = torch.load(CHECKPOINT, weights_only=True)
    torch.save(stored, tmp_path / "chexbert.pth", _use_new_zipfile_serialization=False)
    labels = CheXbert(tmp_path / "chexbert.pth", BERT, tmp_path).label([row["text"] for row in ROWS[:20]])
    assert labels.tolist() == [row["labels"] for row in ROWS[:20]]
    (tmp_path / "half.pth").write_bytes((tmp_path / "chexbert.pth").read_bytes()[:90_000])
    with pytest.raises(UserError, match="is not a whole torch checkpoint"):
        CheXbert(tmp_path / "half.pth", BERT, tmp_path).label(["clear"])


def test_long_texts(tmp_path: Path) -> None:
    model = CheXbert(CHECKPOINT, BERT, tmp_path)
    assert (model.label(["a " * 900]) == model.label(["a " * 510])).all()
    with pytest.raises(TextTooLong, match="902 tokens, and CheXbert reads 512"):
        model.label(["a " * 900], truncate=False)
    assert model.label([]).shape == (0, 14)


def test_other_weights_have_other_names_in_the_cache(tmp_path: Path) -> None:
    place = tmp_path / "bert"
    shutil.copytree(BERT, place)
    vocabulary = (place / "vocab.txt").read_text().splitlines()
    vocabulary[15], vocabulary[16] = vocabulary[16], vocabulary[15]
    (place / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    assert CheXbert(CHECKPOINT, place, tmp_path).digest != CheXbert(CHECKPOINT, BERT, tmp_path).digest


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt"])
def test_a_text_encoder_that_is_not_whole(tmp_path: Path, missing: str) -> None:
    place = tmp_path / "bert"
    shutil.copytree(BERT, place)
    (place / missing).write_text("{}" if missing == "config.json" else "")
    with pytest.raises(UserError, match=str(place) if missing == "vocab.txt" else "does not fit .*bert/config.json"):
        CheXbert(CHECKPOINT, place, tmp_path).label(["clear"])


def test_a_text_is_asked_for_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(texts: list[str]) -> list[int]:
        asked.extend(texts)
        return [len(text) for text in texts]

    assert remembered(["bb", "a", "bb", "\ud800"], answer, tmp_path) == [2, 1, 2, 1]
    assert remembered(["a", "ccc"], answer, tmp_path) == [1, 3]
    assert sorted(asked) == sorted(["bb", "a", "\ud800", "ccc"])
    for note in tmp_path.glob("*/*"):
        assert note.stat().st_mode & 0o077 == 0, "it may say something of restricted data"
        note.write_text("")
    assert remembered(["a"], answer, tmp_path) == [1]
