"""The generation protocols: the published one against golden values, both through the command line on real images."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench import bench, write_lines
from click.testing import Result
from PIL import Image
from safetensors.numpy import load_file
from tiny_encoders import write_biovil_t, write_medsiglip, write_rad_dino

from unix_bench.data import DEMO, FINDINGS, open_image, read_folder
from unix_bench.features import BioViLT, DemoDino, MedSigLip, RadDino
from unix_bench.protocols.generation.alignment import with_other_prompts
from unix_bench.protocols.generation.published import published_row
from unix_bench.scoring.image import (
    FeatureTable,
    floors,
    frechet_distance,
    kernel_distance,
    kernel_sums,
    nearest_distances,
    prdc,
)
from unix_bench.scoring.statistics import FrechetJackknife, kernel_interval, near_share

GOLDEN = Path(__file__).parents[1] / "golden" / "image_metrics"
OPEN_CXR = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
SHARES = ("precision", "recall", "density", "coverage")


def score(file: Path, folder: Path, *words: object) -> Result:
    return bench("score", "--task", "generation", "--predictions", file, "--data", folder, "--quiet", *words)


def scored(file: Path, folder: Path, *words: object, code: int = 0) -> dict[str, Any]:
    result = score(file, folder, "--json", *words)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def cells(results: dict[str, Any]) -> dict[tuple[str | None, str], dict[str, Any]]:
    return {(one["pathology"], one["name"]): one for one in results["metrics"]}


def overall(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in results["metrics"] if one["pathology"] is None}


DEMO_IMAGES = [study for study in read_folder(DEMO).studies if study.reference.image is not None]


def folder_of(
    place: Path,
    real: list[Path],
    drawn: list[Path | None],
    prompts: list[str] | None = None,
    labels: dict[str, list[int | None]] | None = None,
    patients: list[str] | None = None,
) -> tuple[Path, Path]:
    """A folder whose studies have these real images, and a file of predictions with these drawn ones."""
    place.mkdir(parents=True)
    findings = list(labels or {})
    with (place / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "image", "prompt", "patient_id", *findings])
        for index, path in enumerate(real):
            shutil.copy(path, place / f"real{index}{path.suffix}")
            row = [(labels or {})[finding][index] for finding in findings]
            prompt = prompts[index] if prompts else f"prompt {index}"
            patient = patients[index] if patients else f"p{index}"
            table.writerow([f"s{index}", f"real{index}{path.suffix}", prompt, patient, *row])
    (place / "dataset.toml").write_text('name = "halves"\nlicence = "x"\ncitation = "x"\nrestricted = false\n')
    lines = []
    for index, path in enumerate(drawn):
        if path is None:
            lines.append({"id": f"s{index}", "error": "it broke"})
        else:
            shutil.copy(path, place.parent / f"drawn{index}{path.suffix}")
            lines.append({"id": f"s{index}", "image": f"drawn{index}{path.suffix}"})
    return write_lines(place.parent / "drawn.jsonl", lines), place


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Path, Path, list[Path], list[Path]]:
    """Real images as the real ones, other real images as the drawn ones, labelled at random."""
    paths = [study.inputs.image for study in DEMO_IMAGES][:48]
    rng = np.random.default_rng(1)
    labels: dict[str, list[int | None]] = {
        "Edema": [int(each) for each in rng.random(24) < 0.6],
        "Pneumonia": rng.choice([1, 0, -1], size=24).tolist(),
        "Fracture": [1, *[None] * 23],
    }
    file, place = folder_of(tmp_path / "half", paths[:24], paths[24:], labels=labels)
    return file, place, paths[:24], paths[24:]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny encoders where the real ones would lie."""
    place = tmp_path_factory.mktemp("weights")
    write_rad_dino(place / "rad-dino")
    write_biovil_t(place / "biovil-t")
    write_medsiglip(place / "medsiglip")
    return place


