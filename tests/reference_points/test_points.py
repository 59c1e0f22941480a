"""Reference points through the command line: what each answers with, told from its run's folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import bench, make_folder, refused
from PIL import Image

from unix_bench.features import DemoDino, Rule14
from unix_bench.registry import model

OPEN = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
POINTS = ("real", "shuffled", "mean-image", "normal-report", "nearest-neighbour")
PAIRS = [(point, task) for point in POINTS for task in model(point).tasks]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve studies, two a patient, of noise."""
    make_folder(tmp_path / "test", 12)
    return tmp_path / "test"


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Twenty studies of other patients and other noise."""
    place = tmp_path / "train"
    make_folder(place, 20)
    rng = np.random.default_rng(5)
    rows = list(csv.DictReader((place / "manifest.csv").open()))
    for index, row in enumerate(rows):
        Image.fromarray(rng.integers(0, 256, size=(30, 40), dtype=np.uint8)).save(place / f"{index}.png")
        row |= {"id": f"train-{index}", "patient_id": f"other-{index}", "report": f"Training report {index}."}
    write(place, rows)
    return place


def write(place: Path, rows: list[dict[str, str]]) -> None:
    with (place / "manifest.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def run(*words: object) -> tuple[Path, dict[str, Any]]:
    """The run's folder and what was said."""
    results = words[words.index("--results") + 1] if "--results" in words else "results/runs"
    said = bench("run", "--quiet", "--json", *words)
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    return Path(str(results)) / found["run"], found


def answers(place: Path) -> dict[str, str]:
    """Study id -> report, or the image file."""
    lines = [json.loads(line) for line in (place / "samples-0.jsonl").read_text().splitlines()]
    return {one["id"]: one.get("report") or str(place / one["image"]) for one in lines}


def pixels(path: object) -> list[Any]:
    return np.asarray(Image.open(str(path)), dtype=int).tolist()  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize(("point", "task"), PAIRS)
