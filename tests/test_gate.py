"""The gate: a yes, a no, a cannot tell, and what it leaves for others to read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from bench import bench, make_folder, mostly, recorded, refused, shuffled, write_lines
from click.testing import Result
from PIL import Image

from unix_bench import registry
from unix_bench.gate import Case, decide, load_policy, outcome_of
from unix_bench.scoring.statistics import MarginTest

Runs = dict[str, str]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A good run of 60 restricted studies, and one with the same reports shuffled."""
    folder = tmp_path / "made"
    reports = make_folder(folder, 60, restricted=True)
    return {
        "folder": str(folder),
        "good": recorded(folder, "good", mostly(reports)),
        "bad": recorded(folder, "bad", shuffled(mostly(reports))),
    }


def gate(candidate: str, baseline: str, *words: object) -> Result:
    return bench("gate", candidate, "--against", baseline, "--quiet", *words)


def answer(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def states(document: dict[str, Any]) -> dict[str, str]:
    return {case["metric"]: case["state"] for case in document["cases"] if case["state"] != "advisory"}


def test_itself_passes_shuffled_fails_the_reverse_passes(runs: Runs) -> None:
    same = gate(runs["good"], runs["good"], "--json")
    assert same.exit_code == 0, same.output
    assert states(answer(same)) == {
        "rule14_f1_micro_14_neg": "pass",
        "radgraph_f1_partial": "not judged",
        "bleu_4": "pass",
    }
    worse = gate(runs["bad"], runs["good"], "--json")
    assert worse.exit_code == 1, worse.output
    assert answer(worse)["outcome"] == "fail"
    assert "fail" in states(answer(worse)).values()
    assert gate(runs["bad"], runs["good"], "--inconclusive", "ok").exit_code == 1
    assert gate(runs["good"], runs["bad"]).exit_code == 0


def test_five_studies_decide_nothing(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "five"
    reports = make_folder(folder, 5)
    good, bad = recorded(folder, "good", reports), recorded(folder, "bad", shuffled(reports))
    for candidate in (good, bad):
        result = gate(candidate, good, "--json")
        assert result.exit_code == 3, result.output
        assert "5 studies, and the policy asks for 50" in result.stdout
    assert gate(bad, good, "--inconclusive", "ok").exit_code == 0
    assert gate(bad, good, "--inconclusive", "fail").exit_code == 1


def test_other_content_other_protocol_no_samples(runs: Runs, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs["folder"], other)
    text = (other / "manifest.csv").read_text()
    (other / "manifest.csv").write_text(text.replace("Prompt 3.", "Prompt three."))
    changed = recorded(other, "good", ["No pneumothorax."] * 60)
    result = gate(changed, runs["good"], "--json", "--junit", "j.xml")
    assert result.exit_code == 1
    assert "content of the data differs" in answer(result)["cases"][0]["text"]
    assert ElementTree.parse("j.xml").find(".//failure") is not None
    assert gate(f"{runs['good']}:unix", f"{runs['good']}:sound").exit_code == 1
    empty = recorded(Path(runs["folder"]), "empty", [None] * 60)
    assert gate(empty, runs["good"]).exit_code == 1
    refused(gate(runs["good"], empty), "no prediction to hold anything against")
    for path in Path("results/runs", empty).glob("samples-*.jsonl"):
        path.unlink()
    none = gate(empty, runs["good"], "--json")
    assert none.exit_code == 1, none.output
    assert "no prediction that could be scored" in answer(none)["cases"][0]["text"]
    refused(gate(runs["good"], empty), "no prediction to hold anything against")
    few = recorded(Path(runs["folder"]), "few", ["No pneumothorax."] * 20, "--limit", 20)
    refused(gate(few, runs["good"]), "different studies")


def test_a_value_that_only_the_baseline_has_fails(runs: Runs, tmp_path: Path) -> None:
    lines = (tmp_path / "good.jsonl").read_text().splitlines()
    same = recorded(Path(runs["folder"]), "again", [json.loads(line)["report"] for line in lines])
    assert gate(same, runs["good"]).exit_code == 0
    for run, expected in ((same, "fail"), (runs["good"], "not judged")):
        path = next(Path("results/runs").glob(f"{run}/scores/sound-*/results.json"))
        record = json.loads(path.read_text())
        for metric in record["metrics"]:
            if metric["name"] == "bleu_4" and metric["pathology"] is None:
                metric["value"], metric["reason"] = None, "the value is not finite"
        path.write_text(json.dumps(record))
        result = gate(same, runs["good"], "--json")
        assert states(answer(result))["bleu_4"] == expected
        assert result.exit_code == (1 if expected == "fail" else 0)


def test_many_failed_predictions_fail_whatever_the_others_say(runs: Runs, tmp_path: Path) -> None:
    text = (tmp_path / "good.jsonl").read_text().splitlines()
    reports = [json.loads(line)["report"] for line in text]
    holed = recorded(Path(runs["folder"]), "holed", [None, None, *reports[2:]])
    result = gate(holed, runs["good"], "--json")
    assert result.exit_code == 1
    assert states(answer(result))["preconditions"] == "fail"
    Path("p.toml").write_text('task = "report"\nmax_failed = 0.1\n[[primary]]\nmetric = "bleu_4"\nabsolute = 0.2\n')
    assert gate(holed, runs["good"], "--policy", "p.toml").exit_code == 0
    as_many = recorded(Path(runs["folder"]), "as_many", [None, None, *shuffled(mostly(reports))[2:]])
    result = gate(holed, as_many, "--json")
    assert "preconditions" not in states(answer(result))
    assert result.exit_code == 0, "the baseline fails as often"


def test_equal_outputs_of_other_weights_are_no_system_against_itself(runs: Runs, tmp_path: Path) -> None:
    reports = [json.loads(line)["report"] for line in (tmp_path / "good.jsonl").read_text().splitlines()]
    equal = recorded(Path(runs["folder"]), "equal", [*reports[:-1], reports[-1] + " "])
    assert gate(equal, runs["good"]).exit_code == 3, "30 patients bound what was not seen by a tenth"
    path = Path("results/runs") / equal / "run.json"
    record = json.loads(path.read_text())
    record["predict_spec"]["weights"] = json.loads((path.parents[1] / runs["good"] / "run.json").read_text())[
        "predict_spec"
    ]["weights"]
    path.write_text(json.dumps(record))
    assert gate(equal, runs["good"]).exit_code == 0


def test_the_values_shown_are_over_the_studies_of_both(runs: Runs, tmp_path: Path) -> None:
    reports = [json.loads(line)["report"] for line in (tmp_path / "good.jsonl").read_text().splitlines()]
    assert reports[0] == "Lungs are clear."
    holed = recorded(Path(runs["folder"]), "holed", [None, *reports[1:]])
    cases = answer(gate(holed, runs["good"], "--json"))["cases"]
    shown = next(case for case in cases if case["metric"] == "bleu_4" and case["pathology"] is None)
    assert shown["n"] == 59
    assert shown["candidate"] == shown["baseline"]
    assert shown["gain"] == 0.0


def test_other_pixels_are_a_warning(runs: Runs) -> None:
    path = Path("results/runs") / runs["bad"] / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "pixel_digest": "0" * 64}))
    result = gate(runs["good"], runs["bad"], "--json")
    assert result.exit_code == 0
    assert "pixels" in answer(result)["warnings"][0]


