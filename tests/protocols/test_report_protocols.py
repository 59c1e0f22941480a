"""The report protocols through the command line: golden values, scikit-learn, and what users get wrong."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench import bench, write_lines
from click.testing import Result
from PIL import Image
from sklearn.metrics import f1_score

from unix_bench.data import FINDINGS

GOLDEN = Path(__file__).parents[1] / "golden" / "report_metrics"
TINY = GOLDEN / "tiny_models"
PAIRS = [json.loads(line) for line in (GOLDEN / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]


def data(place: Path, reports: dict[str, str], patients: dict[str, str] | None = None) -> Path:
    """A folder of studies that share one image."""
    place.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(place / "one.png")
    with (place / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "image", "report", "patient_id"])
        for name, report in reports.items():
            shutil.copy(place / "one.png", place / f"{name}.png")
            table.writerow([name, f"{name}.png", report, (patients or {}).get(name, name)])
    return place


def predictions(file: Path, reports: dict[str, str | None]) -> Path:
    return write_lines(file, ({"id": name, "report": report} for name, report in reports.items()))


def score(file: Path, folder: Path, *words: object) -> Result:
    return bench("score", "--task", "report", "--predictions", file, "--data", folder, "--json", "--quiet", *words)


def metrics(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code in (0, 1), result.output
    return {one["name"]: one for one in json.loads(result.stdout)["metrics"] if one["pathology"] is None}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny CheXbert and RadGraph where real ones would lie."""
    place = tmp_path / "weights"
    (place / "chexbert").mkdir(parents=True)
    shutil.copy(TINY / "chexbert_tiny_random.pth", place / "chexbert" / "chexbert.pth")
    shutil.copytree(TINY / "bert-tiny", place / "bert-base-uncased")
    archive = place / "radgraph" / "radgraph"
    shutil.copytree(TINY / "radgraph_tiny_random", archive)
    config = (archive / "config.json").read_text()
    (archive / "config.json").write_text(config.replace("REPLACE_WITH_BERT_TINY_DIR", "bert-base-uncased"))
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(place))
    return place


@pytest.fixture
def golden_files(tmp_path: Path) -> tuple[Path, Path]:
    folder = data(tmp_path / "golden", {pair["id"]: pair["ref"] for pair in PAIRS})
    hypotheses = {pair["id"]: pair["hyp"] for pair in PAIRS if pair["ref"]}
    return predictions(tmp_path / "theirs.jsonl", hypotheses), folder


def test_unix_is_the_published_evaluation(golden_files: tuple[Path, Path], weights: Path) -> None:
    found = metrics(score(*golden_files, "--protocol", "unix"))
    golden = json.loads((GOLDEN / "aggregate.json").read_text())
    expected = {f"bleu_{order}": golden["unix"][f"BLEU{order}"] for order in range(1, 5)}
    for name, value in {**expected, "rouge_l": golden["unix"]["ROUGE_L"]}.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-9)
        assert found[name]["n"] == golden["n_kept"]


def test_chexbert_f1_of_the_published_labels(tmp_path: Path, weights: Path) -> None:
    rows = json.loads((TINY / "chexbert_tiny_expected.json").read_text())["rows"]
    rows = [row for row in rows if row["text"].strip() and row["min_margin"] > 1e-3]
    half = len(rows) // 2
    hypotheses, references = rows[:half], rows[half : 2 * half]
    folder = data(tmp_path / "d", {f"s{n}": row["text"] for n, row in enumerate(references)})
    file = predictions(tmp_path / "p.jsonl", {f"s{n}": row["text"] for n, row in enumerate(hypotheses)})
    found = metrics(score(file, folder, "--protocol", "unix"))
    predicted, reference = (np.array([row["labels"] for row in side]) for side in (hypotheses, references))
    for average in ("micro", "macro"):
        theirs = f1_score(reference == 1, predicted == 1, average=average, zero_division=0)
        assert found[f"chexbert_f1_{average}_14_neg"]["value"] == pytest.approx(theirs, abs=1e-9)


