"""The command line, end to end, on the demo and on folders made here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench import bench, refused, write_lines
from click.testing import Result
from PIL import Image

from unix_bench.data import FINDINGS

QUICK = ("--set", "num_timesteps=3", "--quiet")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def generate(*words: object) -> Result:
    return bench("run", "--model", "unix", "--task", "generation", *QUICK, *words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four small studies with prompts, reports and labels."""
    rng = np.random.default_rng(0)
    place = tmp_path / "mine"
    place.mkdir()
    rows = ["id,image,prompt,report,Edema"]
    for name in "abcd":
        Image.fromarray(rng.integers(0, 256, size=(48, 64), dtype=np.uint8)).save(place / f"{name}.png")
        rows.append(f"{name},{name}.png,Prompt {name}.,Report {name}.,{int(name < 'c')}")
    (place / "manifest.csv").write_text("\n".join(rows) + "\n")
    return place


def values(output: str) -> dict[tuple[str | None, str], Any]:
    return {(one["pathology"], one["name"]): one["value"] for one in json.loads(output)["metrics"]}


def test_the_main_job_prints_every_row() -> None:
    result = generate("--per-pathology", "--limit", 8)
    assert result.exit_code == 0, result.output
    for row in ("Overall", *FINDINGS):
        assert row in result.stdout
    assert "not computed: no predicted study shows this finding" in result.stdout
    assert "DEMO" in result.stdout
    assert "random demo weights" in result.stderr


@pytest.mark.parametrize("task", ["generation", "report"])
def test_one_study_is_enough_to_run(task: str) -> None:
    """As whoever tries a new model does first; what one study cannot give says so."""
    short = "num_timesteps=3" if task == "generation" else "max_new_tokens=3"
    said = bench("run", "--model", "unix", "--task", task, "--limit", 1, "--set", short, "--quiet")
    assert said.exit_code == 0, said.output
    assert "1 predicted, 0 failed" in said.stdout


def test_results_are_complete_signed_and_the_same_again() -> None:
    first = generate("--per-pathology", "--limit", 8, "--json", "--results", "one")
    second = generate("--per-pathology", "--limit", 8, "--json", "--results", "two")
    assert first.stdout == second.stdout
    results = json.loads(first.stdout)
    assert results["demo"] is True
    assert results["restricted"] is False
    assert results["counts"] == {"total": 8, "ok": 8, "failed": 0, "skipped": 0}
    assert {one["pathology"] for one in results["metrics"]} == {None, *FINDINGS}
    for one in results["metrics"]:
        assert (one["value"] is None) == (one["reason"] is not None)
        assert f"n={one['n']};" in one["signature"]
        encoder = "demodino" if "demodino" in one["name"] else one["name"].split("_")[-1].replace("squash", "raddino")
        assert f"encoder={encoder}" in one["signature"]
    stored = next(Path("one").glob("*/scores/*/results.json"))
    assert json.loads(stored.read_text()) == results
    for private in (os.uname().nodename, str(Path.cwd()), "2026-"):
        assert private not in stored.read_text()


def test_a_finished_run_draws_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = generate("--limit", 4, "--json")
    from unix_bench.models.unix.adapter import UniXAdapter

    monkeypatch.setattr(UniXAdapter, "load", None)
    assert generate("--limit", 4, "--json").stdout == first.stdout
    run_id = json.loads(first.stdout)["run"]
    again = bench("score", run_id, "--per-pathology", "--json", "--quiet")
    assert again.exit_code == 0, again.output
    assert values(again.stdout)[None, "fd_demodino"] == values(first.stdout)[None, "fd_demodino"]
    assert "Overall" in bench("show", run_id[:-3]).stdout
    assert run_id in bench("list", "runs").stdout


def test_the_seed_changes_the_images(folder: Path) -> None:
    one, two = (generate("--data", folder, "--seed", seed, "--json") for seed in (0, 1))
    assert values(one.stdout) != values(two.stdout)


