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
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.numpy import load_file
from tiny_encoders import write_biovil_t, write_medsiglip, write_rad_dino

from unix_bench.cli import main
from unix_bench.data import DEMO, FINDINGS, open_image, read_folder
from unix_bench.features import BioViLT, DemoDino, MedSigLip, RadDino
from unix_bench.protocols.generation.alignment import with_other_prompts
from unix_bench.protocols.generation.published import published_row
from unix_bench.scoring.image import frechet_distance, kernel_distance, prdc

GOLDEN = Path(__file__).parents[1] / "golden" / "image_metrics"
OPEN_CXR = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
SHARES = ("precision", "recall", "density", "coverage")


def bench(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


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
    file = place.parent / "drawn.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file, place


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
    drawn: list[Path | None] = [*paths[32:63], None]
    file, place = folder_of(tmp_path / "half", paths[:32], drawn, prompts, labels)
    results = scored(file, place, "--protocol", "chexgenbench", "--per-pathology", "--max-failed", "0.5")
    assert results["counts"]["failed"] == 1
    found = cells(results)
    assert found[None, "fd_demodino"]["n"] == 32
    # The first row of each doubled prompt is labelled, so both of its images count.
    assert found["Edema", "fd_demodino"]["n"] == 16 + 4
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
    samples = pd.read_parquet(next(Path("results/runs").glob("*/scores/sound-*/samples.parquet")))
    assert samples["alignment_biovilt"].mean() == pytest.approx(found[None, "alignment_biovilt"]["value"])
    figures = next(Path("results/runs").glob("*/scores/sound-*/figures"))
    assert "alignment with the prompt" in (figures / "grid_overall.svg").read_text()

    published = overall(scored(file, place, "--protocol", "chexgenbench"))
    x, y = (RadDino(weights / "rad-dino", tmp_path, "squash-299").encode(images[side]).numpy() for side in images)
    shards = list(zip(np.array_split(x, 4), np.array_split(y, 4), strict=True))
    expected = float(np.mean([round(frechet_distance(*pair), 3) for pair in shards]))
    assert published["fd_raddino"]["value"] == pytest.approx(expected, abs=2e-3)
    rounded = np.round((model.encode(images["drawn"]) * texts).sum(dim=1).numpy(), 3)
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
