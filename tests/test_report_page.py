"""`unix-bench report`: one page that needs nothing else, escapes everything, and keeps restricted data at home."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from bench import bench, write_lines
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>alert('x')</script> & \"quoted\" \x07\x1b[31m\u202e"
LONG = "pneumono" * 400
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Checks that elements are balanced, and gathers text, addresses and what each element of a class holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.names: set[str] = set()
        self.held: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        stated = dict(attrs)
        self.addresses += [stated[key] or "" for key in ("src", "href", "action", "data", "srcset") if key in stated]
        assert not any(key.startswith("on") for key in stated)
        if tag not in VOID:
            self.open.append((tag, stated.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        for _, kind in self.open:
            self.held.setdefault(kind, []).append(data)


def read(path: Path) -> Reader:
    """The page, seen to need nothing beside itself."""
    page = path.read_text(encoding="utf-8")
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert not reader.names & {"script", "iframe", "link", "object", "embed", "base"}
    assert all(address.startswith("data:image/") for address in reader.addresses)
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:image/[^\"]+", "", page))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", page.replace("\n", ""))
    return reader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A restricted set whose reports, ids and images nobody else may see."""
    rng = np.random.default_rng(0)
    place = tmp_path / "ward"
    place.mkdir()
    rows = ["id,image,prompt,report,Edema"]
    references = ["There is a pneumothorax.", "No pleural effusion.", "Cardiomegaly. Pulmonary edema.", "Normal chest."]
    for number, text in enumerate(references):
        Image.fromarray(rng.integers(0, 256, size=(48, 64), dtype=np.uint8)).save(place / f"subject{number}.png")
        rows.append(f"subject{number},subject{number}.png,Prompt.,{text},{int(number < 2)}")
    (place / "manifest.csv").write_text("\n".join(rows) + "\n")
    return place


@pytest.fixture
def run(folder: Path) -> Path:
    """Predictions that no page should trust."""
    lines = [
        {"id": "subject0", "report": "There is a pleural effusion."},
        {"id": "subject1", "report": f"There is a pleural effusion. {EVIL}"},
        {"id": "subject2", "report": f"Cardiomegaly. {LONG}"},
        {"id": "subject3", "error": f"RuntimeError: {EVIL}"},
    ]
    file = write_lines(folder / "<b>theirs.jsonl", lines)
    words = ("score", "--task", "report", "--predictions", file, "--data", folder, "--max-failed", 1, "--per-pathology")
    assert bench(*words, "--quiet").exit_code == 0
    return next(Path("results/runs").iterdir()).resolve()


def test_reports_beside_references_with_their_labels(run: Path) -> None:
    out = run / "page.html"
    assert bench("report", run.name, "--out", out).exit_code == 0
    reader = read(out)
    text = "".join(reader.text)
    assert "RESTRICTED data" in "".join(reader.held["stamp"])
    assert "recorded-<b>theirs" in text
    assert "<script>alert('x')</script> & \"quoted\"" in text
    assert LONG in text
    assert "There is a pneumothorax." in text
    assert "− Pneumothorax: only in the reference" in reader.held["label missed"]
    assert "+ Pleural Effusion: only in the prediction" in reader.held["label added"]
    assert "✓ Cardiomegaly" in reader.held["label both"]
    assert "1 prediction failed." in text
    stored = json.loads(next(run.glob("scores/*/results.json")).read_text())
    rouge = next(one for one in stored["metrics"] if one["name"] == "rouge_l" and one["pathology"] is None)
    assert f"{rouge['value']:.4f}" in text
    assert f"[{rouge['ci'][0]:.4f} to {rouge['ci'][1]:.4f}]" in text
    assert all(metric["signature"] in text for metric in stored["metrics"])
    svgs = [base64.b64decode(one.split(",")[1]) for one in reader.addresses if one.startswith("data:image/svg")]
    assert len(svgs) == 2
    assert all(b"<svg" in one for one in svgs)
    first = out.read_bytes()
    assert bench("report", run.name, "--out", out).exit_code == 0
    assert out.read_bytes() == first