def test_reports_and_per_sample_scores(folder: Path) -> None:
    result = bench(
        "run", "--model", "unix", "--task", "understanding", "--data", folder, "--set", "max_new_tokens=5",
        "--per-pathology", "--json", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    scores = pd.read_parquet(next(Path("results/runs").glob("*/scores/*/samples.parquet")))
    assert list(scores["id"]) == ["a", "b", "c", "d"]
    found = values(result.stdout)
    assert found[None, "rouge_l"] == pytest.approx(scores["rouge_l"].mean())
    assert found["Edema", "bleu_1"] == pytest.approx(scores["bleu_1"][:2].mean())
    assert json.loads(result.stdout)["restricted"] is True


def test_a_killed_run_goes_on_to_the_same_numbers(folder: Path, demo_weights: Path) -> None:
    settings = ["--batch-size", "1", "--set", "num_timesteps=40", "--weights", str(demo_weights), "--json"]
    main_job = ["run", "--model", "unix", "--task", "generation", "--data", str(folder)]
    words = [sys.executable, "-m", "unix_bench", *main_job, *settings]
    process = subprocess.Popen([*words, "--results", "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in Path("killed").glob("*/samples-*.jsonl")):
        assert time.monotonic() < deadline, "no sample was recorded"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    samples = next(Path("killed").glob("*/samples-0.jsonl"))
    before = samples.read_bytes()
    resumed = subprocess.run([*words, "--results", "killed"], capture_output=True, check=True)
    whole = subprocess.run([*words, "--results", "whole"], capture_output=True, check=True)
    assert resumed.stdout == whole.stdout
    assert samples.read_bytes().startswith(before[: before.rfind(b"\n") + 1])


def test_scoring_somebodys_reports(folder: Path) -> None:
    lines = [{"id": "a", "report": "Report a."}, {"id": "b", "report": "None"}, {"id": "c", "error": "crashed"}]
    file = write_lines(folder / "theirs.jsonl", lines)
    words = ("score", "--task", "report", "--predictions", file, "--data", folder, "--json", "--quiet")
    result = bench(*words)
    assert result.exit_code == 1, "half of the samples failed"
    counts = json.loads(result.stdout)["counts"]
    assert counts == {"total": 4, "ok": 2, "failed": 2, "skipped": 0}
    assert values(result.stdout)[None, "bleu_1"] == pytest.approx(0.5)
    assert "2 of 4 samples failed" in result.stderr
    assert bench(*words, "--max-failed", 0.5).exit_code == 0
    zero = bench(*words, "--max-failed", 1, "--on-error", "score-zero")
    assert values(zero.stdout)[None, "bleu_1"] == pytest.approx(0.25)
    refused(bench(*words, "--on-error", "fail"), "c failed (crashed)", code=1)


def test_scoring_somebodys_images(folder: Path) -> None:
    file = write_lines(folder / "drawn.jsonl", ({"id": name, "image": f"{name}.png"} for name in "abcd"))
    words = ("score", "--task", "generation", "--predictions", file, "--data", folder, "--json", "--quiet")
    result = bench(*words)
    assert result.exit_code == 0, result.output
    assert values(result.stdout)[None, "fd_demodino"] == pytest.approx(0.0, abs=1e-9)
    (folder / "b2.png").write_bytes((folder / "b.png").read_bytes()[:-400])
    file.write_text(file.read_text().replace("b.png", "b2.png"))
    result = bench(*words, "--max-failed", 0.5)
    assert json.loads(result.stdout)["counts"]["failed"] == 1
    refused(bench(*words, "--on-error", "score-zero"), "score-zero has no meaning for FD, KD and PRDC")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "report": "x"}\n{"id": "b", "rep', "line 2 is not JSON"),
        ('{"report": "x"}', 'line 1 has no text under "id"'),
        ('["a"]', 'line 1 has no text under "id"'),
        ('{"id": "a", "report": "x"}\n\n{"id": "a", "report": "y"}', "line 3: id 'a' already stands in line 1"),
        ('{"id": "z", "report": "x"}', "line 1: the data has no study 'z'"),
        ('{"id": "a", "image": "a.png"}', "prediction of 'a': it has no text under \"report\""),
    ],
)
def test_bad_predictions(folder: Path, content: str, message: str) -> None:
    (folder / "p.jsonl").write_text(content)
    result = bench("score", "--task", "report", "--predictions", folder / "p.jsonl", "--data", folder, "--quiet")
    refused(result, "p.jsonl", message)
    assert not list(Path("results/runs").glob("*/samples-*.jsonl"))


def test_predictions_stay_in_their_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.png", tmp_path / "outside.png")
    (folder / "p.jsonl").write_text('{"id": "a", "image": "../outside.png"}\n')
    result = bench("score", "--task", "generation", "--predictions", folder / "p.jsonl", "--data", folder, "--quiet")
    refused(result, "'../outside.png' leaves the folder")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--model", "unx"], ["unknown model 'unx'", "did you mean 'unix'"]),
        (["--task", "genration"], ["unknown task 'genration'", "did you mean 'generation'"]),
        (["--data", "dmeo"], ["unknown data 'dmeo'", "did you mean 'demo'"]),
        (["--data", "nowhere/"], ["nowhere does not exist", "manifest.csv"]),
        (["--protocol", "soud"], ["unknown protocol of generation 'soud'", "did you mean 'sound'"]),
        (["--set", "num_timestep=3"], ["unknown setting 'num_timestep'", "did you mean 'num_timesteps'"]),
        (["--set", "num_timesteps=many"], ["num_timesteps=many", "a whole number"]),
        (["--set", "num_timesteps=1"], ["num_timesteps must be 2 or more"]),
        (["--set", "size=100"], ["size must be a multiple of 16 up to 128"]),
        (["--set", "cfg_interval=0.4"], ["cfg_interval must be two numbers"]),
        (["--set", "cfg_interval"], ["write KEY=VALUE"]),
        (["--set", "cfg_interval=1.0,0.4"], ["cfg_interval must rise"]),
        (["--set", "timestep_shift=nan"], ["finite"]),
        (["--device", "cpu:3"], ["there is one cpu"]),
        (["--results", "~nobody-here/x"], ["~nobody-here"]),
        (["--weights", "nowhere"], ["--weights nowhere is neither a folder nor"]),
        (["--device", "cuda:7"], ["--device cuda:7"]),
        (["--dtype", "int8"], ["--dtype int8"]),
    ],
)
def test_wrong_words(words: list[str], parts: list[str]) -> None:
    result = generate(*words)
    refused(result, *parts)
    assert not Path("results").exists()