def test_the_published_row_is_the_golden_one() -> None:
    """Selection by prompts, four shards, subsets and rounding, as the replica of the published scripts has them."""
    features = load_file(GOLDEN / "protocol_features.safetensors")
    expected = json.loads((GOLDEN / "expected.json").read_text())["protocol"]
    with (GOLDEN / "protocol_real.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    prompts = [row["annotated_prompt"] for row in rows]
    labels = [ast.literal_eval(row["chexpert_labels"]) for row in rows]
    with (GOLDEN / "protocol_synthetic.csv").open(newline="") as stream:
        drawn = [row["annotated_prompt"] for row in csv.DictReader(stream)]
    first = {text: index for index, text in reversed(list(enumerate(prompts)))}

    def row(shown: set[str] | None) -> dict[str, tuple[float | None, str | None]]:
        return published_row(features["real"], features["synthetic"], (prompts, drawn), shown, subsets=3)

    found = {name: value for name, (value, _) in row(None).items()}
    golden = expected["overall_4_shards_averaged"]
    assert found == {"fd": golden["FD"], "kd": golden["KD"], **{share: golden[share] for share in SHARES}}
    for finding in FINDINGS:
        golden = expected["per_pathology"][finding]
        values = row({text for text, index in first.items() if labels[index][finding] == 1})
        assert values["fd"][0] == golden["FD"]
        assert values["kd"][0] == golden["KD"]
        if "raises" in golden:
            assert values["density"] == (None, "the published scripts need 7 images a side, and have 6")
        else:
            assert {share: values[share][0] for share in SHARES} == {share: golden[share] for share in SHARES}


def test_sound_numbers_are_those_of_the_functions(halves: tuple[Path, Path, list[Path], list[Path]]) -> None:
    file, place, real, drawn = halves
    results = scored(file, place, "--per-pathology")
    assert results["demo"]
    assert results["score_spec"]["protocol_version"] == 2
    found = cells(results)
    encoder = DemoDino()
    x, y = (encoder.encode([open_image(path) for path in side]).numpy() for side in (real, drawn))
    manifest = pd.read_csv(place / "manifest.csv")
    for pathology in (None, "Edema", "Pneumonia"):
        rows = np.arange(24) if pathology is None else np.flatnonzero(manifest[pathology] == 1)
        assert found[pathology, "fd_demodino"]["n"] == len(rows)
        assert found[pathology, "fd_demodino"]["value"] == pytest.approx(frechet_distance(x[rows], y[rows]), rel=1e-4)
        kd = found[pathology, "kd_demodino"]
        assert kd["value"] == pytest.approx(kernel_distance(x[rows], y[rows]), rel=1e-4, abs=1e-7)
        assert kd["ci"][0] <= kd["value"] <= kd["ci"][1]
        shares = prdc(x[rows], y[rows], 5)
        assert [found[pathology, f"{share}_demodino"]["value"] for share in SHARES] == pytest.approx(
            [getattr(shares, share) for share in SHARES]
        )
        assert "bias-dominated" in found[pathology, "fd_demodino"]["flags"]
        floor, half = (found[pathology, f"{kind}_demodino"]["value"] for kind in ("fd_floor", "fd_half"))
        assert floor > 0.0
        assert half > 0.0
    common = min(len(np.flatnonzero(manifest[finding] == 1)) for finding in ("Edema", "Pneumonia"))
    assert common < 10 or found["Edema", "density_common_demodino"]["sd"] > 0.0
    assert found["Fracture", "fd_demodino"]["reason"] == "needs 2 images, there is 1"
    assert found["Lung Lesion", "kd_demodino"]["reason"] == "no predicted study shows this finding"
    assert found[None, "fd_raddino"]["reason"].startswith("microsoft/rad-dino is not here: put its files into")
    assert found[None, "alignment_biovilt"]["value"] is None
    assert {pathology for pathology, _ in found} == {None, *FINDINGS}
    assert ("Edema", "fd_inf_demodino") not in found


def test_uncertain_labels_count_as_they_are_told_to(halves: tuple[Path, Path, list[Path], list[Path]]) -> None:
    file, place, *_ = halves
    manifest = pd.read_csv(place / "manifest.csv")
    for rule, shown in (("negative", [1]), ("positive", [1, -1])):
        found = cells(scored(file, place, "--per-pathology", "--uncertain", rule))["Pneumonia", "kd_demodino"]
        assert found["n"] == manifest["Pneumonia"].isin(shown).sum()
        assert f"row=Pneumonia labelled as shown, uncertain as {rule}" in found["signature"]
    refused = score(file, place, "--protocol", "chexgenbench", "--per-pathology", "--uncertain", "positive")
    assert refused.exit_code == 2
    assert "not what the published evaluation does" in refused.stderr


def test_the_second_scoring_encodes_nothing(
    halves: tuple[Path, Path, list[Path], list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One pass an image and geometry, whatever the number of rows; none in another scoring of the same images."""
    file, place, *_ = halves
    monkeypatch.setenv("UNIX_BENCH_CACHE", str(tmp_path / "cache"))
    passes: list[int] = []
    embed = DemoDino.embed
    monkeypatch.setattr(DemoDino, "embed", lambda self, pixels: (passes.append(len(pixels)), embed(self, pixels))[1])
    first = scored(file, place, "--per-pathology")
    assert sum(passes) == 2 * 48
    passes.clear()
    again = scored(file, place, "--results", tmp_path / "elsewhere", "--per-pathology")
    assert sum(passes) == 0
    assert again == first
    scored(file, place, "--protocol", "chexgenbench", "--per-pathology")  # its geometry was the second opinion
    assert sum(passes) == 0


def test_published_duplicates_failures_and_no_intervals(tmp_path: Path) -> None:
    """A failed image is black and counts; real rows of one prompt count once."""
    paths = [study.inputs.image for study in DEMO_IMAGES][:64]
    prompts = [f"prompt {index // 2 if index < 8 else index}" for index in range(32)]
    labels: dict[str, list[int | None]] = {"Edema": [int(index % 2 == 0) for index in range(32)]}
    labels["Fracture"] = [int(index % 2 == 1) for index in range(32)]
    drawn: list[Path | None] = [*paths[32:63], None]
    file, place = folder_of(tmp_path / "half", paths[:32], drawn, prompts, labels)
    results = scored(file, place, "--protocol", "chexgenbench", "--per-pathology", "--max-failed", "0.5")
    assert results["counts"]["failed"] == 1
    found = cells(results)
    assert found[None, "fd_demodino"]["n"] == 32
    # The first row of each doubled prompt is labelled, so both of its images count.
    assert found["Edema", "fd_demodino"]["n"] == 16 + 4
    assert found["Edema", "fd_demodino"]["support"] == 16  # real images, one a prompt
    # The second row of a doubled prompt is labelled, and does not count.
    assert found["Fracture", "fd_demodino"]["n"] == 12
    assert all(one["ci"] is None for one in found.values())
    encoder = DemoDino("squash-299")
    black = Image.new("RGB", (299, 299))
    x = encoder.encode([open_image(path) for path in paths[:32]]).numpy()
    y = encoder.encode([*(open_image(path) for path in paths[32:63]), black]).numpy()
    first = [0, 2, 4, 6, *range(8, 32)]
    shards = zip(np.array_split(x[first], 4), np.array_split(y, 4), strict=True)
    expected = round(float(np.mean([round(frechet_distance(*pair), 3) for pair in shards])), 3)
    assert found[None, "fd_demodino"]["value"] == pytest.approx(expected, abs=2e-3)
    refused = score(file, place, "--protocol", "chexgenbench", "--on-error", "drop-pair")
    assert refused.exit_code == 2


def test_real_halves_do_not_differ(tmp_path: Path) -> None:
    """182 real radiographs in two halves: the interval of KD covers zero."""
    if not OPEN_CXR.is_dir():
        pytest.skip("the shared images are not here")
    paths = [study.inputs.image for study in read_folder(OPEN_CXR).studies]
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(paths))
        half = len(paths) // 2
        real, drawn = [paths[i] for i in order[:half]], [paths[i] for i in order[half:]]
        file, place = folder_of(tmp_path / str(seed) / "half", real, drawn)
        found = overall(scored(file, place))
        low, high = found["kd_demodino"]["ci"]
        assert low <= 0.0 <= high


def test_odd_images_are_encoded(tmp_path: Path) -> None:
    """Different sizes, grey, colour, 16 bits, transparency."""
    rng = np.random.default_rng(0)
    place = tmp_path / "odd"
    place.mkdir()
    kinds = {
        "grey": rng.integers(0, 256, (40, 90)).astype(np.uint8),
        "colour": rng.integers(0, 256, (50, 30, 3)).astype(np.uint8),
        "deep": rng.integers(0, 65536, (33, 44)).astype(np.uint16),
        "alpha": rng.integers(0, 256, (60, 60, 4)).astype(np.uint8),
    }
    for name, pixels in kinds.items():
        Image.fromarray(pixels).save(place / f"{name}.png")
    paths = [place / f"{name}.png" for name in kinds]
    file, folder = folder_of(tmp_path / "half", paths, [*paths[1:], paths[0]])
    found = overall(scored(file, folder))
    assert abs(found["fd_demodino"]["value"]) < 1e-6  # the same four images in another order
    assert found["precision_demodino"]["reason"] == "needs 6 images, there are 4"


def test_identical_images_are_flagged_and_finite(tmp_path: Path) -> None:
    """A model that always draws one image, and constant features, give numbers or reasons and no warning."""
    paths = [study.inputs.image for study in DEMO_IMAGES][:20]
    file, folder = folder_of(tmp_path / "half", paths, [paths[0]] * 20)
    found = overall(scored(file, folder))
    assert found["fd_demodino"]["value"] > 0.0
    assert found["coverage_demodino"]["value"] < 1.0
    patients = [f"other{index}" for index in range(20)]
    file, folder = folder_of(tmp_path / "same" / "half", [paths[0]] * 20, [paths[0]] * 20, patients=patients)
    found = overall(scored(file, folder))
    assert found["fd_demodino"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert found["kd_demodino"]["ci"] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_a_training_set_finds_what_was_remembered(
    halves: tuple[Path, Path, list[Path], list[Path]], tmp_path: Path
) -> None:
    file, place, *_ = halves
    training = [study.inputs.image for study in DEMO_IMAGES][24:]
    _, known = folder_of(tmp_path / "training" / "set", training, [], patients=[f"t{i}" for i in range(len(training))])
    found = overall(scored(file, place, "--training-data", known))
    assert found["nearest_training_demodino"]["value"] < found["nearest_held_out_demodino"]["value"]
    gap = found["memorisation_gap_demodino"]
    assert gap["value"] > 0.0
    assert gap["ci"][0] > 0.0  # every drawn image is one of the training set
    assert found["fd_pca_demodino"]["value"] > 0.0
    assert "training=halves@" in gap["signature"]
    without = overall(scored(file, place))
    assert "no training set is configured" in without["memorisation_gap_demodino"]["reason"]
    assert "near_copies_demodino" in {name for name, one in found.items() if one["value"] is not None}
    refused = score(file, place, "--training-data", "demo")
    assert refused.exit_code == 2
    assert "'demo' has 0 usable rows of split 'train'" in refused.stderr
    refused = score(file, place, "--training-data", tmp_path / "nowhere")
    assert refused.exit_code == 2
    assert "nowhere" in refused.stderr


def test_alignment_with_other_prompts_by_hand() -> None:
    rng = np.random.default_rng(2)
    images, texts = rng.normal(size=(2, 6, 5)).astype(np.float32)
    prompts = ["a", "b", "a", "c", "b", "d"]
    texts[2], texts[4] = texts[0], texts[1]
    found = with_other_prompts(images, texts, prompts)
    for i in range(6):
        others = [j for j in range(6) if prompts[j] != prompts[i]]
        cosines = [float(images[i] @ texts[j] / np.linalg.norm(images[i]) / np.linalg.norm(texts[j])) for j in others]
        assert found[i] == pytest.approx(np.mean(cosines), rel=1e-5)
    assert np.isnan(with_other_prompts(images, texts, ["a"] * 6)).all()


def test_figures_lie_in_the_folder_of_the_run(halves: tuple[Path, Path, list[Path], list[Path]]) -> None:
    file, place, *_ = halves
    scored(file, place, "--per-pathology")
    figures = next(Path("results/runs").glob("*/scores/sound-*/figures"))
    names = {path.name for path in figures.iterdir()}
    assert {"grid_overall.png", "grid_overall.svg", "grid_edema.png"} <= names
    assert any(name.endswith("demodino.svg") for name in names)
    assert "RESTRICTED" not in (figures / "grid_overall.svg").read_text()
    (place / "dataset.toml").unlink()  # a folder that does not say otherwise is restricted
    scored(file, place, "--results", "restricted")
    figures = next(Path("restricted").glob("*/scores/sound-*/figures"))
    assert "RESTRICTED" in (figures / "grid_overall.svg").read_text()


def test_every_encoder_through_its_own_loading(
    halves: tuple[Path, Path, list[Path], list[Path]], weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, place, real, drawn = halves
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(weights))
    results = scored(file, place, "--per-pathology")
    assert not results["demo"]
    assert list(results["score_spec"]["instruments"]) == ["raddino", "raddino_squash", "medsiglip", "biovilt"]
    found = cells(results)
    assert not any("demodino" in name for _, name in found)
    images = {side: [open_image(path) for path in paths] for side, paths in (("real", real), ("drawn", drawn))}
    for column, encoder in (
        ("raddino", RadDino(weights / "rad-dino", tmp_path)),
        ("raddino_squash", RadDino(weights / "rad-dino", tmp_path, "squash-299")),
        ("medsiglip", MedSigLip(weights / "medsiglip", tmp_path)),
    ):
        x, y = (encoder.encode(images[side]).numpy() for side in ("real", "drawn"))
        assert found[None, f"fd_{column}"]["value"] == pytest.approx(frechet_distance(x, y), rel=1e-3)
        assert found[None, f"kd_{column}"]["value"] == pytest.approx(kernel_distance(x, y), rel=1e-3, abs=1e-6)
    model = BioViLT(weights / "biovil-t", tmp_path)
    texts, _ = model.text_embeddings([f"prompt {index}" for index in range(24)])
    for name, side in (("alignment_biovilt", "drawn"), ("alignment_real_biovilt", "real")):
        cosines = (model.encode(images[side]) * texts).sum(dim=1).numpy()
        assert found[None, name]["value"] == pytest.approx(float(cosines.mean()), abs=1e-5)
        low, high = found[None, name]["ci"]
        assert low < found[None, name]["value"] < high
    others = with_other_prompts(
        model.encode(images["drawn"]).numpy(), texts.numpy(), [f"prompt {index}" for index in range(24)]
    )
    assert found[None, "alignment_shuffled_biovilt"]["value"] == pytest.approx(float(others.mean()), abs=1e-5)
    samples = pd.read_parquet(next(Path("results/runs").glob("*/scores/sound-*/samples.parquet")))
    assert samples["alignment_biovilt"].mean() == pytest.approx(found[None, "alignment_biovilt"]["value"])
    figures = next(Path("results/runs").glob("*/scores/sound-*/figures"))
    assert "alignment with the prompt" in (figures / "grid_overall.svg").read_text()

    published = overall(scored(file, place, "--protocol", "chexgenbench"))
    x, y = (RadDino(weights / "rad-dino", tmp_path, "squash-299").encode(images[side]).numpy() for side in images)
    shards = list(zip(np.array_split(x, 4), np.array_split(y, 4), strict=True))
    expected = float(np.mean([round(frechet_distance(*pair), 3) for pair in shards]))
    assert published["fd_raddino"]["value"] == pytest.approx(expected, abs=2e-3)
    cropped = BioViLT(weights / "biovil-t", tmp_path, "centre-crop").encode(images["drawn"])
    rounded = np.round((cropped * texts).sum(dim=1).numpy(), 3)
    assert published["alignment_biovilt"]["value"] == pytest.approx(round(float(rounded.mean()), 3), abs=1.1e-3)


def test_prompts_that_are_too_long(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, counted and flagged under `sound`; the end of the published script, and so no value, under the other."""
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(weights))
    paths = [study.inputs.image for study in DEMO_IMAGES][:16]
    file, place = folder_of(tmp_path / "half", paths[:8], paths[8:], ["word " * 900, *(f"no {i}" for i in range(7))])
    result = score(file, place, "--json")
    assert "WARNING: 1 of 8 prompts are longer than BioViL-T reads" in result.stderr
    assert "prompts-cut" in overall(json.loads(result.stdout))["alignment_biovilt"]["flags"]
    published = overall(scored(file, place, "--protocol", "chexgenbench"))["alignment_biovilt"]
    assert published["value"] is None
    assert "tokens, and BioViL-T reads 512: the published alignment script stops there" in published["reason"]


def test_weights_that_are_named_and_not_there(
    halves: tuple[Path, Path, list[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, place, *_ = halves
    monkeypatch.setenv("UNIX_BENCH_RAD_DINO", str(tmp_path / "nowhere"))
    refused = score(file, place)
    assert refused.exit_code == 2
    assert "nowhere is not a folder: copy microsoft/rad-dino there" in refused.stderr
    monkeypatch.delenv("UNIX_BENCH_RAD_DINO")
    for metric, said in (("kd_raddino", "microsoft/rad-dino is neither"), ("alignment_biovilt", "BioViL-T is neither")):
        refused = score(file, place, "--require", metric)
        assert refused.exit_code == 2
        assert said in refused.stderr


def test_an_unreadable_real_image_is_black_as_published(tmp_path: Path) -> None:
    """The published scripts take it for a black image, so nobody has to say what to do with it."""
    paths = [study.inputs.image for study in DEMO_IMAGES][:40]
    file, place = folder_of(tmp_path / "half", paths[:20], paths[20:])
    (place / f"real3{paths[3].suffix}").write_bytes(b"no image")
    assert score(file, place).exit_code == 2
    results = scored(file, place, "--protocol", "chexgenbench", "--max-failed", "0.5")
    assert (results["counts"]["ok"], results["counts"]["failed"]) == (19, 1)
    black = Image.new("RGB", (299, 299))
    encoder = DemoDino("squash-299")
    sides = [
        [black if i == 3 else open_image(path) for i, path in enumerate(side)] for side in (paths[:20], paths[20:])
    ]
    x, y = (encoder.encode(side).numpy() for side in sides)
    shards = zip(np.array_split(x, 4), np.array_split(y, 4), strict=True)
    expected = float(np.mean([round(frechet_distance(*pair), 3) for pair in shards]))
    assert overall(results)["fd_demodino"]["value"] == pytest.approx(expected, abs=2e-3)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path], list[Path], list[str]]:
    """Ninety pairs of 18 patients: more than twice as many as the encoder has dimensions; one finding is rare."""
    rng = np.random.default_rng(3)
    place = tmp_path_factory.mktemp("clustered")
    patients = [f"p{index // 5}" for index in range(90)]
    sides: list[list[Path]] = []
    for side in ("real", "drawn"):
        shared = rng.integers(0, 256, size=(18, 6, 6))
        paths = []
        for index in range(90):
            own = rng.integers(0, 256, size=(6, 6))
            mixed = (0.6 * shared[index // 5] + 0.4 * own) * (0.8 if side == "drawn" else 1.0)
            image = Image.fromarray(mixed.astype(np.uint8)).resize((90, 120), Image.Resampling.BICUBIC)
            paths.append(place / f"{side}-{index}.png")
            image.save(paths[-1])
        sides.append(paths)
    labels: dict[str, list[int | None]] = {
        "Edema": [int(index % 3 == 0) for index in range(90)],
        "Fracture": [int(index % 6 == 0) for index in range(90)],
    }
    file, folder = folder_of(place / "folder", *sides, labels=labels, patients=patients)
    return file, folder, sides[0], sides[1], patients


Clustered = tuple[Path, Path, list[Path], list[Path], list[str]]


def test_floors_flags_intervals_and_the_common_n(clustered: Clustered) -> None:
    """Every number of a row against the functions on the row's own features and patients."""
    file, folder, real, drawn, patients = clustered
    found = cells(scored(file, folder, "--per-pathology"))
    encoder = DemoDino()
    x, y = (encoder.encode([open_image(path) for path in side]).numpy() for side in (real, drawn))
    for pathology, rows in ((None, np.arange(90)), ("Edema", np.arange(0, 90, 3)), ("Fracture", np.arange(0, 90, 6))):
        own = [patients[row] for row in rows]

        def value(kind: str, pathology: str | None = pathology) -> dict[str, Any]:
            return found[pathology, f"{kind}_demodino"]

        expected = floors(x[rows], y[rows], own, seed=0)
        assert value("fd_floor")["value"] == pytest.approx(expected.fd, rel=1e-3)
        assert value("fd_half")["value"] == pytest.approx(expected.fd_at_half, rel=1e-3)
        assert value("kd_floor")["value"] == pytest.approx(expected.kd, rel=1e-2)
        biased = len(rows) < 64 or expected.fd > expected.fd_at_half / 2
        assert ("bias-dominated" in value("fd")["flags"]) == biased
        assert value("kd")["ci"] == pytest.approx(kernel_interval(kernel_sums(x[rows], y[rows], own)), rel=1e-2)
        assert value("fd")["ci"] == pytest.approx(FrechetJackknife(x[rows], y[rows], own).interval(), rel=1e-2)
        common = FeatureTable(x, y).prdc_at(15, 20, 0, rows, rows)
        assert "common_n=15;" in value("density_common")["signature"]
        if len(rows) > 15:
            assert value("density_common")["value"] == pytest.approx(common.mean.density, abs=0.02)
            assert value("density_common")["sd"] == pytest.approx(common.deviation.density, abs=0.02)
        else:  # one subsample is the row itself: nothing to vary
            assert value("density_common")["value"] == value("density")["value"]
            assert value("density_common")["sd"] is None
    assert "bias-dominated" not in found[None, "fd_demodino"]["flags"]
    assert "bias-dominated" in found["Edema", "fd_demodino"]["flags"]


def test_a_distance_no_larger_than_the_floor_is_flagged(clustered: Clustered, tmp_path: Path) -> None:
    """Enough images for 2 d, but the drawn ones are real: their FD is what sampling alone amounts to."""
    _, _, real, _, _ = clustered
    patients = [f"other{index // 5}" for index in range(90)]
    file, folder = folder_of(tmp_path / "same", real, [*real[5:], *real[:5]], patients=patients)
    found = overall(scored(file, folder))
    assert found["fd_demodino"]["n"] >= 64
    assert "bias-dominated" in found["fd_demodino"]["flags"]


def test_patients_that_are_not_named(clustered: Clustered, tmp_path: Path) -> None:
    """One missing patient is said, and the others still cluster the interval."""
    file, folder, *_ = clustered
    named = overall(scored(file, folder))["kd_demodino"]
    other = Path(shutil.copytree(folder, tmp_path / "folder"))
    shutil.copytree(file.parent, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("folder"))
    manifest = pd.read_csv(other / "manifest.csv", dtype=str)
    manifest.loc[0, "patient_id"] = None
    manifest.to_csv(other / "manifest.csv", index=False)
    found = overall(scored(tmp_path / file.name, other))
    for kind in ("kd", "fd"):
        assert "patients-unknown" in found[f"{kind}_demodino"]["flags"]
    assert np.ptp(found["kd_demodino"]["ci"]) == pytest.approx(np.ptp(named["ci"]), rel=0.2)


def test_training_images_in_full(clustered: Clustered, tmp_path: Path) -> None:
    """Restriction is inherited, no id leaves, changed pixels are another scoring, shared patients are refused."""
    file, folder, real, drawn, patients = clustered
    _, training = folder_of(tmp_path / "a" / "set", real[:30], [], patients=[f"t{index // 2}" for index in range(30)])
    first = scored(file, folder, "--training-data", training)
    found, encoder = overall(first), DemoDino()
    x, y = (encoder.encode([open_image(path) for path in side]).numpy() for side in (real, drawn))
    near = near_share(nearest_distances(y, x[:30]), nearest_distances(x, x[:30]), patients, seed=0)
    assert found["near_copies_demodino"]["value"] == pytest.approx(near.value, abs=0.02)
    assert found["kd_train_demodino"]["value"] == pytest.approx(kernel_distance(x, x[:30]), rel=0.02)
    assert found["fd_train_demodino"]["flags"] == ["bias-dominated"]
    assert found["fd_train_demodino"]["value"] > 0.0
    assert not first["restricted"]
    Image.new("L", (40, 40), 99).save(training / "real0.png")
    second = scored(file, folder, "--training-data", training)
    assert overall(second)["nearest_training_demodino"]["value"] != found["nearest_training_demodino"]["value"]
    (training / "dataset.toml").unlink()
    assert scored(file, folder, "--training-data", training)["restricted"]
    _, shared = folder_of(tmp_path / "b" / "set", real[:20], [], patients=patients[:20])
    refused = scored(file, folder, "--training-data", shared)
    assert "4 patients are in the test set" in overall(refused)["memorisation_gap_demodino"]["reason"]
    assert '"p0"' not in json.dumps(refused)
    assert "'p0'" not in json.dumps(refused)
    (shared / "real1.png").write_bytes(b"broken")
    said = score(file, folder, "--training-data", shared)
    assert "WARNING: 1 of 20 training images are left out" in said.stderr
    pointless = score(file, folder, "--training-data", shared, "--protocol", "chexgenbench")
    assert pointless.exit_code == 2
    assert "--training-data has no meaning for generation under chexgenbench" in pointless.stderr
    missing = score(file, folder, "--require", "memorisation_gap_demodino")
    assert missing.exit_code == 2
    assert "no training set is configured" in missing.stderr


def test_findings_are_ranked_by_kd(clustered: Clustered) -> None:
    file, folder, *_ = clustered
    result = score(file, folder, "--per-pathology")
    rows = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if line.startswith("│")}
    ranks = [int(rows[name].split("│")[-2]) for name in ("Edema", "Fracture")]
    found = cells(scored(file, folder, "--per-pathology"))
    nearer = found["Edema", "kd_demodino"]["value"] < found["Fracture", "kd_demodino"]["value"]
    assert ranks == ([1, 2] if nearer else [2, 1])
    assert rows["Overall"].split("│")[-2].strip() == ""