def test_radgraph_of_the_package(tmp_path: Path, weights: Path) -> None:
    golden = json.loads((TINY / "radgraph_tiny_expected.json").read_text())
    folder = data(tmp_path / "d", {f"s{n}": reference for n, (_, reference) in enumerate(golden["pairs"])})
    file = predictions(tmp_path / "p.jsonl", {f"s{n}": prediction for n, (prediction, _) in enumerate(golden["pairs"])})
    for protocol in ("unix", "sound"):
        found = metrics(score(file, folder, "--protocol", protocol))["radgraph_f1_partial"]
        assert found["value"] == pytest.approx(golden["mean_partial"], abs=1e-9)
        assert found["ci"][0] <= found["value"] <= found["ci"][1]


def test_unix_reads_its_own_csv_as_pandas_does(tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "csv_quirks.json").read_text())
    rows = list(csv.DictReader((GOLDEN / "understanding_results.csv").open(encoding="utf-8", newline="")))
    folder = data(tmp_path / "d", {f"img{n}": row["Ground Truth"] for n, row in enumerate(rows)})
    found = metrics(score(GOLDEN / "understanding_results.csv", folder, "--protocol", "unix"))
    assert found["bleu_1"]["n"] == len(golden["kept_by_unix"])
    kept = {f"k{n}": texts for n, (_, *texts) in enumerate(golden["kept_by_unix"])}
    same = data(tmp_path / "same", {name: reference for name, (_, reference) in kept.items()})
    file = predictions(tmp_path / "same.jsonl", {name: prediction for name, (prediction, _) in kept.items()})
    for name, metric in metrics(score(file, same, "--protocol", "unix")).items():
        assert metric["value"] == found[name]["value"], name
    sound = metrics(score(GOLDEN / "understanding_results.csv", folder, "--max-failed", 1))
    assert sound["bleu_1"]["n"] == 10, "of 11 studies with a reference one prediction is an empty cell, which failed"


def test_failed_and_missing_predictions(tmp_path: Path) -> None:
    references = dict.fromkeys("abcd", "No effusion. Nan.")
    folder = data(tmp_path / "d", references)
    file = predictions(tmp_path / "p.jsonl", {"a": "No effusion. Nan.", "b": None, "c": "   "})
    published = metrics(score(file, folder, "--protocol", "unix"))
    as_nan = predictions(tmp_path / "q.jsonl", {"a": "No effusion. Nan.", "b": "nan", "d": "nan"})
    three = data(tmp_path / "three", {name: references[name] for name in "abd"})
    for name, metric in metrics(score(as_nan, three, "--protocol", "unix")).items():
        assert (metric["value"], metric["n"]) == (published[name]["value"], 3), name
    sound = metrics(score(file, folder))
    assert sound["rouge_l"]["value"] == pytest.approx(1 / 2), "a blank report is a report"
    zero = metrics(score(file, folder, "--on-error", "score-zero"))
    assert zero["rouge_l"]["value"] == pytest.approx(1 / 4)
    assert zero["rule14_f1_pleural_effusion_neg"]["n"] == 4
    refusal = score(file, folder, "--protocol", "unix", "--on-error", "drop-pair")
    assert refusal.exit_code == 2
    assert "leave it out under --protocol unix" in refusal.stderr


def test_sound_is_scikit_learn(golden_files: tuple[Path, Path], weights: Path) -> None:
    found = metrics(score(*golden_files))
    table = pd.read_parquet(next(Path("results/runs").glob("*/scores/sound-*/samples.parquet")))
    for labeller in ("chexbert", "rule14"):
        predicted, reference = (np.array(table[f"{labeller}_{side}"].tolist()) for side in ("predicted", "reference"))
        for policy, positive in (("neg", (1,)), ("pos", (1, 3))):
            p, r = np.isin(predicted, positive), np.isin(reference, positive)
            five = [1, 4, 5, 7, 9]
            for size, columns in (("14", slice(None)), ("5", five)):
                for average in ("micro", "macro"):
                    theirs = f1_score(r[:, columns], p[:, columns], average=average, zero_division=0)
                    ours = found[f"{labeller}_f1_{average}_{size}_{policy}"]["value"]
                    assert ours == pytest.approx(theirs, abs=1e-12)
            theirs = f1_score(r, p, average="samples", zero_division=0)
            assert found[f"{labeller}_example_f1_{policy}"]["value"] == pytest.approx(theirs, abs=1e-12)
            for finding, theirs in zip(FINDINGS, f1_score(r, p, average=None, zero_division=0), strict=True):
                one = found[f"{labeller}_f1_{finding.lower().replace(' ', '_')}_{policy}"]
                assert one["value"] == pytest.approx(theirs, abs=1e-12)
                assert one["support"] == r[:, FINDINGS.index(finding)].sum()
                assert ("few-positives" in one["flags"]) == (one["support"] < 20)
    assert all(metric["ci"] and metric["ci"][0] <= metric["value"] <= metric["ci"][1] for metric in found.values())


