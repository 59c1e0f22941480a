"""Two runs against each other: values, tests, what is shown where, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import SENTENCES, bench, make_folder, mostly, recorded, refused, shuffled, write_lines
from PIL import Image
from scipy import stats
from tiny_encoders import write_biovil_t

from unix_bench.compare import match, paired_measures
from unix_bench.protocols.probe import SoundProbe
from unix_bench.scoring.image import kernel_distance, kernel_sums
from unix_bench.scoring.statistics import Margin, Measure, kernel_margin, mean_of, measure_margin
from unix_bench.settings import load_settings


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, str, str]:
    """A folder of 60 studies, a good run and a shuffled one."""
    folder = tmp_path / "made"
    reports = make_folder(folder, 60)
    return folder, recorded(folder, "good", mostly(reports)), recorded(folder, "bad", shuffled(reports))


def compared(*words: object) -> dict[str, Any]:
    result = bench("compare", *words, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def stored(run: str, protocol: str = "sound") -> dict[tuple[str | None, str], Any]:
    path = next(Path("results/runs").glob(f"{run}/scores/{protocol}-*/results.json"))
    return {(m["pathology"], m["name"]): m for m in json.loads(path.read_text())["metrics"]}


@pytest.mark.parametrize("protocol", ["sound", "unix"])
def test_each_side_has_the_values_of_its_results(pair: tuple[Path, str, str], protocol: str) -> None:
    _, good, bad = pair
    document = compared(f"{good}:{protocol}", bad)
    sides = stored(good, protocol), stored(bad, protocol)
    tested = 0
    for row in document["metrics"]:
        key = (row["pathology"], row["name"])
        for name, side in zip("ab", sides, strict=True):
            if side[key]["value"] is None:
                assert row[name] is None
            else:
                assert row[name] == pytest.approx(side[key]["value"], abs=1e-12), key
        assert row["n"] == sides[0][key]["n"]
        if row["p"] is not None:
            tested += 1
            assert row["ci"][0] <= row["difference"] <= row["ci"][1]
            if protocol == "sound":
                assert row["difference"] == pytest.approx(row["a"] - row["b"], abs=1e-12)
    assert tested >= 25
    assert {row["pathology"] for row in document["metrics"]} >= {None, *SENTENCES}


def test_verdicts_and_holm_over_the_findings(pair: tuple[Path, str, str]) -> None:
    _, good, bad = pair
    rows = compared(good, bad)["metrics"]
    overall = {row["name"]: row for row in rows if row["pathology"] is None}
    assert overall["rule14_f1_micro_14_neg"]["verdict"] == "better"
    assert overall["rouge_l"]["verdict"] == "better"
    reverse = {row["name"]: row for row in compared(bad, good)["metrics"] if row["pathology"] is None}
    assert reverse["rouge_l"]["verdict"] == "worse"
    assert reverse["rouge_l"]["difference"] == pytest.approx(-overall["rouge_l"]["difference"])
    same = compared(good, good)["metrics"]
    assert {row["verdict"] for row in same if row["p"] is not None} == {"no evidence"}
    for name in ("rouge_l", "bleu_4"):
        family = [row for row in rows if row["name"] == name and row["pathology"] and row["p"] is not None]
        assert len(family) == len(SENTENCES)
        least = min(family, key=lambda row: row["p"])
        assert least["p_holm"] == pytest.approx(min(1.0, least["p"] * len(family)))
    by_finding = [row for row in rows if row["name"].startswith("rule14_f1_") and row["name"].endswith("_edema_neg")]
    assert by_finding[0]["p_holm"] >= by_finding[0]["p"]


def test_the_samples_that_changed_most(pair: tuple[Path, str, str]) -> None:
    folder, good, bad = pair
    document = compared(good, bad)
    assert document["criterion"] == "ROUGE-L"
    changes = [abs(sample["change"]) for sample in document["changed"]]
    assert changes == sorted(changes, reverse=True)
    sample = document["changed"][0]
    assert sample["change"] == pytest.approx(sample["a"] - sample["b"], abs=1e-9)
    manifest = {line.split(",")[0]: line for line in (folder / "manifest.csv").read_text().splitlines()}
    assert sample["reports"]["reference"] in manifest[sample["id"]]
    for change in sample["findings"]:
        assert change["a"] != change["b"]
    assert any(one["findings"] for one in document["changed"])


class Page(HTMLParser):
    """Elements and text, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_whatever_a_report_holds_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    reports = make_folder(folder, 12)
    nasty = "<script>alert(1)</script> \x1b[31mred \u202eleft \x00 " + "w" * 3000 + "</p><img src=x onerror=y>"
    one = recorded(folder, "a<b>&'\"", reports)
    two = recorded(folder, "plain", [nasty, *reports[1:]])
    result = bench("compare", one, two, "--quiet", "--out", "page.html")
    assert result.exit_code == 0, result.output
    text = Path("page.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.words
    assert "recorded-a<b>&'\"" in page.words
    for letter in "\x00\x1b\u202e":
        assert letter not in text
        assert letter not in result.stdout
    assert "overflow-wrap: anywhere" in text
    assert "http" not in text.replace("http-equiv", "")
    assert text == next(Path("results/runs").glob(f"{one}/comparisons/*.html")).read_text()


def test_restricted_data_leaves_as_numbers_only(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    reports = make_folder(folder, 60, restricted=True)
    one, two = recorded(folder, "good", mostly(reports)), recorded(folder, "bad", shuffled(reports))
    console = bench("compare", one, two, "--quiet", "--out", "page.html")
    program = bench("compare", one, two, "--quiet", "--json")
    assert "left out, the samples numbered" in console.stderr
    for text in (Path("page.html").read_text(), console.stdout, program.stdout):
        assert "RESTRICTED" in text or '"restricted": true' in text
        for private in ("study-", "patient-", "pleural effusion.", "The heart", "Comparison"):
            assert private not in text
    changed = json.loads(program.stdout)["changed"]
    assert [sample["id"] for sample in changed] == [f"sample {place + 1}" for place in range(len(changed))]
    assert "sample 3: " in console.stdout
    home = next(Path("results/runs").glob(f"{one}/comparisons/*.html"))
    inside = home.with_name("mine.html")
    assert bench("compare", one, two, "--quiet", "--out", inside).exit_code == 0
    for page in (home, inside):
        assert "RESTRICTED" in page.read_text()
        assert "study-" in page.read_text()
        assert "The heart" in page.read_text()


def test_other_studies_are_refused_unless_asked_for(pair: tuple[Path, str, str], tmp_path: Path) -> None:
    folder, good, _ = pair
    reports = shuffled(["The heart is enlarged."] * 60)
    few = recorded(folder, "few", reports[:25], "--limit", 25)
    refused(bench("compare", good, few, "--quiet"), "different studies (60 and 25, 25 in common)", "--common")
    document = compared(good, few, "--common")
    assert document["n"] == 25
    assert "Only the 25 studies" in document["notes"][0]
    row = next(row for row in document["metrics"] if row["name"] == "rouge_l" and row["pathology"] is None)
    assert row["b"] == pytest.approx(stored(few)[None, "rouge_l"]["value"])
    assert row["a"] == pytest.approx(22 / 25), "three of the first 25 say nothing that is there"
    assert stored(good)[None, "rouge_l"]["value"] == pytest.approx(54 / 60)
    sets = [row for row in document["metrics"] if row["difference"] is not None and row["p"] is None]
    assert not sets


def test_a_failed_prediction_leaves_its_study_out_of_both(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    reports = make_folder(folder, 12)
    whole, holed = recorded(folder, "whole", reports), recorded(folder, "holed", [None, *reports[1:]])
    document = compared(whole, holed)
    assert document["n"] == 11
    assert "1 studies of which one run's prediction failed" in document["notes"][0]
    assert document["b"]["failed"] == 1


def test_what_cannot_be_compared(pair: tuple[Path, str, str]) -> None:
    folder, good, bad = pair
    refused(bench("compare", f"{good}:unix", f"{bad}:sound"), "protocols differ")
    refused(bench("compare", good, "nothing"), "no run 'nothing'")
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    text = (other / "manifest.csv").read_text()
    (other / "manifest.csv").write_text(text.replace("Prompt 3.", "Prompt three."))
    third = recorded(other, "good", ["No pneumothorax."] * 60)
    refused(bench("compare", good, third), "content of the data differs")


def drawn(folder: Path, name: str, n: int, grey: int, *words: object) -> str:
    """The run of noise that was drawn for the studies of such a data set."""
    rng = np.random.default_rng(grey)
    place = folder.parent / name
    place.mkdir()
    for index in range(n):
        Image.fromarray(rng.integers(0, grey, size=(24, 24), dtype=np.uint8)).save(place / f"{index}.png")
    file = write_lines(place / f"{name}.jsonl", ({"id": f"study-{i}", "image": f"{i}.png"} for i in range(n)))
    said = bench("score", "--task", "generation", "--predictions", file, "--data", folder, "--json", "--quiet", *words)
    return str(json.loads(said.stdout)["run"])


def test_drawn_images(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    make_folder(folder, 24)
    runs = [drawn(folder, name, 24, grey, "--per-pathology") for name, grey in (("noise", 256), ("dark", 40))]
    document = compared(*runs)
    sides = stored(runs[0]), stored(runs[1])
    rows = {row["name"]: row for row in document["metrics"] if row["pathology"] is None}
    kd = rows["kd_demodino"]
    for name, side in zip("ab", sides, strict=True):
        assert kd[name] == pytest.approx(side[None, "kd_demodino"]["value"], rel=1e-9)
    assert kd["verdict"] == "better", "noise is what the real images are"
    assert rows["fd_demodino"]["difference"] == pytest.approx(rows["fd_demodino"]["a"] - rows["fd_demodino"]["b"])
    assert rows["fd_demodino"]["p"] is None
    assert "no paired test" in rows["fd_demodino"]["note"]
    page = Page(next(Path("results/runs").glob(f"{runs[0]}/comparisons/*.html")).read_text())
    assert page.tags.count("img") == 3 * len(document["changed"]) > 0


@pytest.mark.parametrize("protocol", ["sound", "chexgenbench"])
def test_alignment_as_each_protocol_states_it(tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published one is rounded before and after the mean."""
    folder = tmp_path / "made"
    make_folder(folder, 14)
    write_biovil_t(tmp_path / "weights" / "biovil-t")
    monkeypatch.setenv("UNIX_BENCH_WEIGHTS", str(tmp_path / "weights"))
    runs = [drawn(folder, name, 14, grey, "--per-pathology") for name, grey in (("noise", 256), ("dark", 40))]
    document = compared(f"{runs[0]}:{protocol}", runs[1])
    rows = [row for row in document["metrics"] if row["name"].startswith("alignment_") and row["p"] is not None]
    assert {row["name"] for row in rows} >= {"alignment_biovilt"}
    for row in rows:
        for side, run in zip("ab", runs, strict=True):
            assert row[side] == stored(run, protocol)[row["pathology"], row["name"]]["value"], row
        if protocol == "chexgenbench":
            assert row["a"] == round(row["a"], 3)


def test_a_plug_in_may_take_the_values_that_its_meter_saw(
    pair: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "grades-1.dist-info").mkdir(parents=True)
    (site / "grades-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: grades\nVersion: 1\n")
    (site / "grades-1.dist-info" / "entry_points.txt").write_text("[unix_bench.metrics]\ngrade = grades:Grade\n")
    (site / "grades.py").write_text(
        "class Grade:\n"
        "    better, version = 'lower', '1'\n"
        "    score = staticmethod(lambda ours, theirs: [2.0 + 3.0 * (a != b) for a, b in zip(ours, theirs)])\n"
    )
    monkeypatch.syspath_prepend(site)
    _, good, bad = pair
    document = compared(good, bad)
    row = next(row for row in document["metrics"] if row["name"] == "grade" and row["pathology"] is None)
    assert row["a"] == pytest.approx(2.0 + 3.0 * 6 / 60), "6 of the 60 reports are another's"
    assert row["verdict"] == "better"
    first, _ = paired_measures(match(good, bad, load_settings()))["grade"]
    assert first.within == (2.0, 5.0)


def test_losses_are_sums_over_weights() -> None:
    columns = {"report_nats": [6.0, None, 4.0], "report_tokens": [3.0, None, 1.0], "flow_mse": [0.5, 0.25, None]}
    found = SoundProbe(None).measures(columns)
    assert found["probe_ce"].value() == pytest.approx(10.0 / 4.0)
    assert found["probe_flow_mse"].value() == pytest.approx(0.375)


def test_a_margin_agrees_with_the_t_test() -> None:
    rng = np.random.default_rng(0)
    baseline = rng.uniform(0.5, 1.5, 800)
    candidate = baseline + rng.normal(0.012, 0.1, 800)
    cases: list[tuple[bool, Margin, np.ndarray[Any, Any]]] = [
        (True, Margin(0.01), candidate - baseline + 0.01),
        (False, Margin(0.02), -(candidate - baseline - 0.02)),
        (False, Margin(0.02, relative=True), 1.02 * baseline - candidate),
        (True, Margin(0.005, relative=True), candidate - 0.995 * baseline),
    ]
    for higher, margin, spare in cases:
        found = measure_margin(mean_of(candidate), mean_of(baseline), None, higher, margin, seed=1, replicates=20_000)
        assert found.gain == pytest.approx((1 if higher else -1) * (candidate - baseline).mean())
        assert found.p_worse is not None
        assert found.p_within is not None
        assert found.p_worse == pytest.approx(stats.ttest_1samp(spare, 0.0, alternative="greater").pvalue, abs=0.01)
        assert found.p_within == pytest.approx(stats.ttest_1samp(spare, 0.0, alternative="less").pvalue, abs=0.01)


@pytest.mark.parametrize("margin_of", [lambda kd: Margin(kd), lambda kd: Margin(1.0 * 0.999, relative=True)])
def test_a_kernel_distance_on_either_side_of_its_margin(margin_of: Callable[[float], Margin]) -> None:
    """The candidate's distance is about twice, then about four times the baseline's; twice is allowed."""
    rng = np.random.default_rng(0)
    real, noise = rng.normal(size=(300, 6)), rng.normal(size=(300, 6))
    baseline = kernel_sums(real, noise + 0.6, None)
    kd = kernel_distance(real, noise + 0.6)
    assert kd == pytest.approx(baseline.estimate.value)
    near, far = (kernel_sums(real, noise + shift, None) for shift in (0.65, 1.3))
    assert near.estimate.value < 1.7 * kd
    assert far.estimate.value > 3.0 * kd
    inside, beyond = (kernel_margin(each, baseline, margin_of(kd), 0, 1000) for each in (near, far))
    assert inside.gain == pytest.approx(kd - near.estimate.value)
    assert inside.p_worse is not None
    assert inside.p_worse < 0.01
    assert beyond.p_within is not None
    assert beyond.p_within < 0.01
    again = kernel_sums(real, noise + 0.6, None)
    same = kernel_margin(baseline, again, Margin(0.0), 0, itself=True)
    assert (same.gain, same.p_worse) == (0.0, 0.0)
    assert kernel_margin(baseline, again, Margin(kd), 0).p_worse == 1.0, "the distance has no range"
    for count, passes in ((4, False), (5, True)):
        mixed = kernel_sums(real, np.concatenate([noise[:count] + 0.61, noise[count:] + 0.6]), None)
        found = kernel_margin(mixed, baseline, Margin(kd), 0, 500).p_worse
        assert found is not None
        assert (found < 0.05) == passes


def test_patients_that_do_not_differ_bound_what_was_not_seen() -> None:
    """0.99 ** 298 is the last above 0.05; a patient is two studies; what was lost is no longer there to lose."""

    def p(candidate: Measure, baseline: Measure, patients: list[str], size: float) -> float:
        found = measure_margin(candidate, baseline, patients, True, Margin(size), 0, 500).p_worse
        assert found is not None
        return found

    for count, passes in ((298, False), (299, True)):
        same, patients = mean_of(np.full(2 * count, 0.4)), [str(study // 2) for study in range(2 * count)]
        assert (p(same, same, patients, 0.01) <= 0.05) == passes
    wide = mean_of(np.full(600, 0.4), within=(-1.0, 1.0))
    assert p(wide, wide, [str(study) for study in range(600)], 0.01) == pytest.approx((1 - 0.01 / 2) ** 600)
    none, half = np.zeros(400), mean_of(np.full(400, 0.4), np.arange(400) < 200)
    assert p(half, half, [str(study) for study in range(400)], 0.01) == pytest.approx(0.99**200)
    for few in (1, 4):
        other = np.where(np.arange(400) < few, -0.2, none) + 0.4
        spare = 0.01 - 0.2 * few / 400
        found = p(mean_of(other), mean_of(none + 0.4), [str(study) for study in range(400)], 0.01)
        assert found == pytest.approx((1.0 - spare) ** 400)
    several = mean_of(np.where(np.arange(400) < 5, -0.2, none) + 0.4)
    assert p(several, mean_of(none + 0.4), [str(study) for study in range(400)], 0.01) < 0.01