@pytest.mark.parametrize("data", ["demo", pytest.param(OPEN, marks=pytest.mark.skipif(not OPEN.is_dir(), reason="-"))])
def test_twice_and_in_other_batches(
    point: str, task: str, data: object, training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if point == "nearest-neighbour":
        monkeypatch.setenv("UNIX_BENCH_TRAINING_DATA", str(training))
    words = ("--model", point, "--task", task, "--data", data, "--limit", 6)
    one, _ = run(*words, "--results", "one")
    other, _ = run(*words, "--results", "other")
    again, _ = run(*words, "--batch-size", 4, "--results", "one")
    written = [next(place.glob("scores/*/results.json")).read_bytes() for place in (one, other)]
    assert written[0] == written[1]
    own = {name: value.rpartition("/")[2] for name, value in answers(one).items()}
    assert len(own) == 6
    assert own == {name: value.rpartition("/")[2] for name, value in answers(again).items()}


def test_real_reports_and_images(folder: Path) -> None:
    rows = {row["id"]: row for row in csv.DictReader((folder / "manifest.csv").open())}
    reports = answers(run("--model", "real", "--task", "report", "--data", folder)[0])
    assert reports == {name: row["report"] for name, row in rows.items()}
    place, found = run("--model", "real", "--task", "generation", "--data", folder)
    assert found["predict_spec"]["settings"]["images"] == "test"
    for name, image in answers(place).items():
        assert pixels(image) == pixels(folder / rows[name]["image"])


def test_images_are_made_smaller_and_never_larger(folder: Path) -> None:
    Image.new("RGB", (30, 60), (9, 9, 9)).save(folder / "3.png")
    words = ("--model", "shuffled", "--task", "generation", "--data", folder)
    for side, sizes in ((40, {(24, 24), (20, 40)}), (0, {(24, 24), (30, 60)})):
        place, _ = run(*words, "--set", f"longest_side={side}")
        assert {Image.open(image).size for image in answers(place).values()} == sizes


def test_shuffled_is_one_derangement_for_every_shard_and_executor(folder: Path) -> None:
    rows = {row["id"]: row for row in csv.DictReader((folder / "manifest.csv").open())}
    words = ("--model", "shuffled", "--task", "report", "--data", folder, "--batch-size", 2)
    place, _ = run(*words)
    whole = answers(place)
    of_report = {row["report"]: row for row in rows.values()}
    assert sorted(whole.values()) == sorted(of_report)
    assert all(of_report[text]["patient_id"] != rows[name]["patient_id"] for name, text in whole.items())
    for index in range(2):
        assert bench("run", *words, "--shard", f"{index}/2", "--quiet", "--results", "parts").exit_code == 0
    parts = [answers(part) for part in Path("parts").glob("*/shards/*")]
    assert parts[0] | parts[1] == whole
    assert not parts[0].keys() & parts[1].keys()
    assert answers(run(*words, "--executor", "process", "--workers", 2, "--results", "several")[0]) == whole
    assert answers(run(*words, "--seed", 1)[0]) != whole
    few = answers(run(*words, "--limit", 5)[0])
    assert sorted(few.values()) == sorted(rows[name]["report"] for name in few)


def test_one_study_cannot_be_shuffled(folder: Path) -> None:
    said = bench("run", "--model", "shuffled", "--task", "report", "--data", folder, "--limit", 1)
    refused(said, "'shuffled' gives each study another one's answer: take two usable studies or more, not 1")


def test_the_mean_image_is_the_mean(folder: Path, training: Path) -> None:
    words = ("--model", "mean-image", "--task", "generation", "--data", folder, "--set", "size=24")
    images = [np.asarray(Image.open(folder / f"{index}.png"), dtype=float) for index in range(12)]
    place, found = run(*words)
    (image,) = set(answers(place).values())
    assert pixels(image) == np.round(np.mean(images, axis=0)).tolist()
    assert found["predict_spec"]["settings"] == {"images": "test", "size": 24}
    own = run(*words, "--limit", 3)[0]
    assert pixels(answers(own)["study-0"]) == np.round(np.mean(images[:3], axis=0)).tolist()
    other, found = run(*words, "--training-data", training)
    assert found["predict_spec"]["settings"]["training"].startswith("made@")
    assert Image.open(answers(other)["study-0"]).size == (24, 24)
    assert pixels(answers(other)["study-0"])[0] == [0] * 24  # 40 by 30 images, padded above and below


def test_another_image_of_the_set_is_another_mean(folder: Path) -> None:
    words = ("--model", "mean-image", "--task", "generation", "--data", folder)
    before = run(*words)[0]
    Image.new("L", (24, 24)).save(folder / "0.png")
    assert run(*words)[0] != before


def test_the_normal_report_is_normal(folder: Path) -> None:
    place, _ = run("--model", "normal-report", "--task", "report", "--data", folder)
    (text,) = set(answers(place).values())
    shown = {name for name, label in zip(*_labels(text), strict=True) if label == 1}
    assert shown == {"No Finding"}
    own, _ = run("--model", "normal-report", "--task", "report", "--data", folder, "--set", "text=Alles gut.")
    assert set(answers(own).values()) == {"Alles gut."}


def _labels(text: str) -> tuple[list[str], list[int]]:
    from unix_bench.data import FINDINGS

    return list(FINDINGS), [int(label) for label in np.asarray(Rule14().label([text]))[0]]


def test_real_images_of_others_are_disjoint(folder: Path, training: Path) -> None:
    rows = list(csv.DictReader((training / "manifest.csv").open()))
    rows[0]["patient_id"] = "patient-3"  # of the test set
    shutil.copy(folder / "7.png", training / "1.png")  # a picture of the test set
    write(training, rows)
    words = ("--model", "real", "--task", "generation", "--data", folder, "--training-data", training)
    said = bench("run", *words, "--quiet")
    assert said.exit_code == 0, said.output
    assert "2 of 20 training studies are left out" in said.stderr
    assert "Real images and reports: images are those of the training set made@" in said.stderr
    place, found = run(*words)
    assert found["predict_spec"]["settings"]["images"] == "training"
    drawn = [pixels(image) for image in answers(place).values()]
    allowed = [pixels(training / f"{index}.png") for index in range(2, 20)]
    assert len(drawn) == 12
    assert all(image in allowed for image in drawn)
    assert len({json.dumps(image) for image in drawn}) == 12  # none twice
    assert answers(run(*words, "--seed", 3)[0]) != answers(place)
    assert run(*words, "--set", "images=test")[1]["predict_spec"]["settings"]["images"] == "test"


def test_only_rows_of_split_train_count(folder: Path, training: Path) -> None:
    rows = [
        {**row, "split": "train" if index < 13 else "validate"}
        for index, row in enumerate(csv.DictReader((training / "manifest.csv").open()))
    ]
    write(training, rows)
    words = ("--model", "real", "--task", "generation", "--data", folder, "--training-data", training)
    drawn = [pixels(image) for image in answers(run(*words)[0]).values()]
    allowed = [pixels(training / f"{index}.png") for index in range(13)]
    assert all(image in allowed for image in drawn)
    write(training, [{**row, "split": "train" if row["id"] < "train-12" else "test"} for row in rows])
    refused(bench("run", *words), "gives each of 12 studies an image of its own", "say --set images=test")


def test_a_restricted_training_set_makes_the_run_restricted(folder: Path, training: Path) -> None:
    (training / "dataset.toml").unlink()
    for point in ("real", "nearest-neighbour"):
        words = ("--model", point, "--task", "generation", "--data", folder, "--training-data", training)
        assert json.loads((run(*words)[0] / "run.json").read_text())["restricted"]
    assert not json.loads((run("--model", "shuffled", "--task", "generation", "--data", folder)[0] / "run.json")
                          .read_text())["restricted"]  # fmt: skip


def test_the_nearest_image_has_the_report(folder: Path, training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(12):  # hardly changed copies of the test images, in another order
        image = np.asarray(Image.open(folder / f"{index}.png")).copy()
        image[0, 0] ^= 1
        Image.fromarray(image).save(training / f"{19 - index}.png")
    monkeypatch.setenv("UNIX_BENCH_TRAINING_DATA", str(training))
    place, found = run("--model", "nearest-neighbour", "--task", "report", "--data", folder)
    assert answers(place) == {f"study-{index}": f"Training report {19 - index}." for index in range(12)}
    assert found["demo"]  # a stand-in chose
    assert found["predict_spec"]["settings"]["encoder"] == f"demodino@{DemoDino().digest[:8]}"


def test_the_nearest_prompt_has_the_image(folder: Path, training: Path) -> None:
    rows = list(csv.DictReader((training / "manifest.csv").open()))
    write(training, [{**row, "prompt": f"Prompt {19 - index} of a patient."} for index, row in enumerate(rows)])
    words = ("--model", "nearest-neighbour", "--task", "generation", "--data", folder, "--training-data", training)
    place, _ = run(*words)
    run_record = json.loads((place / "run.json").read_text())
    assert not run_record["demo"]
    for name, image in answers(place).items():  # of one digit is no word: those prompts are all alike
        index = int(name.removeprefix("study-"))
        assert pixels(image) == pixels(training / f"{19 - index if index > 9 else 10}.png"), name


@pytest.mark.parametrize("task", ["report", "generation"])
def test_no_neighbour_without_a_training_set(folder: Path, task: str) -> None:
    said = bench("run", "--model", "nearest-neighbour", "--task", task, "--data", folder)
    ways = ("with --training-data, in UNIX_BENCH_TRAINING_DATA, or as `training_data` in unix-bench.toml",)
    refused(said, "'nearest-neighbour' answers from a training set, and none is configured", *ways)


def test_the_test_set_is_no_training_set(folder: Path) -> None:
    words = ("--model", "nearest-neighbour", "--task", "generation", "--data", folder, "--training-data", folder)
    refused(bench("run", *words), "'made' has no study that 'made' has not too")


def test_a_training_set_without_reports(folder: Path, training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(training, [{**row, "report": ""} for row in csv.DictReader((training / "manifest.csv").open())])
    monkeypatch.setenv("UNIX_BENCH_TRAINING_DATA", str(training))
    said = bench("run", "--model", "nearest-neighbour", "--task", "report", "--data", folder)
    refused(said, "no row of training data made@", "has a report: add that column")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "real", "--set", "images=mine"), "'real': images must be auto, training or test, not 'mine'"),
        (("--model", "real", "--set", "longest_side=-1"), "longest_side must be pixels from 1 to 4096, or 0"),
        (("--model", "real", "--set", "images=training"), "'real' answers from a training set, and none is configured"),
        (("--model", "mean-image", "--set", "size=0"), "'mean-image': size must be pixels from 1 to 4096, not 0"),
        (("--model", "shuffled", "--set", "sides=3"), "unknown setting 'sides'"),
        (("--model", "normal-report"), "does not do the task 'generation'"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, words: tuple[str, ...], message: str) -> None:
    refused(bench("run", *words, "--task", "generation", "--data", folder), message)


def test_a_point_without_settings(folder: Path) -> None:
    said = bench("run", "--model", "real", "--task", "report", "--data", folder, "--set", "text=x")
    refused(said, "'real' has no settings for report: leave out --set text")


def test_a_card_of_a_users_own(folder: Path) -> None:
    cards = Path("unix-bench/baselines")
    cards.mkdir(parents=True)
    card = 'name = "mine"\ntitle = "Mine"\nfamily = "reference-point"\narchitecture = "{}"\ntasks = ["report"]\n'
    for point, rest, message in (
        ("rael", "", "card 'mine', architecture: unknown reference point 'rael': did you mean 'real'?"),
        ("mean-image", "", "the reference point 'mean-image' has no answer for tasks of kind report"),
        ("normal-report", "", "its settings for report are text: see to text"),
        ("normal-report", '[settings.report]\ntext = " "\n', "'mine': text must be a report, not ' '"),
    ):
        (cards / "mine.toml").write_text(card.format(point) + rest)
        refused(bench("run", "--model", "mine", "--task", "report", "--data", folder), message)


def test_a_broken_image_is_a_failure_where_it_was_to_be_given(folder: Path) -> None:
    (folder / "4.png").write_bytes(b"")
    words = ("--task", "generation", "--data", folder, "--on-error", "drop-pair", "--max-failed", 1)
    place, found = run("--model", "shuffled", *words)
    assert found["counts"]["failed"] == 2  # that study, and the one it would have been given to
    assert run("--model", "mean-image", *words)[1]["counts"]["failed"] == 1
    lines = [json.loads(line) for line in (place / "samples-0.jsonl").read_text().splitlines()]
    assert all("4.png is empty" in line["error"] for line in lines if "error" in line)
