"""The folder format: what is read, and what is refused with the file and row in the message."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from unix_bench.data import FINDINGS, open_data, read_folder
from unix_bench.errors import UserError
from unix_bench.settings import Settings

SHARED = Path(__file__).parents[3] / "shared" / "data"


def write(folder: Path, manifest: str | bytes, card: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(b"")
    content = manifest if isinstance(manifest, bytes) else manifest.encode()
    (folder / "manifest.csv").write_bytes(content)
    if card is not None:
        (folder / "dataset.toml").write_text(card)
    return folder


def test_the_demo_is_what_it_says() -> None:
    demo = open_data("demo", {}, Settings())
    assert (len(demo.studies), demo.restricted) == (71, False)
    assert all(study.inputs.prompt for study in demo.studies)
    assert sum(study.reference.report is not None for study in demo.studies) == 37
    assert sum(study.reference.labels.get("Pneumonia") == 1 for study in demo.studies) == 19
    size = sum(path.stat().st_size for path in demo.root.rglob("*") if path.is_file())
    assert size <= 6_000_000
    for study in demo.studies:
        with Image.open(study.inputs.image) as image:
            assert image.mode == "L"
            assert max(image.size) <= 512


def test_cells_are_text_as_they_stand(tmp_path: Path) -> None:
    text = (
        "\ufeffid,image,report,prompt,Edema,Fracture,other\r\n"
        "None,a.png,nan,,-1,0.0,x\r\n"
        '"2","a.png","N/A\nline, two",None,,1,y\r\n'
    )
    first, second = read_folder(write(tmp_path / "d", text)).studies
    assert (first.id, first.reference.report, first.inputs.prompt) == ("None", "nan", None)
    assert first.reference.labels == {"Edema": -1, "Fracture": 0}
    assert (second.reference.report, second.inputs.prompt) == ("N/A\nline, two", "None")
    assert second.reference.labels == {"Fracture": 1}


def test_restricted_unless_said_otherwise(tmp_path: Path) -> None:
    manifest = "id,image\n1,a.png\n"
    assert read_folder(write(tmp_path / "a", manifest)).restricted
    assert read_folder(write(tmp_path / "b", manifest, 'name = "b"\n')).restricted
    card = 'name = "Mine"\nlicence = "CC0"\nrestricted = false\nurl = "ignored"\n'
    data = read_folder(write(tmp_path / "c", manifest, card))
    assert (data.name, data.licence, data.restricted) == ("Mine", "CC0", False)


def test_content_digest_follows_texts_and_labels_not_pixels(tmp_path: Path) -> None:
    def digest(row: str) -> str:
        return read_folder(write(tmp_path / "d", f"id,image,report,Edema\n{row}\n")).content_digest

    base = digest("1,a.png,clear,1")
    (tmp_path / "d" / "a.png").write_bytes(b"other pixels")
    assert read_folder(tmp_path / "d").content_digest == base
    assert len({base, digest("2,a.png,clear,1"), digest("1,a.png,Clear,1"), digest("1,a.png,clear,-1")}) == 4


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("", r"manifest\.csv has no column id and no column image"),
        ("id,report\n1,x\n", r"manifest\.csv has no column image"),
        ("id,image\n", r"manifest\.csv lists no study"),
        ("id,image\n1,a.png\n1,b.png\n", r"row 3: id '1' already stands in row 2"),
        ("id,image\n,a.png\n", "row 2: the id is empty"),
        ("id,image\n1,\n", "row 2: the image is empty"),
        ("id,image\n1,../a.png\n", r"row 2: image '\.\./a\.png' leaves the data folder"),
        ("id,image\n1,/etc/passwd\n", r"row 2: image '/etc/passwd' leaves the data folder"),
        ("id,image,Edema\n1,a.png,2\n", "row 2: Edema is '2'"),
        ("id,image,Edema\n1,a.png,yes\n", "row 2: Edema is 'yes'"),
        ("id,image,report\n1,a.png,one, two\n", "row 2: 4 cells under 3 columns"),
        ("id,image\n1\n", "row 2: 1 cells under 2 columns"),
        ("id,image,id\n1,a.png,1\n", "column id stands there twice"),
        ('id,image\n1,"a.png\n', "unexpected end of data"),
        (b"id,image\n1,\xff.png\n", "not UTF-8"),
    ],
)
def test_malformed_manifest(tmp_path: Path, manifest: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_folder(write(tmp_path / "d", manifest))


@pytest.mark.parametrize(
    ("card", "message"),
    [("name = ", r"dataset\.toml is not valid TOML"), ('restricted = "no"', r"dataset\.toml: restricted")],
)
def test_malformed_card(tmp_path: Path, card: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_folder(write(tmp_path / "d", "id,image\n1,a.png\n", card))


def test_a_link_out_of_the_folder_leaves_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", "id,image\n1,out.png\n")
    (tmp_path / "secret.png").write_bytes(b"")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match="leaves the data folder"):
        read_folder(folder)


def test_unknown_data() -> None:
    with pytest.raises(UserError, match="unknown data 'dmeo': did you mean 'demo'"):
        open_data("dmeo", {}, Settings())
    with pytest.raises(UserError, match="data folder nowhere does not exist"):
        open_data("./nowhere", {}, Settings())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize(("name", "studies"), [("open_cxr", 182), ("iu_xray", 2668)])
def test_real_folders(name: str, studies: int) -> None:
    data = read_folder(SHARED / name)
    assert len(data.studies) == studies
    assert all(set(study.reference.labels) <= set(FINDINGS) for study in data.studies)
