"""The Open-i / Kaggle layout, on a synthetic copy, and the MeSH mapping on the real records."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from unix_bench.data import DataSet, open_data
from unix_bench.data.iu_xray import labels_of
from unix_bench.errors import UserError
from unix_bench.registry import tasks
from unix_bench.settings import Settings

SHARED = Path(__file__).parents[3] / "shared" / "data" / "iu_xray" / "reports.jsonl"
REPORTS = "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
PROJECTIONS = "uid,filename,projection\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "iu"
    (place / "images" / "images_normalized").mkdir(parents=True)
    (place / "indiana_reports.csv").write_text(
        REPORTS
        + "1,normal,normal,Chest,Cough XXXX,None.,Clear lungs.,Normal.\n"
        + "2,Cardiomegaly/mild;Opacity/lung,x,Chest,,,,Large heart.\n"
        + "3,,x,Chest,,,,\n"
    )
    (place / "indiana_projections.csv").write_text(
        PROJECTIONS + "1,1_a.dcm.png,Frontal\n1,1_b.dcm.png,Lateral\n2,2_a.dcm.png,Frontal\n3,3_a.dcm.png,Frontal\n"
    )
    for name in ("1_a", "1_b", "2_a", "3_a"):
        Image.new("L", (8, 8)).save(place / "images" / "images_normalized" / f"{name}.dcm.png")
    return place


def read(root: Path, task: str = "report") -> DataSet:
    return open_data("iu_xray", tasks()[task].sets, Settings(iu_root=root))


def test_frontal_images_with_their_reports(root: Path) -> None:
    data = read(root)
    assert [study.id for study in data.studies] == ["1_a", "2_a", "3_a"]
    assert [study.reference.report for study in data.studies] == ["Clear lungs. Normal.", "Large heart.", None]
    assert data.studies[0].inputs.indication == "Cough XXXX"
    assert data.studies[0].inputs.image.is_file()
    assert data.restricted
    assert [study.inputs.prompt for study in read(root, "generation").studies] == ["Normal.", "Large heart.", None]
    assert [name for name, label in data.studies[1].reference.labels.items() if label] == [
        "Cardiomegaly",
        "Lung Opacity",
    ]
    assert data.studies[0].reference.labels["No Finding"] == 1
    assert data.studies[2].reference.labels == labels_of("No Indexing") == {}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("indiana_projections.csv", PROJECTIONS + "9,9.png,Frontal\n", "row 2: indiana_reports.csv has no report"),
        ("indiana_projections.csv", PROJECTIONS + "1,../../../x.png,Frontal\n", "row 2: .*leaves the data folder"),
        ("indiana_projections.csv", PROJECTIONS + "1,a.png,Frontal\n1,a.png,Frontal\n", "row 3: .*stands there twice"),
        ("indiana_projections.csv", "uid,filename\n", "has no column projection"),
        ("indiana_reports.csv", REPORTS + "1,,,,,,,\n1,,,,,,,\n", "row 3: uid '1' stands there twice"),
    ],
)
def test_malformed(root: Path, file: str, content: str, message: str) -> None:
    (root / file).write_text(content)
    with pytest.raises(UserError, match=message):
        read(root)


def test_how_to_fetch_it() -> None:
    with pytest.raises(UserError, match=r"UNIX_BENCH_IU_ROOT.*raddar/chest-xrays-indiana-university"):
        read(Path("nowhere"))


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared data is not here")
def test_mesh_mapping_against_another_reading_of_the_records() -> None:
    agree = total = 0
    with SHARED.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            ours = labels_of(row["mesh"] or "")
            for finding, label in row["chexpert14_from_mesh"].items():
                if label is not None and ours:
                    total += 1
                    agree += ours[finding] == label
    assert agree / total > 0.998


def test_the_header_is_what_kaggle_s_copy_has() -> None:
    assert next(csv.reader([REPORTS]))[:2] == ["uid", "MeSH"]