def test_restricted_data_stays_in_the_run_s_folder(run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "for the journal.html"
    assert bench("report", run, "--out", out).exit_code == 0
    page = out.read_text()
    text = "".join(read(out).text)
    assert "RESTRICTED data" in text
    assert "left out of it" in text
    for private in ("subject", "pneumothorax.", "pleural effusion.", "pneumono", "alert(", str(folder), str(tmp_path)):
        assert private not in text, private
    assert "image/png" not in page
    assert "1 failed" in text
    (run / "way out").symlink_to(tmp_path)
    assert bench("report", run, "--out", run / "way out" / "sly.html").exit_code == 0
    assert "subject" not in "".join(read(tmp_path / "sly.html").text)


def test_pictures_beside_pictures(folder: Path, tmp_path: Path) -> None:
    (folder / "dataset.toml").write_text(
        'name = "ward"\nlicence = "CC0"\ncitation = "nobody <nobody@example.org>"\nrestricted = false\n'
    )
    words = ("run", "--model", "unix", "--task", "generation", "--data", folder, "--set", "num_timesteps=3", "--quiet")
    assert bench(*words, "--per-pathology").exit_code == 0
    run = next(Path("results/runs").iterdir())
    assert bench("report", run, "--out", "page.html").exit_code == 0
    reader = read(Path("page.html"))
    text = "".join(reader.text)
    assert "RESTRICTED" not in text
    assert "nobody <nobody@example.org>" in text
    assert "DEMO" in text
    shown = {base64.b64decode(one.split(",")[1]) for one in reader.addresses}
    figures = next(run.glob("scores/*/figures"))
    for name in ("grid_overall.png", "grid_edema.png", "kd_demodino.svg"):
        assert (figures / name).read_bytes() in shown, name
    for phase in ("checking images", "predicting", "scoring, sound"):
        assert phase in text
    assert json.loads((run / "run.json").read_text())["pixel_digest"] in text
    (folder / "manifest.csv").write_text("id,image,prompt\nz,subject0.png,Other.\n")
    assert bench("report", run, "--out", "page.html").exit_code == 0
    assert "The data changed since" in "".join(read(Path("page.html")).text)
    shutil.copytree(next(run.glob("scores/*")), "copy")
    assert bench("report", "copy", "--out", "page.html").exit_code == 0
    assert "The run itself is not here" in "".join(read(Path("page.html")).text)


def test_wrong_words(run: Path, tmp_path: Path) -> None:
    for words, said in (
        (["nothing", "--out", "x.html"], "no run 'nothing'"),
        ([run, "--out", tmp_path], "is a folder"),
        ([run, "--out", run / "run.json" / "x.html"], "cannot write to"),
    ):
        result = bench("report", *words)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.output


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_it(run: Path) -> None:
    """What Chromium makes of the page: everything fits its width, every image is drawn, nothing of it runs."""
    out = run / "page.html"
    assert bench("report", run.name, "--out", out).exit_code == 0
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={run.parent / 'profile'}"]
    picture = run.parent / "page.png"
    words = [*flags, "--hide-scrollbars", "--window-size=1000,3000", f"--screenshot={picture}", out.as_uri()]
    subprocess.run([str(CHROMIUM), *words], check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    dark = (pixels.sum(axis=2) < 300).mean(axis=1) > 0
    assert dark.mean() > 0.2, "most lines of a page have words"
    stamp = (abs(pixels - np.array([0xB3, 0x43, 0x00])).sum(axis=2) < 30).sum()
    assert stamp > 1000, "RESTRICTED is stamped in its colour"
    assert (pixels[:, -12:].min(axis=2) > 240).all(), "a very long word does not leave the page"
    dom = subprocess.run(
        [str(CHROMIUM), *flags, "--dump-dom", out.as_uri()], check=True, capture_output=True, timeout=120
    )
    assert b"<script" not in dom.stdout
    assert b"&lt;script&gt;alert" in dom.stdout
