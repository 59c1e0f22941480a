"""`unix-bench verify`: an untouched run is right, and each way of tampering with one is found and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bench import bench, write_lines
from PIL import Image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, demo_weights: Path, shared_cache: Path) -> Path:
    """A data folder, weights, and a run of each task."""
    place = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    data = place / "mine"
    data.mkdir()
    rows = ["id,image,prompt,report,Edema"]
    for name in "abcd":
        Image.fromarray(rng.integers(0, 256, size=(48, 64), dtype=np.uint8)).save(data / f"{name}.png")
        rows.append(f"{name},{name}.png,Prompt {name}.,The lungs are clear {name}.,{int(name < 'c')}")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n")
    shutil.copytree(demo_weights, place / "UniX")
    (place / "UniX" / "optimiser.bin").write_bytes(bytes(2 << 20))  # so big that its digest is noted
    before = os.environ.get("UNIX_BENCH_CACHE")
    os.environ["UNIX_BENCH_CACHE"] = str(shared_cache)
    try:
        for task, setting in (("report", "max_new_tokens=6"), ("generation", "num_timesteps=3")):
            words = ["run", "--model", "unix", "--task", task, "--data", str(data), "--weights", str(place / "UniX")]
            words += ["--set", setting, "--per-pathology", "--quiet", "--results", str(place / "runs")]
            assert bench(*words).exit_code == 0
    finally:
        os.environ.pop("UNIX_BENCH_CACHE") if before is None else os.environ.update(UNIX_BENCH_CACHE=before)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """The same at its own address, to be spoilt and put back."""
    shutil.copytree(made, tmp_path / "kept")
    yield made
    shutil.rmtree(made)
    shutil.copytree(tmp_path / "kept", made)


def run_of(place: Path, task: str) -> Path:
    return next((place / "runs").glob(f"*-{task}-*"))


def test_untouched_runs_are_right_from_anywhere(made: Path) -> None:
    for task in ("report", "generation"):
        result = bench("verify", run_of(made, task))
        assert result.exit_code == 0, result.output
        assert "values derived again from the samples" in result.output
        assert "DIFFERS" not in result.output
    checks = json.loads(bench("verify", run_of(made, "generation"), "--json").stdout)
    assert [one["subject"].split()[0] for one in checks] == [
        "run.json", "images", "weights", "data", "pixels", "samples", "results",
    ]  # fmt: skip
    assert {one["state"] for one in checks} == {"ok"}


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


def swapped_report(place: Path) -> None:
    path = run_of(place, "report") / "samples-0.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[2]["report"] = "The lungs are clear."
    write_lines(path, lines)


def better_value(place: Path) -> None:
    path = next(run_of(place, "report").glob("scores/*/results.json"))
    results = json.loads(path.read_text())
    next(one for one in results["metrics"] if one["name"] == "rouge_l")["value"] += 1e-4
    path.write_text(json.dumps(results))


def fewer_metrics(place: Path) -> None:
    path = next(run_of(place, "report").glob("scores/*/results.json"))
    results = json.loads(path.read_text())
    results["metrics"] = [one for one in results["metrics"] if one["name"] != "bleu_4"]
    path.write_text(json.dumps(results))


def no_stamp(place: Path) -> None:
    edit(next(run_of(place, "report").glob("scores/*/results.json")), ('"demo": true', '"demo": false'))


def other_policy(place: Path) -> None:
    edit(next(run_of(place, "report").glob("scores/*/results.json")), ('"drop-pair"', '"score-zero"'))


def better_sample(place: Path) -> None:
    path = next(run_of(place, "report").glob("scores/*/samples.parquet"))
    table = pd.read_parquet(path)
    table.loc[1, "rouge_l"] = 1.0
    table.to_parquet(path, index=False)


def other_pixels(place: Path) -> None:
    image = next(run_of(place, "generation").glob("images/*.png"))
    Image.new("L", (128, 128)).save(image)


def swapped_images(place: Path) -> None:
    path = run_of(place, "generation") / "samples-0.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["image"], lines[1]["image"] = lines[1]["image"], lines[0]["image"]
    write_lines(path, lines)


def image_elsewhere(place: Path) -> None:
    path = run_of(place, "generation") / "samples-0.jsonl"
    edit(path, ('"image": "images/', '"image": "../../mine/a.png", "error": "x'))


def lost_image(place: Path) -> None:
    next(run_of(place, "generation").glob("images/*.png")).unlink()


def changed_reference(place: Path) -> None:
    edit(place / "mine" / "manifest.csv", ("clear b", "hazy b"))


def changed_real_image(place: Path) -> None:
    """Other pixels, but the size and the time that a cache would believe."""
    path = place / "mine" / "c.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    Image.fromarray(np.asarray(Image.open(path)) ^ 1).save(path)
    path.write_bytes(path.read_bytes()[: len(content)].ljust(len(content), b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def changed_weights(place: Path) -> None:
    """One byte of the big file, its size and time kept."""
    path = place / "UniX" / "optimiser.bin"
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x01")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_seed(place: Path) -> None:
    edit(run_of(place, "report") / "run.json", ('"seed": 0', '"seed": 1'))


def half_a_record(place: Path) -> None:
    path = next(run_of(place, "report").glob("scores/*/results.json"))
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("task", "spoil", "said"),
    [
        ("report", swapped_report, ["DIFFERS results", "and should be"]),
        ("report", better_value, ["DIFFERS results", "rouge_l, overall: value is"]),
        ("report", fewer_metrics, ["DIFFERS results", "bleu_4, overall is missing"]),
        ("report", no_stamp, ["DIFFERS results", "demo is False, and should be True"]),
        ("report", other_policy, ["DIFFERS results"]),
        ("report", better_sample, ["DIFFERS results", "samples.parquet: rouge_l in row 2"]),
        ("generation", other_pixels, ["DIFFERS images", "is not the file it was named for"]),
        ("generation", swapped_images, ["DIFFERS results"]),
        ("generation", image_elsewhere, ["DIFFERS images", "outside the run's folder"]),
        ("generation", lost_image, ["DIFFERS images", "No such file"]),
        ("report", changed_reference, ["DIFFERS data", "instead of"]),
        ("generation", changed_real_image, ["DIFFERS pixels", "and the run began with"]),
        ("report", changed_weights, ["DIFFERS weights", "and the run was made with"]),
        ("report", other_seed, ["DIFFERS run.json", "the spec is that of"]),
        ("report", half_a_record, ["DIFFERS results", "damaged"]),
    ],
)
def test_tampering_is_found(place: Path, task: str, spoil: Callable[[Path], None], said: list[str]) -> None:
    spoil(place)
    result = bench("verify", run_of(place, task))
    assert result.exit_code == 1, result.output
    line = next(line for line in result.output.splitlines() if line.startswith(said[0]))
    for words in said[1:]:
        assert words in line


def test_what_cannot_be_checked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(place, "report")
    samples = run / "samples-0.jsonl"
    samples.write_bytes(samples.read_bytes()[:-9])
    result = bench("verify", run)
    assert result.exit_code == 2, result.output
    assert "CANNOT  samples: the run is unfinished: 1 of 4 predictions are missing" in result.output
    shutil.rmtree(place / "mine")
    result = bench("verify", run)
    assert result.exit_code == 2, result.output
    assert "CANNOT  data" in result.output
    shutil.rmtree(place / "UniX")
    assert "--      weights" in bench("verify", run).output
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "schema_version": 9}))
    result = bench("verify", run)
    assert result.exit_code == 2
    assert "upgrade unix-bench" in result.output


def test_a_scoring_by_judges_that_are_not_here(place: Path) -> None:
    path = next(run_of(place, "report").glob("scores/*/results.json"))
    results = json.loads(path.read_text())
    results["score_spec"]["instruments"]["chexbert"] = "ab" * 32
    path.write_text(json.dumps(results))
    result = bench("verify", run_of(place, "report"))
    assert result.exit_code == 2, result.output
    assert "chexbert was abababababab and is absent here" in result.output
    del results["score_spec"]["instruments"]["chexbert"]
    results["score_spec"]["training"] = "mimic_cxr@1234"
    path.write_text(json.dumps(results))
    result = bench("verify", run_of(place, "report"))
    assert result.exit_code == 2, result.output
    assert "the training set was mimic_cxr@1234 and is none here: say --training-data" in result.output
