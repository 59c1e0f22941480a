"""What `data check` finds, each in a set made to have it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bench import bench
from PIL import Image

from unix_bench.data import audit, describe, load_images, read_folder
from unix_bench.data.loading import ordered_map


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "set"
    place.mkdir()
    rng = np.random.default_rng(0)
    for name in "abcde":
        Image.fromarray(rng.integers(0, 256, size=(20, 30), dtype=np.uint8)).save(place / f"{name}.png")
    (place / "manifest.csv").write_text(
        "id,image,prompt,report,patient_id,split,Edema\n"
        "a,a.png,Same.,One two three.,p1,train,1\n"
        "b,b.png,Same.,,p1,test,0\n"
        "c,c.png,Other.,One.,p2,test,-1\n"
        "d,d.png,,One two.,p3,test,\n"
        "e,e.png,Last.,One two.,p4,test,1\n"
    )
    return place


def test_each_remark_names_its_row(folder: Path, tmp_path: Path) -> None:
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "e.png").write_bytes(b"no image")
    found = audit(read_folder(folder), tmp_path / "cache")
    kinds = {remark.what: (remark.level, remark.where.rpartition(", ")[2], remark.text) for remark in found.remarks}
    assert kinds["unreadable image"][:2] == ("error", "row 6")
    assert kinds["patient in two splits"] == ("error", "row 2", "patient p1 is in test, train")
    assert kinds["duplicate image"] == ("warning", "row 2", "the same file contents as row 4")
    assert kinds["duplicate prompt"] == ("note", "row 2", "the same prompt as row 3")
    assert kinds["missing report"][:2] == ("note", "row 3")
    assert kinds["missing prompt"][:2] == ("note", "row 5")
    assert kinds["no labels"][:2] == ("note", "row 5")
    assert all(str(folder / "manifest.csv") in remark.where for remark in found.remarks)
    assert not found.sound
    assert found.modes == {"L": 4}
    assert found.sizes == "30-30 x 20-20 pixels"


def test_both_digests(folder: Path, tmp_path: Path) -> None:
    first = audit(read_folder(folder), tmp_path / "cache")
    assert audit(read_folder(folder), tmp_path / "cache") == first
    Image.new("L", (30, 20)).save(folder / "a.png")
    pixels = audit(read_folder(folder), tmp_path / "cache")
    assert (pixels.content_digest, pixels.pixel_digest != first.pixel_digest) == (first.content_digest, True)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("Last.", "First."))
    texts = audit(read_folder(folder), tmp_path / "cache")
    assert (texts.content_digest != first.content_digest, texts.pixel_digest) == (True, pixels.pixel_digest)


def test_the_card_counts(folder: Path) -> None:
    card = describe(read_folder(folder))
    assert card["findings"]["Edema"] == {"positive": 2, "uncertain": 1, "negative": 1, "unknown": 1}
    assert card["patients"] == 4
    assert card["reports"] == "4 texts, 1-3 words, median 2"
    assert card["restricted"] is True


def test_commands(folder: Path) -> None:
    result = bench("data", "check", folder, "--quiet")
    assert result.exit_code == 1
    assert "ERROR: patient in two splits" in result.stdout
    assert bench("data", "check", "demo", "--quiet").exit_code == 0
    found = json.loads(bench("data", "check", "demo", "--quiet", "--json").stdout)
    assert found[0]["studies"] == 71
    card = json.loads(bench("data", "describe", "demo", "--json").stdout)[0]
    assert card["findings"]["Pneumonia"]["positive"] == 19
    assert "RESTRICTED" not in bench("data", "describe", "demo").stdout
    assert bench("data", "check", "nowhere").exit_code == 2


def test_reading_ahead_keeps_order_and_bounds() -> None:
    lock, running, most = threading.Lock(), 0, 0
    taken: list[int] = []

    def items() -> object:
        for number in range(60):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001 * (number % 3))
        with lock:
            running -= 1
        return number

    for position, result in enumerate(ordered_map(work, items(), ahead=5)):
        assert result == position
        assert len(taken) <= position + 5
    assert most <= 5


def test_an_error_comes_in_its_place(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"")
    images = load_images([folder / "a.png", folder / "b.png", folder / "c.png"], ahead=2)
    assert next(images).size == (30, 20)
    with pytest.raises(ValueError, match=r"b\.png is empty"):
        next(images)
