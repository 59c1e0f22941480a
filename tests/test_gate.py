"""The gate: a yes, a no, a cannot tell, and what it leaves for others to read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench import bench, make_folder, mostly, recorded, refused, shuffled
from click.testing import Result

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
    Path("p.toml").write_text('task = "report"\nmax_failed = 0.1\n[[primary]]\nmetric = "bleu_4"\nabsolute = 0.005\n')
    assert gate(holed, runs["good"], "--policy", "p.toml").exit_code == 0


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