def test_what_others_read_holds_nothing_restricted(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = 'x<&>"|`]\x07'
    candidate = recorded(Path(runs["folder"]), name, ["There is pulmonary edema."] * 60)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "steps.md"))
    (tmp_path / "steps.md").write_text("before\n")
    console = gate(candidate, runs["good"], "--junit", "out/j.xml")
    program = gate(candidate, runs["good"], "--json", "--junit", "out/j.xml", "--summary", "mine.md")
    steps = (tmp_path / "steps.md").read_text()
    assert steps == "before\n" + Path("mine.md").read_text()
    tree = ElementTree.parse("out/j.xml")
    cases = answer(program)["cases"]
    assert len(tree.findall(".//testcase")) == len(cases) > 100
    names = [(case.get("classname"), case.get("name")) for case in tree.findall(".//testcase")]
    assert len(set(names)) == len(names)
    assert ("unix-bench.report.Edema", "rouge_l") in names
    failed = {case.get("name") for case in tree.findall(".//testcase") if case.find("failure") is not None}
    assert failed == {metric for metric, state in states(answer(program)).items() if state == "fail"}
    skipped = {names[index] for index, case in enumerate(tree.iter("testcase")) if case.find("skipped") is not None}
    assert ("unix-bench.report.Overall", "radgraph_f1_simple") in skipped
    assert ("unix-bench.report.Overall", "rouge_l") not in skipped
    assert "radgraph_f1_partial: not judged: the baseline has no value of it: RadGraph is not here" in console.stdout
    assert "rule14_f1_micro_14_neg stands in for chexbert_f1_micro_14_neg: CheXbert is not here" in console.stdout
    suite = tree.find("testsuite")
    assert suite is not None
    assert int(suite.get("failures", "")) == len(failed) > 0
    for text in (steps, Path("out/j.xml").read_text(), console.stdout, program.stdout):
        for private in ("study-", "patient-", "pulmonary edema.", "The heart", str(tmp_path)):
            assert private not in text
        assert "\x07" not in text
    assert 'x\\<&amp;\\>"\\|\\`\\]' in steps


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('task = "report"\nalpa = 0.1\n[[primary]]\nmetric = "bleu_4"\nabsolute = 0.1\n', ["alpa", "Extra inputs"]),
        ('task = "report"\n[[primary]]\nmetric = "bleu_4"\n', ["either absolute or relative"]),
        ('task = "report"\n[[primary]]\nmetric = "bleu_4"\nabsolute = 1\nrelative = 0.1\n', ["either absolute"]),
        ('task = "report"\n[[primary]]\nmetric = "bleu_4"\nabsolute = nan\n', ["absolute", "finite"]),
        ('task = "report"\n[[primary]]\nmetric = "bleu_4"\nabsolute = -0.1\n', ["absolute"]),
        ('task = "report"\nprimary = []\n', ["primary"]),
        ('task = "report"\n[[primary]]\nmetric = "blue_4"\nabsolute = 0.1\n', ["blue_4", "did you mean 'bleu_4'"]),
        ('task = "generation"\n[[primary]]\nmetric = "kd_raddino"\nrelative = 0.1\n', ["the runs do report"]),
        ("task =", ["cannot be read"]),
    ],
)
def test_policies_that_are_none(runs: Runs, text: str, parts: list[str]) -> None:
    Path("p.toml").write_text(text)
    refused(gate(runs["good"], runs["bad"], "--policy", "p.toml"), "p.toml" if "blue" not in text else "", *parts)


