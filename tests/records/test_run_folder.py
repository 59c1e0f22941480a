"""Records that survive torn lines, full disks and two readings."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unix_bench.errors import UserError
from unix_bench.records import (
    Counts,
    Results,
    RunFolder,
    RunRecord,
    Sample,
    find_results,
    find_run,
    find_standing,
    write_atomic,
)

TEXT = st.text(max_size=20)


def record(name: str) -> RunRecord:
    return RunRecord(
        id=name, predict_spec={}, demo=True, restricted=False, data_path="demo", pixel_digest="", command=[],
        started="", environment={},
    )  # fmt: skip


def begun(results: Path, name: str) -> RunFolder:
    """A run that nobody works on."""
    with RunFolder(results / name) as run:
        run.begin(record(name))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with begun(tmp_path / "runs", "unix-report-1a2b") as run:
        yield run


def test_samples_come_back_and_the_last_line_of_an_id_counts(run: RunFolder) -> None:
    run.append([Sample(id="a", report="None"), Sample(id="b", error="it broke")])
    run.append([Sample(id="b", report="line\nbreak \u2028 é \U0001f600")])
    assert run.samples() == {
        "a": Sample(id="a", report="None"),
        "b": Sample(id="b", report="line\nbreak \u2028 é \U0001f600"),
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
def test_a_torn_last_line_loses_itself_alone(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    samples = [Sample(id=str(i), report=text) for i, text in enumerate(texts)]
    with RunFolder(tmp_path_factory.mktemp("r") / "x") as run:
        run.append(samples)
        path = run.path / "samples-0.jsonl"
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        assert list(run.samples().values()) == samples[:kept]
        run.append(samples[kept:])
        assert list(run.samples().values()) == samples


def test_a_damaged_middle_line_is_named(run: RunFolder) -> None:
    (run.path / "samples-0.jsonl").write_text('{"id": "a", "report": "x"}\n{"id": \n{"id": "b", "report": "y"}\n')
    with pytest.raises(UserError, match=r"samples-0\.jsonl, line 2 is damaged"):
        run.samples()


class FullDisk(io.FileIO):
    def write(self, data: bytes) -> int:  # type: ignore[override]
        super().write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_no_half_line(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.append([Sample(id="a", report="kept")])
    real = Path.open

    def opened(path: Path, *words: Any, **more: Any) -> Any:
        return FullDisk(path, "a+") if path.name == "samples-0.jsonl" else real(path, *words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(UserError, match=r"cannot write to .*No space left on device"):
            run.append([Sample(id="b", report="lost")])
    assert (run.path / "samples-0.jsonl").read_bytes().count(b"\n") == 1
    assert list(run.samples()) == ["a"]


def test_atomic_writing_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_atomic(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="No space left on device"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        begun(tmp_path / "runs", "x")


def test_equal_images_are_stored_once(run: RunFolder) -> None:
    first, second = run.add_image(b"picture", ".png"), run.add_image(b"picture", ".png")
    assert first == second
    assert [path.read_bytes() for path in (run.path / "images").iterdir()] == [b"picture"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"pict"), lambda path: path.unlink()])
def test_an_image_that_is_damaged_does_not_count_and_can_be_stored_again(
    run: RunFolder, damage: Callable[[Path], None]
) -> None:
    sample = Sample(id="a", image=run.add_image(b"picture", ".png"))
    run.append([sample, Sample(id="b", report="text")])
    assert list(run.whole_samples()) == ["a", "b"]
    damage(run.path / str(sample.image))
    assert list(run.whole_samples()) == ["b"]
    run.add_image(b"picture", ".png")
    assert list(run.whole_samples()) == ["a", "b"]


def test_runs_are_found_by_id_prefix_path_and_protocol(run: RunFolder) -> None:
    results = run.path.parent
    begun(results, "unix-report-9z")
    begun(results, "unix-report")
    for reference in ("unix-report-1a2b", "unix-report-1", str(run.path), str(run.path / "run.json")):
        found, protocol = find_run(reference, results)
        assert (found.path, protocol) == (run.path, None)
    assert find_run("unix-report-1:sound", results)[1] == "sound"
    assert find_run("unix-report", results)[0].id == "unix-report"
    with pytest.raises(UserError, match="fits 2 runs"):
        find_run("unix-report-", results)
    with pytest.raises(UserError, match="no run 'sana'"):
        find_run("sana", results)


def test_a_damaged_record_is_named(run: RunFolder) -> None:
    (run.path / "run.json").write_text('{"schema_version": 2}')
    with pytest.raises(UserError, match=r"run\.json is damaged or of another version"):
        run.record()


@pytest.mark.parametrize("damage", ["", '{"schema_version": 2}', '{"schema_version": 99}'])
def test_a_damaged_scoring_gives_way_to_a_whole_one(
    run: RunFolder, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Results(
        run=run.id, predict_spec={}, score_spec={"protocol": "sound"}, demo=False, restricted=False,
        counts=Counts(total=0, ok=0, failed=0, skipped=0), metrics=[],
    )  # fmt: skip
    broken = run.write_results("sound-2", whole, b"")
    broken.write_text(damage)
    remedy = "upgrade unix-bench" if "99" in damage else "delete that folder and score again"
    for reference in (run.id, f"{run.id}:sound"):
        for find in (find_results, find_standing):
            with pytest.raises(UserError, match=remedy):
                find(reference, run.path.parent)
    path = run.write_results("sound-1", whole, b"")
    for time in (1, 1 << 33):  # older than the other, and newer
        os.utime(broken, (time, time))
        for reference in (run.id, f"{run.id}:sound"):
            assert find_results(reference, run.path.parent) == whole
            assert find_standing(reference, run.path.parent) == path
            assert remedy in capsys.readouterr().err
