"""DICOM files as a viewer would show them: real ones, and one of each kind made here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from unix_bench.data import UnreadableImage, open_image
from unix_bench.data.dicom import window

SHARED = Path(__file__).parents[3] / "shared" / "data" / "open_cxr"
RAMP = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (64, 1))


def write(path: Path, stored: np.ndarray, bits: int = 12, **elements: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return dataset


def shown(path: Path) -> np.ndarray:
    image = open_image(path)
    assert image.mode == "L"
    return np.asarray(image).astype(int)


def test_the_window_is_that_of_the_standard() -> None:
    """Against the standard's own pseudo-code, value by value (PS3.3 C.11.2.1.2.1)."""
    values = np.arange(-50.0, 4200.0, 7.0)
    for centre, width in ((2048.0, 4096.0), (600.0, 800.0), (100.0, 2.0), (100.0, 1.0)):
        for value, ours in zip(values, window(values, centre, width), strict=True):
            if value <= centre - 0.5 - (width - 1) / 2:
                expected = 0.0
            elif value > centre - 0.5 + (width - 1) / 2:
                expected = 1.0
            else:
                expected = (value - (centre - 0.5)) / (width - 1) + 0.5
            assert ours == pytest.approx(expected)


def test_windows_rescale_and_inversion(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    write(path, RAMP, WindowCenter=2048, WindowWidth=4096)
    assert np.abs(shown(path) - 255.0 * RAMP / 4095).max() <= 0.5
    write(path, RAMP, WindowCenter=[2048, 100], WindowWidth=[4096, 10], PhotometricInterpretation="MONOCHROME1")
    assert np.abs(shown(path) - (255 - 255.0 * RAMP / 4095)).max() <= 0.5
    write(path, RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=3095.5, WindowWidth=8191)
    assert np.abs(shown(path) - (RAMP * 2.0) * 255 / 8190).max() <= 1.0
    write(path, RAMP, WindowCenter=2048, WindowWidth=800, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP - 2048.0) / 800))
    assert np.abs(shown(path) - expected).max() <= 0.5


def test_without_a_window_the_range_is_the_picture_s(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    write(path, (RAMP // 4 + 200).astype(np.uint16))
    assert (shown(path).min(), shown(path).max()) == (0, 255)
    write(path, (RAMP.astype(np.int16) - 2000), bits=16)
    assert (shown(path).min(), shown(path).max()) == (0, 255)
    dark = np.tile(np.arange(100, dtype=np.uint8), (8, 1))
    write(path, dark, bits=8)
    assert np.array_equal(shown(path), dark)
    write(path, np.full((4, 4), 7, dtype=np.uint16))
    assert shown(path).max() == 0


def test_voi_lut(tmp_path: Path) -> None:
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [4096, 0, 16]
    lut.add_new("LUTData", "US", [65535 - 16 * value for value in range(4096)])
    path = tmp_path / "x.dcm"
    write(path, RAMP, VOILUTSequence=[lut], WindowCenter=1, WindowWidth=1)
    assert np.abs(shown(path) - (65535.0 - 16.0 * RAMP) / 257).max() <= 0.5


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(tmp_path: Path, syntax: str) -> None:
    dataset = write(tmp_path / "plain.dcm", RAMP, WindowCenter=2048, WindowWidth=4096)
    dataset.compress(syntax)
    dataset.save_as(tmp_path / "packed.dcm")
    assert np.array_equal(shown(tmp_path / "packed.dcm"), shown(tmp_path / "plain.dcm"))


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.dcm"
    dataset = write(path, RAMP)
    whole = path.read_bytes()
    for content, message in (
        (b"", "not a whole DICOM file"),
        (b"text", "not a whole"),
        (whole[:-500], "cannot be decoded"),
    ):
        path.write_bytes(content)
        with pytest.raises(UnreadableImage, match=rf"x\.dcm: .*{message}"):
            open_image(path)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(UnreadableImage, match="pylibjpeg-libjpeg"):
        open_image(path)
    write(path, RAMP, NumberOfFrames=2, PixelData=RAMP.tobytes() * 2)
    with pytest.raises(UnreadableImage, match="it holds 2 pictures"):
        open_image(path)
    write(path, RAMP, PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(UnreadableImage, match="PALETTE COLOR is not supported"):
        open_image(path)
    write(path, RAMP, WindowCenter=5, WindowWidth=0, VOILUTFunction="LINEAR_EXACT")
    with pytest.raises(UnreadableImage, match="impossible width 0"):
        open_image(path)
    with pytest.raises(UnreadableImage, match="is missing"):
        open_image(tmp_path / "nowhere.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match=r"pip install 'unix-bench\[dicom\]'"):
        open_image(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize("path", sorted((SHARED / "dicom").glob("hannover_*.dcm")), ids=lambda path: path.stem)
def test_real_files_equal_their_originals(path: Path) -> None:
    """The files were made from 8-bit PNGs, of which a JPEG copy is at hand: equal but for its noise."""
    ours = shown(path)
    name = path.stem.split("_")[1]
    copy = np.asarray(Image.open(SHARED / "images" / f"hannover_{name}.jpg").convert("L")).astype(int)
    assert abs((ours - copy).mean()) < 0.05
    assert np.abs(ours - copy).mean() < 4
    stored = pydicom.dcmread(path).pixel_array.astype(int)
    levels = stored // 16 if stored.max() > 255 else stored  # twelve bits were made of eight
    original = 255 - levels if "_m1_" in path.name else levels
    assert np.abs(ours - original).max() <= 1