def test_wrong_commands() -> None:
    refused(bench("rnu"), "unknown command 'rnu'", "did you mean 'run'")
    refused(bench("run", "--model", "unix"), "--task is missing")
    refused(bench("score"), "either RUN or --predictions")
    refused(bench("show", "nothing"), "no run 'nothing'")
    refused(bench("score", "x", "--task", "report"), "a run has its own task")


def test_weights_that_are_configured_but_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(tmp_path))
    refused(generate(), f"{tmp_path / 'UniX'} does not exist", "ZrH42/UniX")
    (tmp_path / "UniX").mkdir()
    refused(generate(), "model.safetensors is missing")
    assert not Path("results").exists()


def test_a_stand_in_keeps_its_name_whatever_folder_it_lies_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert bench("weights", "demo", "--out", tmp_path / "UniX").exit_code == 0
    refused(bench("weights", "demo", "--out", tmp_path / "UniX"), "exists")
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(tmp_path))
    result = generate("--limit", 2, "--json")
    assert json.loads(result.stdout)["predict_spec"]["model"] == "unix-demo"
    assert json.loads(result.stdout)["demo"] is True
    assert "stand-in: unix-demo" in bench("doctor", "--json").stdout


def test_truncated_weights_leave_no_run(demo_weights: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(demo_weights, broken)
    (broken / "model.safetensors").write_bytes((demo_weights / "model.safetensors").read_bytes()[:5000])
    refused(generate("--weights", broken), "model.safetensors is not a whole safetensors file")
    assert not Path("results").exists()


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_damaged_image_stops_the_run_unless_said_otherwise(folder: Path, content: bytes) -> None:
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2] if content else b"")
    refused(generate("--data", folder), "b.png is", "--on-error drop-pair")
    assert not Path("results").exists()
    result = generate("--data", folder, "--on-error", "drop-pair", "--max-failed", 0.5, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"] == {"total": 4, "ok": 3, "failed": 1, "skipped": 0}


def test_a_manifest_without_images_or_prompts(folder: Path) -> None:
    (folder / "manifest.csv").write_text("id,file\na,a.png\n")
    refused(generate("--data", folder), "manifest.csv has no column image")
    (folder / "manifest.csv").write_text("id,image\na,a.png\n")
    refused(generate("--data", folder), "no study for this task", "no prompt")


def test_a_results_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(generate("--limit", 2, "--results", tmp_path / "file"), "cannot write to")


class Fails:
    """Stands in for a model's `draw` or `write`: one study breaks it, and it counts its calls."""

    def __init__(self, method: object, bad: str | None) -> None:
        self.method, self.bad, self.calls = method, bad, []

    def __call__(self, model: object, requests: list[Any]) -> list[Any]:
        self.calls.append([request.id for request in requests])
        if any(request.id == self.bad for request in requests):
            raise RuntimeError("it broke")
        return self.method(model, requests)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, bad: str | None) -> Fails:
    from unix_bench.models.unix.adapter import UniXAdapter

    fails = Fails(getattr(UniXAdapter, name), bad)
    monkeypatch.setattr(UniXAdapter, name, lambda self, requests: fails(self, requests))
    return fails