def test_policies_whose_metrics_cannot_decide(runs: Runs) -> None:
    def says(*names: str) -> str:
        parts = (f"[[primary]]\nmetric = {name}\nabsolute = 0.1\n" for name in names)
        Path("p.toml").write_text('task = "report"\n' + "".join(parts))
        result = gate(runs["good"], runs["bad"], "--policy", "p.toml")
        assert result.exit_code == 2, result.output
        return result.stderr.strip().splitlines()[-1]

    rule14 = '"rule14_f1_micro_14_neg"'
    assert "probe_ce is a metric of the task probe" in says('"probe_ce"')
    assert "kd_demodino is a metric of the task gen" in says('"rouge_l"\notherwise = ["kd_demodino"]')
    assert "decide twice" in says(rule14, f'"chexbert_f1_micro_14_neg"\notherwise = [{rule14}]')
    assert len(says('"blue_4"')) < 200


@pytest.mark.parametrize("option", ["--junit", "--summary"])
def test_a_folder_is_no_file(runs: Runs, tmp_path: Path, option: str) -> None:
    refused(gate(runs["good"], runs["bad"], option, tmp_path), f"{tmp_path} is a folder: name a file")


def probed(like: str, name: str, losses: list[dict[str, float]]) -> str:
    """A probe's run of these losses over the studies of another run."""
    record = json.loads(Path("results/runs", like, "run.json").read_text())
    version = registry.task("probe").version
    stated = {**record["predict_spec"], "task": "probe", "task_version": version, "weights": name, "model": name}
    place = Path("results/runs", name)
    place.mkdir()
    (place / "run.json").write_text(json.dumps({**record, "id": name, "predict_spec": stated}))
    write_lines(
        place / "samples-0.jsonl", ({"id": f"study-{index}", "losses": one} for index, one in enumerate(losses))
    )
    return name