def test_missing_weights_are_told_and_may_be_required(tmp_path: Path) -> None:
    folder = data(tmp_path / "d", {"a": "Clear lungs."})
    file = predictions(tmp_path / "p.jsonl", {"a": "Clear lungs."})
    result = score(file, folder)
    assert result.exit_code == 0
    found = metrics(result)
    assert found["chexbert_f1_micro_14_neg"]["value"] is None
    assert "put chexbert.pth of its release into chexbert/" in found["chexbert_f1_micro_14_neg"]["reason"]
    assert "RadGraph is not here" in found["radgraph_f1_partial"]["reason"]
    assert found["rule14_f1_no_finding_neg"]["value"] == 1.0
    for metric in ("chexbert", "radgraph_f1_partial"):
        refusal = score(file, folder, "--require", metric)
        assert refusal.exit_code == 2
        assert f"--require {metric}: " in refusal.stderr
    assert score(file, folder, "--require", "rouge_l").exit_code == 0
    refusal = score(file, folder, "--require", "rogue")
    assert refusal.exit_code == 2
    assert "--require rogue: report has no such metric under sound" in refusal.stderr


def test_another_model_s_checkpoint_is_refused_with_its_keys(tmp_path: Path, weights: Path) -> None:
    import torch

    checkpoint = weights / "chexbert" / "chexbert.pth"
    stored = torch.load(checkpoint, weights_only=True)
    state = stored["model_state_dict"]
    state["module.linear_heads.14.weight"] = state.pop("module.linear_heads.13.weight")
    torch.save(stored, checkpoint)
    folder = data(tmp_path / "d", {"a": "Clear lungs."})
    refusal = score(predictions(tmp_path / "p.jsonl", {"a": "Clear."}), folder)
    assert refusal.exit_code == 2
    assert "1 missing: module.linear_heads.13.weight" in refusal.stderr
    assert "1 unknown: module.linear_heads.14.weight" in refusal.stderr


def test_unix_stops_where_the_publication_stops(tmp_path: Path, weights: Path) -> None:
    folder = data(tmp_path / "d", {"a": "." * 600})
    file = predictions(tmp_path / "p.jsonl", {"a": "Clear."})
    found = metrics(score(file, folder, "--protocol", "unix"))
    assert found["chexbert_f1_micro_14_neg"]["value"] is None
    assert "514 tokens" in found["chexbert_f1_micro_14_neg"]["reason"]
    assert metrics(score(file, folder))["chexbert_f1_micro_14_neg"]["value"] is not None, "sound reads 512 tokens"


def test_odd_reports_are_scored(tmp_path: Path, weights: Path) -> None:
    odd = {"empty": "", "blank": " \n\t", "none": "None", "long": "effusion " * 700, "emoji": "🫁 clear 🙂"}
    odd |= {"control": "clear\x00\x07 lungs", "surrogate": "clear \ud800", "bidi": "\u202eclear"}
    folder = data(tmp_path / "d", dict.fromkeys(odd, "Lungs are clear. None."))
    found = metrics(score(predictions(tmp_path / "p.jsonl", dict(odd)), folder))
    assert all(metric["n"] == len(odd) and metric["value"] is not None for metric in found.values())


