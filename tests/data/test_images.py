"""Images of every kind a hospital or a download may leave in the folder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unix_bench.data import Inputs, Reference, Study, UnreadableImage, check_images, open_image

RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))


def saved(image: Image.Image, path: Path, **how: object) -> Path:
    image.save(path, **how)
    return path


def test_grey_and_colour_come_as_they_are(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    assert np.array_equal(np.asarray(open_image(saved(grey, tmp_path / "l.png"))), RAMP)
    colour = open_image(saved(grey.convert("RGB"), tmp_path / "rgb.png"))
    assert colour.mode == "RGB"


def test_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = (RAMP.astype(np.uint16) * 257).astype(np.uint16)
    opened = open_image(saved(Image.fromarray(values), tmp_path / "16.png"))
    assert opened.mode == "L"
    assert np.array_equal(np.asarray(opened), RAMP)
    opened = open_image(saved(Image.fromarray(values), tmp_path / "16.tif"))
    assert np.array_equal(np.asarray(opened), RAMP)


def test_transparency_lies_over_black(tmp_path: Path) -> None:
    opaque = Image.fromarray(RAMP).convert("LA")
    assert np.array_equal(np.asarray(open_image(saved(opaque, tmp_path / "la.png"))), RAMP)
    clear = Image.merge("LA", [Image.new("L", (8, 8), 200), Image.new("L", (8, 8), 0)])
    assert open_image(saved(clear, tmp_path / "clear.png")).getextrema() == (0, 0)
    half = Image.merge("RGBA", [Image.new("L", (8, 8), 200)] * 3 + [Image.new("L", (8, 8), 128)])
    opened = open_image(saved(half, tmp_path / "half.png"))
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == pytest.approx((100, 100, 100), abs=1)


def test_a_transparent_grey_level_lies_over_black(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 200], [7, 90]], dtype=np.uint8))
    opened = open_image(saved(grey, tmp_path / "key.png", transparency=200))
    assert np.asarray(opened).tolist() == [[0, 0], [7, 90]]
    assert "transparency" not in opened.info


def test_cmyk_palette_and_bilevel(tmp_path: Path) -> None:
    cmyk = open_image(saved(Image.new("CMYK", (8, 8), (0, 0, 0, 128)), tmp_path / "c.jpg", quality=100))
    assert cmyk.mode == "RGB"
    assert cmyk.getpixel((3, 3)) == pytest.approx((127, 127, 127), abs=3)
    assert open_image(saved(Image.fromarray(RAMP).convert("P"), tmp_path / "p.png")).mode == "RGB"
    bilevel = open_image(saved(Image.new("1", (8, 8), 1), tmp_path / "1.png"))
    assert (bilevel.mode, bilevel.getextrema()) == ("L", (255, 255))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", r"empty\.png is empty \(0 bytes\)"),
        ("text.png", b"this is no image", r"text\.png is not an image"),
        ("bomb.png", png_header(60_000, 60_000), r"bomb\.png has more than \d+ million pixels"),
        ("big.png", png_header(10_000, 9_000), r"big\.png has more than \d+ million pixels"),
        ("short.png", png_header(64, 64), r"short\.png is damaged or truncated"),
    ],
)
def test_unreadable(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImage, match=message):
        open_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(64, 64), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"x.{suffix}")
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(UnreadableImage, match="damaged or truncated"):
        open_image(path)
    with pytest.raises(UnreadableImage, match="is missing"):
        open_image(tmp_path / "nowhere.png")


def test_checking_finds_the_bad_ones_and_remembers_the_good(tmp_path: Path) -> None:
    studies = []
    for name in ("a", "b", "c"):
        path = saved(Image.fromarray(RAMP), tmp_path / f"{name}.png")
        studies.append(Study(Inputs(name, path), Reference(path)))
    first = check_images(studies, tmp_path / "cache")
    assert first.unreadable == {}
    assert check_images(studies, tmp_path / "cache") == first
    (tmp_path / "b.png").write_bytes(b"damaged since")
    (tmp_path / "c.png").unlink()
    again = check_images(studies, tmp_path / "cache")
    assert list(again.unreadable) == ["b", "c"]
    assert again.pixel_digest != first.pixel_digest
