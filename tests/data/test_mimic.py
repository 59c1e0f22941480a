"""MIMIC-CXR's official layout, on synthetic trees: what is read, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from bench import bench
from mimic_tree import Tree, make_tree, write_gz

from unix_bench.data import DataSet, open_data
from unix_bench.errors import UserError
from unix_bench.registry import tasks
from unix_bench.settings import Settings


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path / "mimic", 40)


def read(tree: Tree, name: str = "mimic_cxr", task: str = "report", **places: object) -> DataSet:
    return open_data(name, tasks()[task].sets, Settings(mimic_root=tree.root, **places))


@pytest.mark.parametrize("zipped", [False, True])
def test_the_official_test_set(tree: Tree, zipped: bool) -> None:
    tree.write(zipped)
    data = read(tree)
    # Counted by pandas from the same files.
    split = pd.read_csv(tree.root / "mimic-cxr-2.0.0-split.csv.gz", dtype=str)
    views = pd.read_csv(tree.root / "mimic-cxr-2.0.0-metadata.csv.gz", dtype=str)
    both = split.merge(views[["dicom_id", "ViewPosition"]], on="dicom_id")
    expected = both[(both.split == "test") & both.ViewPosition.isin(["AP", "PA"])]
    assert [study.id for study in data.studies] == list(expected.dicom_id)
    assert [study.patient_id for study in data.studies] == list(expected.subject_id)
    assert (data.restricted, data.reference_text, data.notes) == (True, "mimic_findings", data.notes)
    first = data.studies[0]
    number = int(first.study_id) - 50_900_000
    assert first.reference.report.endswith(f"is seen in study {number}. The heart is normal.")
    assert first.inputs.indication == f"___ year old with cough {number}."
    assert first.inputs.image.is_file()
    missing = [study for study in data.studies if study.reference.report is None]
    assert {int(study.study_id) % 10 for study in missing} == {9}, "studies without findings have no reference"
    labels = pd.read_csv(tree.root / "mimic-cxr-2.0.0-chexpert.csv.gz").set_index("study_id")
    for study in data.studies:
        row = labels.loc[int(study.study_id)].drop("subject_id").dropna().astype(int).to_dict()
        assert dict(study.reference.labels) == row


def test_reference_texts_are_different_sets(tree: Tree) -> None:
    tree.write()
    texts = {
        name: read(tree, f"mimic_cxr{name}").studies[0].reference.report
        for name in ("", ":impression", ":findings_impression")
    }
    assert texts[":findings_impression"] == f"{texts['']} {texts[':impression']}"
    digests = {read(tree, f"mimic_cxr{name}").content_digest for name in texts}
    assert len(digests) == 3


def test_images_elsewhere_and_dicom(tree: Tree, tmp_path: Path) -> None:
    tree.write()
    data = read(tree, mimic_images=str(tmp_path / "small" / "{dicom_id}.png"))
    assert data.studies[0].inputs.image == tmp_path / "small" / f"{data.studies[0].id}.png"
    with pytest.raises(UserError, match=r"no \{dicom_id\}"):
        read(tree, mimic_images="/x/image.png")
    with pytest.raises(UserError, match=r"only .dicom_id."):
        read(tree, mimic_images="/x/{dicom_id}/{nonsense}.png")
    for path in tree.root.rglob("*.jpg"):
        path.rename(path.with_suffix(".dcm"))
    assert read(tree).studies[0].inputs.image.suffix == ".dcm"


def test_version_2_1_and_the_radiologists_labels(tree: Tree) -> None:
    tree.write()
    renamed = [
        {
            ("Airspace Opacity" if key == "Lung Opacity" else key): value
            for key, value in row.items()
            if key != "subject_id"
        }
        for row in tree.labels
    ]
    write_gz(tree.root / "mimic-cxr-2.1.0-test-set-labeled.csv.gz", renamed)
    card = tasks()["report"].sets["mimic_cxr"].model_copy(update={"labels": "test_set_labeled"})
    data = open_data("mimic_cxr", {"mimic_cxr": card}, Settings(mimic_root=tree.root))
    assert [study.reference.labels for study in data.studies] == [
        study.reference.labels for study in read(tree).studies
    ]


def test_annotations_of_unix(tree: Tree, tmp_path: Path) -> None:
    tree.write()
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<image>What is seen?"},
                {"role": "assistant", "content": f"Answer {number}."},
            ],
            "images": [f"/somewhere/else/{row['dicom_id']}.jpg"],
        }
        for number, row in enumerate(tree.split[:24])
    ]
    for text in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
        (tmp_path / "test_data.json").write_text(text)
        data = read(tree, "mimic_cxr:unix_json", mimic_unix_json=tmp_path / "test_data.json")
        assert [study.reference.report for study in data.studies] == [f"Answer {number}." for number in range(24)]
        assert data.studies[0].inputs.instruction == "What is seen?"
        patients, overlap, count = data.notes
        assert "1 patients have images in MIMIC-CXR's official TRAINING split too" in patients
        assert "2 of 24 images are in MIMIC-CXR's official TRAINING split" in overlap
        assert "24 pairs here, 2365 stated by UniX: by split: test 20, train 2, validate 2; by view:" in count
        assert "different images 24, studies 12, patients 4" in count


@pytest.mark.parametrize("source", ["llava_rad", "chexgenbench"])
def test_annotations_as_csv(tree: Tree, tmp_path: Path, source: str) -> None:
    tree.write()
    rows = [
        {
            "path": f"p10/{row['dicom_id']}.jpg",
            "annotated_prompt": f"Prompt {number // 2}.",
            "chexpert_labels": "{'Edema': 1, 'Fracture': None, 'Pneumonia': -1.0}" if number else "",
            "generate_method": ("rule-based", "gpt4")[number % 3 == 2],
        }
        for number, row in enumerate(tree.split[:30])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    data = read(tree, f"mimic_cxr:{source}", "generation", **{f"mimic_{source}": tmp_path / "a.csv"})
    assert (source == "llava_rad") == (len(data.studies) < 30)
    assert dict(data.studies[-1].reference.labels) == {"Edema": 1, "Pneumonia": -1}
    assert data.reference_text == "llava_rad_rule"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("__import__('os').mkdir('owned')", "chexpert_labels is not a dictionary"),
        ("{'Edema': 2}", "Edema is '2'"),
        ("{'Oedema': 1}", "'Oedema', which is none of the 14 findings"),
        ("[1, 2]", "chexpert_labels is not a dictionary"),
        ("{'Edema': 1", "chexpert_labels is not a dictionary"),
    ],
)
def test_label_cells_are_parsed_and_never_run(tree: Tree, tmp_path: Path, cell: str, message: str) -> None:
    tree.write(images=False)
    row = {"path": "synthetic-00001-0.jpg", "annotated_prompt": "x", "chexpert_labels": cell}
    pd.DataFrame([row]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=rf"a\.csv, row 2: .*{message}"):
        read(tree, "mimic_cxr:chexgenbench", "generation", mimic_chexgenbench=tmp_path / "a.csv")
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"messages": [], "images": ["a.jpg"]}\n{"mess', r"test_data\.json, line 2 is not whole JSON"),
        ('[{"messages": [', r"test_data\.json is not whole JSON"),
        ('{"images": ["a.jpg"]}', "row 1: it needs `images` and `messages`"),
        ('["a"]', "row 1 is not an object"),
    ],
)
def test_torn_annotations(tree: Tree, tmp_path: Path, text: str, message: str) -> None:
    tree.write(images=False)
    (tmp_path / "test_data.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read(tree, "mimic_cxr:unix_json", mimic_unix_json=tmp_path / "test_data.json")


def test_annotations_of_other_images(tree: Tree, tmp_path: Path) -> None:
    tree.write(images=False)
    pd.DataFrame([{"path": "other.jpg", "annotated_prompt": "x"}]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"a\.csv, row 2: 'other' is not in the official index"):
        read(tree, "mimic_cxr:chexgenbench", "generation", mimic_chexgenbench=tmp_path / "a.csv")
    row = {"path": "synthetic-00001-0.jpg", "annotated_prompt": "x"}
    pd.DataFrame([row, row]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"row 3: image 'synthetic-00001-0' already stands in .*row 2"):
        read(tree, "mimic_cxr:chexgenbench", "generation", mimic_chexgenbench=tmp_path / "a.csv")


def damage(tree: Tree, what: str) -> None:
    """Break the index in one of the ways in which copies break."""
    split = tree.root / "mimic-cxr-2.0.0-split.csv.gz"
    if what == "cut short":
        split.write_bytes(split.read_bytes()[:-30])
    elif what == "absent":
        split.unlink()
    elif what == "two rows":
        write_gz(split, [*tree.split, tree.split[3]])
    elif what == "split name":
        write_gz(split, [{**tree.split[0], "split": "testing"}])
    elif what == "column":
        write_gz(split, [{"dicom_id": "a", "split": "test"}])
    elif what == "label":
        write_gz(tree.root / "mimic-cxr-2.0.0-chexpert.csv.gz", [{**tree.labels[0], "Edema": "3.0"}])
    elif what == "report":
        (tree.root / next(name for name in tree.reports if name.endswith("s50900001.txt"))).write_bytes(
            b"FINDINGS: \xe9"
        )
    elif what == "label columns":
        write_gz(tree.root / "mimic-cxr-2.0.0-chexpert.csv.gz", [{"subject_id": "1", "study_id": "50900000"}])
    elif what == "other study":
        rows = [{**row, "study_id": "50999999"} for row in tree.metadata]
        write_gz(tree.root / "mimic-cxr-2.0.0-metadata.csv.gz", rows)
    elif what == "id":
        write_gz(split, [{**tree.split[0], "dicom_id": "../../etc/passwd"}])
        write_gz(tree.root / "mimic-cxr-2.0.0-metadata.csv.gz", [{**tree.metadata[0], "dicom_id": "../../etc/passwd"}])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut short", r"split\.csv\.gz is cut short or damaged"),
        ("absent", r"holds no mimic-cxr-2\.0\.0-split\.csv\.gz: .*UNIX_BENCH_MIMIC_ROOT"),
        ("two rows", r"split\.csv\.gz, row 82: dicom_id 'synthetic-00001-1' already stands in row 5"),
        ("split name", "row 2: split 'testing' is not one of train, validate, test"),
        ("column", "has no column study_id and no column subject_id"),
        ("label", r"chexpert\.csv\.gz, row 2: Edema is '3\.0'"),
        ("label columns", r"chexpert\.csv\.gz has no column Enlarged Cardiomediastinum and"),
        ("other study", "row 2: study_id is 50900000, .*metadata.csv.gz says 50999999"),
        ("id", "row 2: an id is malformed"),
    ],
)
def test_a_broken_index_ends_the_run(tree: Tree, what: str, message: str) -> None:
    tree.write(images=False)
    damage(tree, what)
    with pytest.raises(UserError, match=message):
        read(tree)


def test_a_broken_report_is_one_bad_sample(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write()
    damage(tree, "report")
    bad = [study for study in read(tree).studies if study.problem]
    assert {study.study_id for study in bad} == {"50900001"}
    assert "s50900001.txt is not UTF-8 (byte 10)" in bad[0].problem
    monkeypatch.setenv("UNIX_BENCH_MIMIC_ROOT", str(tree.root))
    words = ["run", "--model", "unix", "--task", "report", "--data", "mimic_cxr", "--limit", "4", "--quiet", "--json"]
    words += ["--set", "max_new_tokens=2"]
    stopped = bench(*words)
    assert stopped.exit_code == 2
    assert "s50900001.txt is not UTF-8" in stopped.stderr
    dropped = bench(*words, "--on-error", "drop-pair", "--max-failed", "1")
    assert json.loads(dropped.stdout)["counts"]["failed"] == len(bad)


def test_an_archive_with_a_path_that_escapes(tree: Tree) -> None:
    tree.write(zipped_reports=True, images=False)
    with zipfile.ZipFile(tree.root / "mimic-cxr-reports.zip", "a") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(UserError, match=r"member '\.\./outside\.txt' leaves the archive"):
        read(tree)
    (tree.root / "mimic-cxr-reports.zip").write_bytes(b"PK half")
    with pytest.raises(UserError, match="is not a whole zip archive"):
        read(tree)


def test_without_a_root() -> None:
    with pytest.raises(UserError, match="mimic_cxr needs UNIX_BENCH_MIMIC_ROOT"):
        open_data("mimic_cxr", tasks()["report"].sets, Settings())


def test_own_treatment_of_a_report(tree: Tree, tmp_path: Path) -> None:
    tree.write(images=False)
    (tmp_path / "own.toml").write_text('[50900001]\nfindings = "The heart"\n')
    data = read(tree, mimic_exceptions=tmp_path / "own.toml")
    reports = {study.study_id: study.reference.report for study in data.studies}
    assert reports["50900001"].startswith("The heart is normal. IMPRESSION")
    (tmp_path / "own.toml").write_text('[50900001]\nfindings = "No such words"\n')
    bad = [study for study in read(tree, mimic_exceptions=tmp_path / "own.toml").studies if study.problem]
    assert "which is not in it" in bad[0].problem
    (tmp_path / "own.toml").write_text('50900001 = "findings"\n')
    with pytest.raises(UserError, match=r"own\.toml: \[50900001\] needs lines"):
        read(tree, mimic_exceptions=tmp_path / "own.toml")


def test_a_damaged_member_and_an_archive_without_reports(tree: Tree) -> None:
    tree.write(zipped_reports=True, images=False)
    archive = tree.root / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as again:
        for name, text in tree.reports.items():
            again.writestr(name, text * 30)
    with zipfile.ZipFile(archive) as whole:
        member = whole.infolist()[1]
    raw = bytearray(archive.read_bytes())
    raw[member.header_offset + 80 : member.header_offset + 110] = b"\xff" * 30
    archive.write_bytes(raw)
    with pytest.raises(UserError, match=r"s50900001\.txt is damaged"):
        read(tree)
    with zipfile.ZipFile(archive, "w") as empty:
        empty.writestr("readme.txt", "nothing")
    assert "studies has a text: are the reports where UNIX_BENCH_MIMIC_REPORTS says?" in " ".join(read(tree).notes)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["report", "generation"])
def test_a_tree_of_three_thousand_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """All of it is read; the first 64 studies are predicted, to spare the machine."""
    tree = make_tree(tmp_path / "mimic", 3000)
    tree.write(zipped_reports=True)
    monkeypatch.setenv("UNIX_BENCH_MIMIC_ROOT", str(tree.root))
    quick = {"report": "max_new_tokens=2", "generation": "num_timesteps=2"}[task]
    words = ["run", "--model", "unix", "--task", task, "--data", "mimic_cxr", "--limit", "64", "--quiet", "--json"]
    result = bench(*words, "--set", quick)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["restricted"] is True
    assert json.loads(result.stdout)["counts"]["ok"] == 64
    signature = json.loads(result.stdout)["metrics"][0]["signature"]
    expected = {"report": "mimic_findings", "generation": "mimic_impression"}[task]
    assert f"reference_text={expected};" in signature
    frontal = sum(
        row["split"] == "test" and meta["ViewPosition"] in ("AP", "PA")
        for row, meta in zip(tree.split, tree.metadata, strict=True)
    )
    assert len(read(tree, task=task).studies) == frontal == 2700