def test_a_report_of_ten_thousand_words(tmp_path: Path, weights: Path) -> None:
    shutil.rmtree(weights / "radgraph")  # which takes over a minute for one such report
    folder = data(tmp_path / "d", {"a": "Lungs are clear."})
    for protocol in ("sound", "unix"):
        file = predictions(tmp_path / "p.jsonl", {"a": "effusion " * 10_000})
        found = metrics(score(file, folder, "--protocol", protocol))
        assert found["chexbert_f1_micro_14_neg"]["value"] is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Image Path,Report\nimg0.png,x\n", "lacks the column 'Report Impression'"),
        (b"Image Path,Report Impression,Ground Truth\nzzz.png,x,y\n", "row 1: the data has no image 'zzz.png'"),
        (b"Image Path,Report Impression,Ground Truth\na.png,x,y\na.png,x,y\n", "id 'a' already stands in row 1"),
        (b"Image Path,Report Impression,Ground Truth\na.png,\xff,y\n", "is not UTF-8"),
        (b"", "is no CSV"),
        (b'Image Path,Report Impression,Ground Truth\na.png,"x,y\n', "is no CSV"),
    ],
)
def test_bad_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    result = score(tmp_path / "p.csv", data(tmp_path / "d", {"a": "Clear."}))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_csv_paths_of_another_machine(tmp_path: Path) -> None:
    folder = data(tmp_path / "d", {"a": "Clear.", "b": "Effusion."})
    rows = "Image Path,Report Impression,Ground Truth\n/mnt/x/b.png,Effusion.,Other\nd/a.png,Clear.,Clear.\n"
    (tmp_path / "p.csv").write_text(rows)
    result = score(tmp_path / "p.csv", folder)
    assert metrics(result)["rouge_l"]["value"] == 1.0
    assert "'Ground Truth' of 1 of 2 rows is not the data's reference (b, ...)" in result.stderr
    assert metrics(score(tmp_path / "p.csv", folder, "--protocol", "unix"))["rouge_l"]["value"] == 0.5


def test_an_external_scorer(tmp_path: Path) -> None:
    folder = data(tmp_path / "d", {"a": "Clear.", "b": "Effusion here."})
    file = predictions(tmp_path / "p.jsonl", {"a": "Clear lungs.", "b": "x"})
    (tmp_path / "lengths.py").write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    row = json.loads(line)\n"
        "    print(json.dumps({'id': row['id'], 'score': len(row['prediction'].split())}))\n"
    )
    cards = Path("unix-bench/metrics")
    cards.mkdir(parents=True)
    command = json.dumps([sys.executable, str(tmp_path / "lengths.py")])
    card = f'name = "words"\ntitle = "Words"\nversion = "1"\nbetter = "lower"\ncommand = {command}\n'
    (cards / "words.toml").write_text(card)
    refused = metrics(score(file, folder))["words"]
    assert (refused["value"], "--allow-external" in refused["reason"]) == (None, True)
    allowed = metrics(score(file, folder, "--allow-external"))["words"]
    assert (allowed["value"], allowed["better"]) == (1.5, "lower")
    assert "Words" not in allowed["signature"]
    (tmp_path / "lengths.py").write_text("import sys; sys.exit('no licence')")
    (cards / "words.toml").write_text(card.replace('"1"', '"2"'))
    result = score(file, folder, "--allow-external")
    assert f"words failed: {Path(sys.executable).name} ended with 1, saying: no licence" in result.stderr
    broken = metrics(result)
    assert broken["words"]["reason"] == "words failed (ValueError); what it said stood on standard error"
    assert broken["rouge_l"]["value"] is not None
    assert score(file, folder, "--allow-external", "--require", "words").exit_code == 2
    (tmp_path / "lengths.py").write_text("print('[]')")
    assert "line 1 of its output" in score(file, folder, "--allow-external").stderr
    again = metrics(score(file, folder))["words"]
    assert "--allow-external" in again["reason"], "a failure does not outlive its scoring"
    (cards / "bleu_4.toml").write_text(card.replace('"words"', '"bleu_4"'))
    taken = score(file, folder)
    assert (taken.exit_code, "metric 'bleu_4' of a plug-in or card: the name is taken" in taken.stderr) == (2, True)


