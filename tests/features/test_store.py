"""The feature store against the encoder itself: what is kept, what is believed, and what goes when room is short."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unix_bench.data import open_image
from unix_bench.errors import UserError
from unix_bench.features import DemoDino, FeatureStore

GB = 10**9
BYTES = 32 + 4 * DemoDino.dim  # of an entry
WORKER = """
import os, sys, time
from pathlib import Path
from unix_bench.features import DemoDino, FeatureStore
place, ready, images = (Path(name) for name in sys.argv[1:])
encoder = DemoDino()
encoder.batch_size = 2
(ready / str(os.getpid())).touch()
while len(list(ready.iterdir())) < 2:
    time.sleep(0.001)
paths = sorted(images.glob("*.png"))
FeatureStore(place, 10**9).features(paths, encoder, place.parent)
"""


def pixels(seed: int, height: int = 40, width: int = 50, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze()


def saved(folder: Path, count: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(pixels(number)).save(path)
    return paths


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "features"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def direct(paths: list[Path], encoder: DemoDino | None = None) -> np.ndarray:
    return (encoder or DemoDino()).encode([open_image(path) for path in paths]).numpy()


def entries(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def test_images_of_every_kind(tmp_path: Path, place: Path, cache: Path) -> None:
    deep = np.random.default_rng(9).integers(0, 65536, (60, 40)).astype(np.uint16)
    images = {
        "grey.png": Image.fromarray(pixels(0)),
        "rgb.jpg": Image.fromarray(pixels(1, channels=3)),
        "deep.png": Image.fromarray(deep),
        "alpha.png": Image.fromarray(pixels(2, channels=4)),
        "grey-alpha.png": Image.fromarray(pixels(3, channels=2)),
        "palette.png": Image.fromarray(pixels(4, channels=3)).quantize(16),
        "one-bit.png": Image.fromarray(pixels(5) > 128),
        "big.png": Image.fromarray(pixels(6, 1200, 1100)),
    }
    for name, image in images.items():
        image.save(tmp_path / name)
    paths = [tmp_path / name for name in images]
    assert paths[-1].stat().st_size > 1 << 20, "its digest is kept too"
    store, encoder = FeatureStore(place, GB), DemoDino()
    advanced: list[int] = []
    first = store.features(paths, encoder, cache, advanced.append)
    np.testing.assert_allclose(first, direct(paths), rtol=0, atol=1e-5)
    assert first.dtype == np.float32
    assert len({row.tobytes() for row in first}) == sum(advanced) == store.passes == len(paths)
    again = FeatureStore(place, GB)
    np.testing.assert_array_equal(again.features(paths, encoder, cache, advanced.append), first)
    assert again.passes == 0
    assert sum(advanced) == 2 * len(paths)
    assert [path.stat().st_mode & 0o777 for path in entries(place)] == [0o600] * len(paths)
    assert {path.stat().st_size for path in entries(place)} == {BYTES}


def test_order_and_duplicates(tmp_path: Path, place: Path, cache: Path) -> None:
    a, b, c = saved(tmp_path / "images", 3)
    twin, link = tmp_path / "twin.png", tmp_path / "link.png"
    twin.write_bytes(a.read_bytes())
    link.symlink_to(b)
    store, asked = FeatureStore(place, GB), [c, a, None, twin, b, a, link, None, c]
    advanced: list[int] = []
    rows = store.features(asked, DemoDino(), cache, advanced.append)
    black = Image.new("RGB", (299, 299))
    images = [black if path is None else open_image(path) for path in asked]
    np.testing.assert_allclose(rows, DemoDino().encode(images), rtol=0, atol=1e-5)
    assert store.passes == 4
    assert sum(advanced) == len(asked)
    assert store.features([], DemoDino(), cache).shape == (0, DemoDino.dim)
    Image.fromarray(pixels(77)).save(a)  # the name stays, the image is another
    np.testing.assert_allclose(store.features([a, twin], DemoDino(), cache), direct([a, twin]), rtol=0, atol=1e-5)
    assert store.passes == 5


def test_geometries_are_kept_apart(tmp_path: Path, place: Path, cache: Path) -> None:
    paths = saved(tmp_path / "images", 3)
    store, padded, squashed = FeatureStore(place, GB), DemoDino(), DemoDino("squash-299")
    for _ in range(2):
        for encoder in (padded, squashed):
            np.testing.assert_allclose(store.features(paths, encoder, cache), direct(paths, encoder), rtol=0, atol=1e-5)
    assert store.passes == 6
    one, other = (sorted(path for path in folder.rglob("*") if path.is_file()) for folder in place.iterdir())
    for left, right in zip(one, other, strict=True):  # equally long, equally named, each whole in itself
        assert left.name == right.name
        kept = left.read_bytes()
        left.write_bytes(right.read_bytes())
        right.write_bytes(kept)
    for encoder in (padded, squashed):
        np.testing.assert_allclose(store.features(paths, encoder, cache), direct(paths, encoder), rtol=0, atol=1e-5)
    assert store.passes == 12


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


def swap(paths: list[Path]) -> None:
    first, second = paths[0].read_bytes(), paths[1].read_bytes()
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (lambda kept: kept[0].write_bytes(kept[0].read_bytes()[:-4]), 1),
        (lambda kept: kept[0].write_bytes(kept[0].read_bytes()[:20]), 1),
        (lambda kept: kept[0].write_bytes(b""), 1),
        (lambda kept: kept[0].write_bytes(kept[0].read_bytes() + bytes(4)), 1),
        (lambda kept: kept[0].write_bytes(bytes(BYTES)), 1),
        (lambda kept: kept[2].write_bytes(kept[1].read_bytes()), 1),
        (lambda kept: flip(kept[1], -1), 1),
        (lambda kept: flip(kept[1], 0), 1),
        (lambda kept: flip(kept[1], 40), 1),
        (swap, 2),
        (lambda kept: [path.write_bytes(os.urandom(BYTES)) for path in kept], 4),
    ],
    ids=["short", "stub", "empty", "long", "zeros", "copied", "last-bit", "first-bit", "bit", "swapped", "random"],
)
def test_damage(
    damage: object, count: int, tmp_path: Path, place: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = saved(tmp_path / "images", 4)
    before = FeatureStore(place, GB).features(paths, DemoDino(), cache)
    damage(entries(place))
    store = FeatureStore(place, GB)
    np.testing.assert_allclose(store.features(paths * 2, DemoDino(), cache), [*before, *before], rtol=0, atol=1e-5)
    assert store.passes == count
    what = "1 feature in the cache was" if count == 1 else f"{count} features in the cache were"
    are = "is" if count == 1 else "are"
    assert capsys.readouterr().err == f"WARNING: {what} damaged and {are} computed again\n"
    store.features(paths, DemoDino(), cache)
    assert (store.passes, capsys.readouterr().err) == (count, "")


def test_what_is_no_entry_at_all(tmp_path: Path, place: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = saved(tmp_path / "images", 3)
    before = FeatureStore(place, GB).features(paths, DemoDino(), cache)
    kept = entries(place)
    kept[0].unlink()
    kept[0].mkdir()
    kept[1].unlink()
    kept[1].symlink_to(tmp_path / "nowhere")
    store = FeatureStore(place, GB)
    np.testing.assert_allclose(store.features(paths, DemoDino(), cache), before, rtol=0, atol=1e-5)
    assert store.passes == 2
    assert capsys.readouterr().err.startswith(f"WARNING: features cannot be kept in {place} (Is a directory)")
    assert not (tmp_path / "nowhere").exists()


class NotFinite(DemoDino):
    value = float("nan")

    def embed(self, pixels: Tensor) -> Tensor:
        rows = super().embed(pixels).clone()
        rows[-1, 3] = self.value
        return rows


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_features_that_are_not_finite(value: float, tmp_path: Path, place: Path, cache: Path) -> None:
    paths, encoder = saved(tmp_path / "images", 3), NotFinite()
    encoder.value = value
    with pytest.raises(UserError, match=r"002\.png: demodino gives a feature that is not finite"):
        FeatureStore(place, GB).features(paths, encoder, cache)
    with pytest.raises(UserError, match="the black image: demodino"):
        FeatureStore(place, GB).features([None], encoder, cache)
    assert entries(place) == []


@pytest.mark.parametrize("fault", ["missing", "empty", "no image", "truncated", "folder"])
def test_images_that_cannot_be_read(fault: str, tmp_path: Path, place: Path, cache: Path) -> None:
    paths = saved(tmp_path / "images", 3)
    whole = paths[1].read_bytes()
    paths[1].unlink()
    match fault:
        case "empty":
            paths[1].touch()
        case "no image":
            paths[1].write_bytes(b"report")
        case "truncated":
            paths[1].write_bytes(whole[: len(whole) // 2])
        case "folder":
            paths[1].mkdir()
    with pytest.raises(UserError, match=r"001\.png is .*: restore it and score again"):
        FeatureStore(place, GB).features(paths, DemoDino(), cache)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The kernel itself refuses to write more, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("way", ["mkstemp", "replace", "long", "place is a file", "cache is a file", "/proc"])
def test_a_cache_that_takes_nothing(
    way: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = saved(tmp_path / "images", 5)
    Image.fromarray(pixels(6, 1200, 1100)).save(paths[0])
    expected = direct(paths)
    cache.mkdir()
    place = Path("/proc/features") if way == "/proc" else cache / "features"
    if way == "place is a file":
        place.write_text("")
    elif way == "cache is a file":
        cache.rmdir()
        cache.write_text("")
    store, encoder = FeatureStore(place, GB), DemoDino()
    encoder.batch_size = 2
    with monkeypatch.context() as patched, no_file_longer_than(100 if way == "long" else 10**9):
        if way == "mkstemp":
            patched.setattr("unix_bench.features.entries.tempfile.mkstemp", full_disk)
        elif way == "replace":
            patched.setattr(os, "replace", full_disk)
        for _ in range(2):
            np.testing.assert_allclose(store.features(paths, encoder, cache), expected, rtol=0, atol=1e-5)
    said = capsys.readouterr().err
    assert said.startswith(f"WARNING: features cannot be kept in {place} (")
    assert said.count("\n") == 1
    assert entries(place) == []
    assert store.passes == 10
    if way in ("mkstemp", "replace", "long"):  # there is room again
        store.features(paths, encoder, cache)
        store.features(paths, encoder, cache)
        assert store.passes == 15


def used_at(path: Path, second: int) -> None:
    os.utime(path, (second, second))


def test_the_least_recently_used_go_first(tmp_path: Path, place: Path, cache: Path) -> None:
    paths, encoder = saved(tmp_path / "images", 7), DemoDino()
    store = FeatureStore(place, 5 * BYTES)
    kept: dict[Path, Path] = {}
    for path in paths[:5]:
        before = set(entries(place))
        store.features([path], encoder, cache)
        (kept[path],) = set(entries(place)) - before
    for second, path in enumerate((paths[3], paths[0], paths[4], paths[1], paths[2])):
        used_at(kept[path], 1_000_000 + second)
    store.features([paths[3]], encoder, cache)  # the oldest is used, and so the youngest
    assert len(entries(place)) == 5
    store.features(paths[5:], DemoDino("squash-299"), cache)  # of whatever encoder
    assert {path for path in paths[:5] if kept[path].exists()} == {paths[1], paths[2], paths[3]}
    assert len(entries(place)) == 5
    passes = store.passes
    np.testing.assert_allclose(store.features(paths[1:4], encoder, cache), direct(paths[1:4]), rtol=0, atol=1e-5)
    assert store.passes == passes
    np.testing.assert_allclose(FeatureStore(place, 0).features(paths, encoder, cache), direct(paths), rtol=0, atol=1e-5)
    assert entries(place) == []


def test_what_killed_writers_left_goes(tmp_path: Path, place: Path, cache: Path) -> None:
    a, b = saved(tmp_path / "images", 2)
    FeatureStore(place, GB).features([a], DemoDino(), cache)
    old, young = (entries(place)[0].with_name(f"{name}.partial") for name in ("old", "young"))
    old.write_bytes(b"1")
    young.write_bytes(b"1")
    used_at(old, 1_000_000)
    FeatureStore(place, GB).features([b], DemoDino(), cache)
    assert not old.exists()
    assert young.exists(), "its writer may be at work"


class Overlapping(DemoDino):
    """Waits in the network, at its first batch, until an image of the next one is prepared."""

    batch_size = 2
    met: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self._prepared = threading.Semaphore(0)

    def prepare(self, image: Image.Image) -> Tensor:
        self._prepared.release()
        return super().prepare(image)

    def embed(self, pixels: Tensor) -> Tensor:
        if self.met is None:
            self.met = all(self._prepared.acquire(timeout=10) for _ in range(3))
        return super().embed(pixels)


def test_images_are_prepared_while_the_network_works(tmp_path: Path, place: Path, cache: Path) -> None:
    paths, encoder = saved(tmp_path / "images", 4), Overlapping()
    rows = FeatureStore(place, GB).features(paths, encoder, cache)
    assert encoder.met
    np.testing.assert_allclose(rows, direct(paths), rtol=0, atol=1e-5)


def worker(place: Path, ready: Path, images: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, str(place), str(ready), str(images)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_two_processes_write_at_once(
    tmp_path: Path, place: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, ready = saved(tmp_path / "images", 60), tmp_path / "ready"
    ready.mkdir()
    both = [worker(place, ready, paths[0].parent) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2
    assert len(entries(place)) == 60, "nothing but whole entries"
    store = FeatureStore(place, GB)
    np.testing.assert_allclose(store.features(paths, DemoDino(), cache), direct(paths), rtol=0, atol=1e-5)
    assert store.passes == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_killed_writer_leaves_nothing_that_is_wrong(
    tmp_path: Path, place: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, ready = saved(tmp_path / "images", 400), tmp_path / "ready"
    ready.mkdir()
    (ready / "nobody").touch()
    process = worker(place, ready, paths[0].parent)
    while process.poll() is None and len(entries(place)) < 20:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    whole = [path for path in entries(place) if path.suffix != ".partial"]
    store = FeatureStore(place, GB)
    np.testing.assert_allclose(store.features(paths, DemoDino(), cache), direct(paths), rtol=0, atol=1e-5)
    assert store.passes == 400 - len(whole) < 400
    assert capsys.readouterr().err == ""


def test_a_writer_killed_between_writing_and_naming(tmp_path: Path, place: Path, cache: Path) -> None:
    """What it wrote has another name, and is found by nobody."""
    paths = saved(tmp_path / "images", 2)

    class Killed(BaseException):
        """Not an error that anything catches, as a signal is not."""

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            FeatureStore(place, GB).features(paths, DemoDino(), cache)
    (left,) = entries(place)
    assert left.suffix == ".partial"
    assert torch.frombuffer(bytearray(left.read_bytes()[32:]), dtype=torch.float32).shape == (DemoDino.dim,)
    store = FeatureStore(place, GB)
    np.testing.assert_allclose(store.features(paths, DemoDino(), cache), direct(paths), rtol=0, atol=1e-5)
    assert store.passes == 2