def test_a_sample_that_breaks_the_model_fails_alone_and_is_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--data", folder, "--batch-size", 2, "--json")
    with monkeypatch.context() as patch:
        failing(patch, "draw", "b")
        first = generate(*words)
        assert first.exit_code == 1
        assert json.loads(first.stdout)["counts"] == {"total": 4, "ok": 3, "failed": 1, "skipped": 0}
        refused(
            generate("--data", folder, "--on-error", "fail", "--seed", 5), "b failed (RuntimeError: it broke)", code=1
        )
    counted = failing(monkeypatch, "draw", None)
    again = generate(*words)
    assert again.exit_code == 0, again.output
    assert counted.calls == [["a", "b"]], "the whole batch is done again, and no other"
    assert values(again.stdout) == values(generate(*words, "--results", "elsewhere").stdout)


def test_a_model_that_draws_nan_fails(folder: Path, demo_weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(demo_weights, tmp_path / "nan")
    tensors = load_file(tmp_path / "nan" / "model.safetensors")
    tensors["llm2vae.bias"][:] = float("nan")
    save_file(tensors, tmp_path / "nan" / "model.safetensors")
    result = generate("--data", folder, "--weights", tmp_path / "nan", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["counts"]["failed"] == 4


def test_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, requests: object) -> None:
        raise KeyboardInterrupt

    from unix_bench.models.unix.adapter import UniXAdapter

    monkeypatch.setattr(UniXAdapter, "draw", interrupt)
    refused(generate("--data", folder), "interrupted", code=130)


def test_pathologies_limits_and_skipped_studies(folder: Path) -> None:
    (folder / "manifest.csv").write_text(
        "id,image,prompt,Edema,instruction\na,a.png,,1,\nb,b.png,One.,-1,\nc,c.png,Two.,1,\nd,d.png,Three.,1,\n"
    )
    result = generate("--data", folder, "--limit", 2, "--per-pathology", "--json")
    results = json.loads(result.stdout)
    assert results["counts"] == {"total": 3, "ok": 2, "failed": 0, "skipped": 1}
    edema = next(one for one in results["metrics"] if one["pathology"] == "Edema")
    assert edema["n"] == 1, "uncertain does not count as showing it"
    whole = json.loads(generate("--data", folder, "--json").stdout)
    assert whole["counts"] == {"total": 4, "ok": 3, "failed": 0, "skipped": 1}
    flags = {one["name"]: one["flags"] for one in whole["metrics"]}
    assert flags["fd_demodino"] == ["bias-dominated", "patients-unknown", "few-patients"]


def test_a_study_s_own_instruction_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unix_bench.models.unix.adapter import UniXAdapter

    asked: dict[str, str] = {}
    monkeypatch.setattr(
        UniXAdapter, "write", lambda self, requests: [asked.setdefault(one.id, one.instruction) for one in requests]
    )
    (folder / "manifest.csv").write_text("id,image,report,instruction\na,a.png,x,Any effusion?\nb,b.png,y,\n")
    assert bench("run", "--model", "unix", "--task", "report", "--data", folder, "--quiet").exit_code == 0
    assert asked == {"a": "Any effusion?", "b": "Describe the findings of this chest X-ray."}


def test_precision_and_rotary_reach_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unix_bench.models.unix import UniX

    seen: list[tuple[Any, ...]] = []
    load = UniX.from_pretrained

    def spy(directory: Path, dtype: Any, device: str, rotary_bf16: bool) -> UniX:
        seen.append((str(dtype), device, rotary_bf16))
        return load(directory, dtype, device, rotary_bf16)

    monkeypatch.setattr(UniX, "from_pretrained", spy)
    assert generate("--data", folder, "--dtype", "bfloat16", "--set", "rotary_bf16=false").exit_code == 0
    assert generate("--data", folder, "--deterministic").exit_code == 0
    assert seen == [("torch.bfloat16", "cpu", False), ("torch.float32", "cpu", True)]


def test_settings_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from unix_bench.settings import load_settings

    home = tmp_path / "home" / ".config" / "unix-bench"
    home.mkdir(parents=True)
    (home / "unix-bench.toml").write_text('results = "home"\n')
    assert load_settings().results == Path("home")
    Path("unix-bench.toml").write_text('results = "here"\n')
    assert load_settings().results == Path("here")
    monkeypatch.setenv("UNIX_BENCH_RESULTS", "environment")
    assert load_settings().results == Path("environment")
    assert load_settings(results=Path("flag")).results == Path("flag")


def test_changed_pixels_are_said_and_signed(folder: Path) -> None:
    first = json.loads(generate("--data", folder, "--json").stdout)
    Image.new("L", (64, 48)).save(folder / "a.png")
    changed = generate("--data", folder, "--json")
    assert "the images differ from those" in changed.stderr
    second = json.loads(changed.stdout)
    assert second["run"] == first["run"]
    assert {one["signature"] for one in first["metrics"]}.isdisjoint(one["signature"] for one in second["metrics"])
    assert values(changed.stdout)[None, "fd_demodino"] != first["metrics"][0]["value"]


def test_a_copied_scoring_can_be_shown(folder: Path) -> None:
    results = generate("--data", folder, "--json").stdout
    scoring = next(Path("results/runs").glob("*/scores/*"))
    shutil.copytree(scoring, "copy")
    assert json.loads(bench("show", "copy", "--json").stdout) == json.loads(results)


def test_names_cannot_leave_the_results_folder(folder: Path, demo_weights: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_weights, tmp_path / "w")
    config = json.loads((tmp_path / "w" / "config.json").read_text())
    (tmp_path / "w" / "config.json").write_text(json.dumps({**config, "unix_bench_demo": "../../evil [bold]"}))
    result = generate("--data", folder, "--weights", tmp_path / "w", "--results", tmp_path / "deep" / "runs")
    assert result.exit_code == 0, result.output
    assert "../../evil [bold]" in result.stdout
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["runs"]


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop"])
def test_what_is_no_image_file(folder: Path, kind: str) -> None:
    (folder / "b.png").unlink()
    if kind == "fifo":
        os.mkfifo(folder / "b.png")
    elif kind == "folder":
        (folder / "b.png").mkdir()
    else:
        (folder / "b.png").symlink_to("b.png")
    refused(generate("--data", folder), "b.png" if kind != "loop" else "row 3")


def test_dry_run_looks_into_weights_and_images(folder: Path, demo_weights: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(demo_weights, broken)
    (broken / "tokenizer.json").unlink()
    (broken / "tokenizer_config.json").unlink()
    refused(generate("--weights", broken, "--dry-run"), f"{broken} holds no tokenizer")
    refused(generate("--weights", broken), f"{broken} holds no tokenizer")
    (folder / "a.png").write_bytes(b"")
    refused(generate("--data", folder, "--dry-run"), "a.png is empty")
    assert not Path("results").exists()


def test_changed_data_is_noticed(folder: Path) -> None:
    run_id = json.loads(generate("--data", folder, "--json").stdout)["run"]
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("Report a.", "Another."))
    refused(bench("score", run_id, "--per-pathology", "--quiet"), "changed since")


def test_an_unfinished_run_is_not_scored() -> None:
    run_id = json.loads(generate("--limit", 4, "--json").stdout)["run"]
    samples = Path("results/runs") / run_id / "samples-0.jsonl"
    samples.write_bytes(samples.read_bytes()[:-9])
    refused(bench("score", run_id, "--per-pathology", "--quiet"), "unfinished, 1 of 4 predictions are missing")


def test_settings_file_and_its_mistakes(folder: Path) -> None:
    Path("unix-bench.toml").write_text('results = "elsewhere"\n')
    assert generate("--data", folder).exit_code == 0
    assert list(Path("elsewhere").glob("*/run.json"))
    Path("unix-bench.toml").write_text('result = "x"\n')
    refused(generate(), "unix-bench.toml", "did you mean 'results'")
    Path("unix-bench.toml").write_text("results = ")
    refused(generate(), "unix-bench.toml cannot be read")


def test_own_cards(folder: Path) -> None:
    from unix_bench.cards import bundled

    Path("unix-bench/baselines").mkdir(parents=True)
    card = (bundled("baselines") / "unix.toml").read_text()
    mine = Path("unix-bench/baselines/mine.toml")
    mine.write_text(card.replace('name = "unix"', 'name = "mine"'))
    assert "mine" in bench("list", "models").stdout
    mine.write_text(card)
    refused(bench("list", "models"), "mine.toml", "calls itself 'unix'")
    mine.write_text(card.replace('name = "unix"', 'name = "mine"').replace('family = "unix"', 'family = "unxi"'))
    refused(bench("list", "models"), "card 'mine'", "did you mean 'unix'")
    mine.rename(mine.with_name("unix.toml"))
    refused(bench("list", "models"), "a card named 'unix' exists already")


@pytest.mark.parametrize("what", ["models", "tasks", "data", "metrics", "runs"])
def test_lists(what: str) -> None:
    assert bench("list", what).exit_code == 0
    assert isinstance(json.loads(bench("list", what, "--json").stdout), list)


def test_doctor_says_how_to_get_what_is_missing() -> None:
    output = bench("doctor", "--json").stdout
    by_subject = {row["subject"]: row["finding"] for row in json.loads(output)}
    assert "UNIX_BENCH_WEIGHTS" in by_subject["weights of UniX"]


def test_dry_run_writes_nothing() -> None:
    result = generate("--dry-run", "--json")
    assert json.loads(result.stdout)[0]["studies"] == 71
    assert not Path("results").exists()


def test_start_up_imports_nothing_heavy() -> None:
    code = "import sys, unix_bench.cli; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    for heavy in ("torch", "transformers", "diffusers", "scipy", "pandas", "numpy", "pydantic", "rich"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize("name", ["open_cxr", "iu_xray"])
@pytest.mark.parametrize("task", ["report", "generation"])
def test_real_folders(name: str, task: str) -> None:
    settings = QUICK if task == "generation" else ("--set", "max_new_tokens=9", "--quiet")
    result = bench("run", "--model", "unix", "--task", task, "--data", SHARED / name, "--limit", 16, *settings)
    assert result.exit_code == 0, result.output
    assert ("RESTRICTED" in result.stdout) == (name == "iu_xray")