def test_seeds_side_by_side(tmp_path: Path) -> None:
    folder = data(tmp_path / "d", {"a": "Clear.", "b": "Effusion."})
    words = ("run", "--model", "unix", "--task", "report", "--data", folder, "--set", "max_new_tokens=3", "--quiet")
    result = bench(*words, "--seeds", 2, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [run["predict_spec"]["seed"] for run in document["runs"]] == [0, 1]
    rouge = next(one for one in document["between_seeds"][0]["metrics"] if one["name"] == "rouge_l")
    assert (rouge["spread"]["n"], rouge["spread"]["sd"]) == (2, 0.0), "greedy reports do not depend on the seed"
    assert "sd between seeds" in bench(*words, "--seeds", 2).stdout


def test_weights_check_tells_random_weights_from_real_ones(weights: Path) -> None:
    result = bench("weights", "check", "chexbert")
    assert result.exit_code == 1
    assert "WRONG" in result.stdout
    assert "are these its real weights?" in result.stderr
    shutil.rmtree(weights / "chexbert")
    result = bench("weights", "check", "chexbert")
    assert result.exit_code == 2
    assert "chexbert.pth is missing" in result.stderr


def test_intervals_are_over_patients(tmp_path: Path) -> None:
    names = [f"s{n}" for n in range(40)]
    texts = ["Clear." if n % 8 < 4 else "Large effusion." for n in range(40)]
    references = dict.fromkeys(names, "Clear.")
    own = data(tmp_path / "own", references)
    shared = data(tmp_path / "shared", references, {name: f"p{n // 4}" for n, name in enumerate(names)})
    file = predictions(tmp_path / "p.jsonl", dict(zip(names, texts, strict=True)))
    (low, high), (lower, higher) = (metrics(score(file, folder))["rouge_l"]["ci"] for folder in (own, shared))
    assert higher - lower > 1.5 * (high - low), "four studies a patient that are alike are worth one"


def test_few_positives_are_those_below_twenty(tmp_path: Path) -> None:
    folder = data(tmp_path / "d", {f"s{n}": "Edema." if n < 19 else "Fracture." for n in range(39)})
    found = metrics(score(predictions(tmp_path / "p.jsonl", {f"s{n}": "Edema." for n in range(39)}), folder))
    flags = {name: found[f"rule14_f1_{name}_neg"]["flags"] for name in ("edema", "fracture")}
    assert flags == {"edema": ["few-positives"], "fracture": []}
    assert found["rule14_f1_macro_14_neg"]["flags"] == ["few-positives"]
    assert found["rule14_f1_micro_14_neg"]["flags"] == []


def test_the_published_csv_s_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("Image Path,Report Impression,Ground Truth\na.png,\ufffd \ufffd clear,? ? clear\n")
    found = metrics(score(tmp_path / "p.csv", data(tmp_path / "d", {"a": "? ? clear"}), "--protocol", "unix"))
    assert found["bleu_2"]["value"] == 1.0


def test_unix_keeps_the_order_of_its_csv(tmp_path: Path) -> None:
    """The median of bootstrap means depends on it."""
    texts = {f"s{n}": "clear " * (n % 5) + "x" for n in range(23)}
    folder = data(tmp_path / "d", dict.fromkeys(texts, "clear clear lungs"))
    rows = [f"{name}.png,{text},clear clear lungs" for name, text in texts.items()]
    header = "Image Path,Report Impression,Ground Truth"
    values = []
    for name, lines in (("a", rows), ("b", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")
        values.append(metrics(score(tmp_path / f"{name}.csv", folder, "--protocol", "unix"))["rouge_l"]["value"])
    assert values[0] != values[1]


def test_a_wordless_report_is_labelled_blank(tmp_path: Path, weights: Path) -> None:
    folder = data(tmp_path / "d", {"a": "Clear lungs."})
    score(predictions(tmp_path / "p.jsonl", {"a": " -- "}), folder)
    table = pd.read_parquet(next(Path("results/runs").glob("*/scores/sound-*/samples.parquet")))
    for labeller in ("chexbert", "rule14"):
        assert not any(table[f"{labeller}_predicted"][0])


@pytest.mark.parametrize("content", [None, "[PAD]\n[UNK]\n", "\n".join(f"w{n}" for n in range(500))])
def test_a_vocabulary_that_does_not_fit(tmp_path: Path, weights: Path, content: str | None) -> None:
    shutil.rmtree(weights / "radgraph")
    vocabulary = weights / "bert-base-uncased" / "vocab.txt"
    vocabulary.unlink() if content is None else vocabulary.write_text(content)
    folder = data(tmp_path / "d", {"a": "Clear lungs."})
    result = score(predictions(tmp_path / "p.jsonl", {"a": "Clear."}), folder)
    if content is None:
        assert metrics(result)["chexbert_f1_micro_14_neg"]["value"] is None
    else:
        assert (result.exit_code, "copy vocab.txt of bert-base-uncased there again" in result.stderr) == (2, True)