def test_probes(runs: Runs) -> None:
    """Less is better; the flow's loss is known of 40 studies, fewer than the policy asks for."""
    rng = np.random.default_rng(0)
    nats, flow = rng.uniform(40.0, 60.0, 60), rng.uniform(0.4, 0.6, 60)

    def made(name: str, times: float, known: int) -> str:
        noise = rng.normal(times, 0.001, (2, 60))
        losses = [
            {"report_nats": nats[i] * noise[0, i], "report_tokens": 20.0}
            | ({"flow_mse": flow[i] * noise[1, i]} if i < known else {})
            for i in range(60)
        ]
        return probed(runs["good"], name, losses)

    old, worse, better = made("old", 1.0, 60), made("worse", 1.1, 60), made("better", 0.9, 60)
    fails, passes = gate(worse, old, "--json"), gate(better, old, "--json")
    assert (fails.exit_code, passes.exit_code) == (1, 0), fails.output + passes.output
    assert states(answer(fails)) == {"probe_ce": "fail", "probe_flow_mse": "fail"}
    assert states(answer(passes)) == {"probe_ce": "pass", "probe_flow_mse": "pass"}
    few, few_better = made("few", 1.0, 40), made("few_better", 0.9, 40)
    result = gate(few_better, few, "--json")
    assert result.exit_code == 3, result.output
    assert states(answer(result)) == {"probe_ce": "pass", "probe_flow_mse": "inconclusive"}
    assert [case["n"] for case in answer(result)["cases"] if case["state"] != "advisory"] == [60, 40]
    assert "40 studies, and the policy asks for 50" in result.stdout


def test_drawn_images(runs: Runs, tmp_path: Path) -> None:
    """Real images are noise: the darker the drawn noise, the larger the distance, of which less is better."""
    found = {}
    for name, grey in (("dark", 40), ("middle", 120), ("full", 256)):
        rng, place = np.random.default_rng(5), tmp_path / name
        place.mkdir()
        for index in range(60):
            Image.fromarray(rng.integers(0, grey, size=(24, 24), dtype=np.uint8)).save(place / f"{index}.png")
        lines = ({"id": f"study-{index}", "image": f"{index}.png"} for index in range(60))
        file = write_lines(place / f"{name}.jsonl", lines)
        said = bench("score", "--task", "generation", "--predictions", file, "--data", runs["folder"],
                     "--per-pathology", "--json", "--quiet")  # fmt: skip
        found[name] = json.loads(said.stdout)["run"]
    for candidate, code, state in (("dark", 1, "fail"), ("full", 0, "pass"), ("middle", 0, "pass")):
        result = gate(found[candidate], found["middle"], "--json")
        assert result.exit_code == code, result.output
        assert states(answer(result))["kd_demodino"] == state
        case = next(case for case in answer(result)["cases"] if case["metric"] == "kd_demodino")
        assert case["gain"] == pytest.approx(case["baseline"] - case["candidate"])


def test_a_policy_that_is_not_there(runs: Runs) -> None:
    refused(gate(runs["good"], runs["bad"], "--policy", "nowhere.toml"), "nowhere.toml", "No such file")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            "report",
            {"chexbert_f1_micro_14_neg": (0.01, False), "radgraph_f1_partial": (0.01, False), "bleu_4": (0.005, False)},
        ),
        ("generation", {"kd_raddino": (0.1, True), "alignment_biovilt": (0.01, False)}),
        ("probe", {"probe_ce": (0.01, True), "probe_flow_mse": (0.01, True)}),
    ],
)
def test_bundled_policies(task: str, expected: dict[str, tuple[float, bool]]) -> None:
    policy = load_policy(None, task)
    assert {p.metric: (p.margin.size, p.margin.relative) for p in policy.primary} == expected
    assert (policy.alpha, policy.minimum_n) == (0.05, 50)


def decided(*tests: tuple[float, float]) -> list[str]:
    """States of primaries with these p-values of "worse" and "within"."""
    cases = [Case(f"m{index}", None, "inconclusive", "", 100) for index in range(len(tests))]
    found = decide(cases, [MarginTest(0.0, 0.01, *test) for test in tests], 0.05, 50)
    return [case.state for case in found]


def test_passing_is_not_adjusted_and_failing_is() -> None:
    assert decided((0.04, 0.96), (0.05, 0.95), (0.049, 0.951)) == ["pass"] * 3
    assert decided((0.06, 0.94)) == ["inconclusive"]
    assert decided((0.97, 0.03)) == ["fail"]
    assert decided((0.97, 0.03), (0.01, 0.99)) == ["inconclusive", "pass"], "0.03 of two tests is 0.06"
    assert decided((0.98, 0.02), (0.96, 0.04)) == ["fail", "fail"], "Holm: 0.04, then 0.04"


def test_the_whole_answer() -> None:
    def whole(*found: str) -> str:
        return outcome_of([Case("m", None, state, "", 9) for state in found])  # type: ignore[arg-type]

    assert whole("pass", "pass", "advisory", "not judged") == "pass"
    assert whole("pass", "inconclusive") == "inconclusive"
    assert whole("inconclusive", "fail") == "fail"
    assert whole("not judged", "advisory") == "inconclusive", "nothing judged is no yes"
