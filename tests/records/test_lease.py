"""The lease of a run's folder, held, lost and inherited by real processes."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unix_bench.errors import UserError
from unix_bench.records import lease as module
from unix_bench.records import processes
from unix_bench.records.lease import Lease, read_heartbeat

PATIENCE_S = 60.0  # of tests that wait for what comes at once where the machine is not busy
HOUR_S = 3600
ELSEWHERE = "processes.socket.gethostname = lambda: 'node7'"
NO_LINKS = f"""
def refuse(*arguments): raise OSError({errno.EPERM}, "no links here")
os.link = refuse
"""
OBEY = """
import os, resource, signal, sys, time
from pathlib import Path
from unix_bench.errors import UserError
from unix_bench.records import lease as module
from unix_bench.records import processes
exec(sys.argv[1])
lease = None
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    try:
        if word == "take":
            folder, _, go = rest.partition(" ")
            while go and not os.path.exists(go):
                pass
            lease = module.Lease(Path(folder))
            lease.tell({"done": 37, "total": 71})
            lease.take()
        elif word == "exec":
            exec(rest)
        else:
            getattr(lease, word)()
        print("ok", flush=True)
    except UserError as error:
        print(error, flush=True)
"""


class Other:
    """Another process that does with a lease what it is told.

    Args:
        first: Python that it begins with; `module` is that of the lease.
    """

    def __init__(self, first: str = "") -> None:
        command = [sys.executable, "-c", OBEY, first]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def order(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, words: str) -> str:
        self.order(words)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


Start = Callable[..., Other]


@pytest.fixture
def start() -> Iterator[Start]:
    others: list[Other] = []

    def make(first: str = "") -> Other:
        others.append(Other(first))
        return others[-1]

    yield make
    for other in others:
        other.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "unix-report-1a2b"


@pytest.fixture
def lease(folder: Path) -> Iterator[Lease]:
    made = Lease(folder)
    yield made
    made.release()


def wait_until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "lease.json").read_text())
    return found


def change(folder: Path, **fields: Any) -> None:
    (folder / "lease.json").write_text(json.dumps({**content(folder), **fields}))


def set_age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder / "lease.json", (then, then))


def left_by_a_killed_process(start: Start, folder: Path, first: str = "") -> Other:
    other = start(first)
    assert other.do(f"take {folder}") == "ok"
    other.kill()
    return other


def test_a_second_process_is_told_who_is_at_work(folder: Path, start: Start, lease: Lease) -> None:
    other = start()
    assert other.do(f"take {folder}") == "ok"
    with pytest.raises(
        UserError,
        match=rf"^unix-report-1a2b is being worked on by process {other.pid} on this machine since \d\d:\d\d UTC "
        r"\(37 of 71 done\): wait for it, or stop it; `unix-bench show unix-report-1a2b` tells how far it is$",
    ):
        lease.take()
    lease.release()
    assert other.do("check") == "ok"
    assert other.do("release") == "ok"
    lease.take()


def test_a_day_is_named_where_it_is_another(folder: Path, start: Start, lease: Lease) -> None:
    start().do(f"take {folder}")
    change(folder, began="2024-02-29T23:30:00-01:00", status={})
    with pytest.raises(UserError, match=r"since 2024-03-01 00:30 UTC: wait"):
        lease.take()


def test_the_same_process_does_not_get_it_twice(folder: Path, lease: Lease) -> None:
    lease.take()
    before = content(folder)["nonce"]
    lease.take()
    assert content(folder)["nonce"] == before
    with pytest.raises(UserError, match=rf"process {os.getpid()} on this machine"):
        Lease(folder).take()
    lease.check()


def test_a_killed_process_is_succeeded_at_once_and_silently(
    folder: Path, start: Start, lease: Lease, capfd: pytest.CaptureFixture[str]
) -> None:
    left_by_a_killed_process(start, folder)
    lease.take()
    lease.check()
    assert [path.name for path in folder.iterdir()] == ["lease.json"]
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell of zombies")
def test_a_killed_process_that_nobody_has_asked_for_its_exit_code_is_dead(
    folder: Path, start: Start, lease: Lease
) -> None:
    other = start()
    other.do(f"take {folder}")
    other.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    os.kill(other.pid, 0)
    lease.take()


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the system has no /proc")
def test_a_program_may_have_any_name(folder: Path, start: Start, lease: Lease) -> None:
    other = start("Path('/proc/self/comm').write_text(') Z 1 (')")
    other.do(f"take {folder}")
    with pytest.raises(UserError, match=f"process {other.pid} on this machine"):
        lease.take()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell when a process began")
def test_a_pid_that_another_process_has_now_is_not_the_holder(folder: Path, start: Start, lease: Lease) -> None:
    other = start()
    other.do(f"take {folder}")
    change(folder, started=content(folder)["started"] - 1)
    lease.take()
    assert f"taken over by process {os.getpid()} on this machine" in other.do("check")


def test_without_proc_the_pid_decides(
    folder: Path, start: Start, lease: Lease, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path / "no" / "proc")
    other = start(f"processes.PROC = Path({str(tmp_path / 'no' / 'proc')!r})")
    other.do(f"take {folder}")
    assert content(folder)["started"] is None
    with pytest.raises(UserError, match=f"process {other.pid} on this machine"):
        lease.take()
    other.kill()
    lease.take()


@pytest.mark.parametrize("field", ["host", "boot", "pid_namespace"])
def test_a_pid_means_nothing_on_another_machine_boot_or_container(
    folder: Path, start: Start, lease: Lease, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_killed_process(start, folder)
    change(folder, **{field: "another"})
    monkeypatch.setattr(time, "time", lambda: 0.0)  # the clock of this machine says nothing of that one's
    with pytest.raises(UserError, match=r"last sign of life is \d+ s old: wait for it, or, if it is gone, give"):
        lease.take()


def test_another_machine_is_named_with_when_to_try_again(folder: Path, start: Start, lease: Lease) -> None:
    other = left_by_a_killed_process(start, folder, ELSEWHERE)
    set_age(folder, 20)
    with pytest.raises(UserError, match=rf"process {other.pid} on node7 since .* \(37 of 71 done\); ") as raised:
        lease.take()
    numbers = re.search(r"is (\d+) s old: .* again in (\d+) s$", str(raised.value))
    assert numbers
    assert int(numbers[1]) >= 20
    assert int(numbers[1]) + int(numbers[2]) in (module.STALE_S, module.STALE_S + 1)


@pytest.mark.parametrize(
    ("age", "why"), [(HOUR_S, r"last sign of life 36\d\d s ago"), (-HOUR_S, "a sign of life dated in the future")]
)
def test_another_machine_that_stays_silent_is_succeeded(
    folder: Path,
    start: Start,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    age: float,
    why: str,
) -> None:
    other = left_by_a_killed_process(start, folder, ELSEWHERE)
    set_age(folder, age)
    monkeypatch.setattr(module, "WATCH_S", 0.1)
    lease.take()
    lease.check()
    first, second = capfd.readouterr().err.splitlines()
    assert re.search(rf"process {other.pid} on node7 gave (its )?{why}", first)
    assert second == f"unix-report-1a2b: taken over from process {other.pid} on node7"
    lease.release()
    assert not folder.exists()


def test_another_machine_that_gives_a_sign_while_watched_keeps_it(
    folder: Path, start: Start, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = start(f"{ELSEWHERE}; module.BEAT_S = 0.05")
    other.do(f"take {folder}")
    monkeypatch.setattr(module, "STALE_S", 0.0)
    monkeypatch.setattr(module, "WATCH_S", PATIENCE_S)
    with pytest.raises(UserError, match=f"process {other.pid} on node7 since"):
        lease.take()
    assert other.do("check") == "ok"


def test_a_lease_given_back_while_watched_is_free(
    folder: Path, start: Start, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_killed_process(start, folder, ELSEWHERE)
    monkeypatch.setattr(module, "STALE_S", 0.0)
    monkeypatch.setattr(module, "WATCH_S", PATIENCE_S)
    threading.Timer(0.2, (folder / "lease.json").unlink).start()
    began = time.monotonic()
    lease.take()
    assert time.monotonic() - began < PATIENCE_S


TORN = {
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "no text": lambda whole: b"\xff\xfe",
    "a list": lambda whole: b"[1]",
    "a nonce that leads elsewhere": lambda whole: re.sub(rb'"nonce":"\w+"', b'"nonce":"../../../x"', whole),
    "a host that paints": lambda whole: re.sub(rb'"host":"[^"]+"', rb'"host":"\\u001b[31m"', whole),
    "a group of processes": lambda whole: re.sub(rb'"pid":\d+', b'"pid":-1', whole),
}


@pytest.mark.parametrize("damage", TORN.values(), ids=TORN.keys())
def test_a_damaged_lease_may_be_anybodys_until_it_is_old(
    folder: Path, start: Start, lease: Lease, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    left_by_a_killed_process(start, folder)
    path = folder / "lease.json"
    path.write_bytes(damage(path.read_bytes()))
    assert read_heartbeat(folder) is None
    with pytest.raises(UserError, match=r"an unknown process .* again in \d+ s"):
        lease.take()
    set_age(folder, HOUR_S)
    monkeypatch.setattr(module, "WATCH_S", 0.05)
    lease.take()
    lease.check()
    lease.release()
    assert not folder.exists()
    assert [path.name for path in folder.parent.parent.iterdir()] == ["runs"]


@pytest.mark.parametrize("first", ["", NO_LINKS], ids=["links", "no links"])
@pytest.mark.parametrize("lying", ["dead", "silent", "none"])
def test_one_of_many_gets_it(tmp_path: Path, start: Start, first: str, lying: str) -> None:
    left = tmp_path / "left"
    left_by_a_killed_process(start, left, ELSEWHERE if lying == "silent" else "")
    patience = "module.WATCH_S = 0.02"
    many = [start(f"{patience}\n{first}") for _ in range(6)]
    for number in range(20):
        folder, go = tmp_path / f"run-{number}", tmp_path / f"go-{number}"
        if lying != "none":
            folder.mkdir()
            (folder / "lease.json").write_bytes((left / "lease.json").read_bytes())
            set_age(folder, HOUR_S)
        for one in many:
            one.order(f"take {folder} {go}")
        go.touch()
        answers = [one.answer() for one in many]
        assert answers.count("ok") == 1, answers
        assert all(answer == "ok" or "is being worked on by" in answer for answer in answers)
        winner = many[answers.index("ok")]
        assert content(folder)["pid"] == winner.pid
        assert winner.do("check") == "ok"
        assert winner.do("release") == "ok"
        assert not folder.exists(), list(folder.iterdir())


def test_a_successor_killed_on_the_way_is_succeeded_too(
    folder: Path, start: Start, lease: Lease, capfd: pytest.CaptureFixture[str]
) -> None:
    first = left_by_a_killed_process(start, folder)
    for _ in range(2):
        heir = start("Path.replace = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)")
        assert heir.do(f"take {folder}") == ""
        heir.process.wait()  # its pipe is closed a moment before it is dead
    assert content(folder)["pid"] == first.pid
    found = read_heartbeat(folder)
    assert found is not None
    assert (found.pid, found.state) == (heir.pid, "dead")
    lease.take()
    lease.check()
    assert [path.name for path in folder.iterdir()] == ["lease.json"]
    assert capfd.readouterr().err == ""


def test_killed_at_any_instant_it_can_be_taken_and_leaves_no_trace(folder: Path, start: Start, lease: Lease) -> None:
    chance = random.Random(7)
    for _ in range(8):
        other = start("module.BEAT_S = 0.0005")
        assert other.do(f"take {folder}") == "ok"
        assert other.do("release") == "ok"
        other.order(f"exec while True: lease.take(); time.sleep({chance.random() / 500}); lease.release()")
        time.sleep(chance.random() / 20)
        other.kill()
        lease.take()
        lease.check()
        lease.release()
        assert not folder.exists(), list(folder.iterdir())


def test_a_holder_that_wakes_in_the_middle_of_a_heartbeat_has_lost(
    folder: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, wake = threading.Event(), threading.Event()
    write_bytes = Path.write_bytes
    sleeper = Lease(folder)

    def sleep_first(path: Path, data: Any) -> int:
        if threading.current_thread().name == "lease" and not asleep.is_set():
            asleep.set()  # it has seen that the lease is its own, and now writes it
            wake.wait(PATIENCE_S)
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", sleep_first)
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "node7")
        sleeper.take()
    old = content(folder)["nonce"]
    assert asleep.wait(PATIENCE_S)
    monkeypatch.setattr(module, "STALE_S", 0.0)
    monkeypatch.setattr(module, "WATCH_S", 0.05)
    monkeypatch.setattr(module, "BEAT_S", PATIENCE_S)  # the successor's beats do not mend it meanwhile
    lease.take()
    assert content(folder)["nonce"] != old
    wake.set()
    wait_until(lambda: content(folder)["nonce"] == old)
    lease.check()
    with pytest.raises(UserError, match=rf"taken over by process {os.getpid()} on this machine"):
        sleeper.check()
    sleeper._stop.set()  # its thread waits for long now
    sleeper.release()
    lease.check()
    lease._stop.set()
    lease.release()
    assert not folder.exists()


def test_the_successors_heartbeat_mends_what_a_late_one_overwrote(
    folder: Path, start: Start, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_killed_process(start, folder, ELSEWHERE)
    late = (folder / "lease.json").read_bytes()
    monkeypatch.setattr(module, "STALE_S", 0.0)
    monkeypatch.setattr(module, "WATCH_S", 0.05)
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    lease.take()
    (folder / "late").write_bytes(late)
    (folder / "late").replace(folder / "lease.json")
    lease.check()
    wait_until(lambda: content(folder)["pid"] == os.getpid())
    lease.check()


def test_the_heartbeat_says_what_it_was_told(
    folder: Path, start: Start, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    lease.tell({"done": 1, "total": 9})
    lease.take()
    found = read_heartbeat(folder)
    assert found is not None
    assert (found.host, found.pid, found.state) == (socket.gethostname(), os.getpid(), "alive")
    assert found.status == {"done": 1, "total": 9}
    told: dict[str, Any] = {"done": 2, "ids": ["é \u2028"], "rate": float("nan")}
    lease.tell(told)
    told["ids"].append("changed later")

    def status() -> dict[str, Any]:
        found = read_heartbeat(folder)
        assert found is not None
        return found.status

    wait_until(lambda: status() == {"done": 2, "ids": ["é \u2028"], "rate": None})
    lease.check()


def test_a_heartbeat_that_cannot_be_written_is_made_up_for(folder: Path, start: Start) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, ({}, resource.RLIM_INFINITY))"
    other = start("module.BEAT_S = 0.01")
    assert other.do(f"take {folder}") == "ok"
    assert other.do("exec " + limit.format(0)) == "ok"
    assert other.do("exec lease.tell({'done': 38})") == "ok"
    time.sleep(0.1)
    assert other.do("check") == "ok"
    assert other.do("exec lease.tell({'done': 39}); " + limit.format("resource.RLIM_INFINITY")) == "ok"
    wait_until(lambda: content(folder)["status"] == {"done": 39})
    assert other.do("release") == "ok"
    assert not folder.exists()


def test_states_of_a_heartbeat(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> str | None:
        found = read_heartbeat(folder)
        return None if found is None else found.state

    assert state() is None
    other = start()
    other.do(f"take {folder}")
    set_age(folder, HOUR_S)
    assert state() == "alive", "stopped by Ctrl-Z, it still is"
    other.kill()
    assert state() == "dead"
    (folder / "lease.json").unlink()
    left_by_a_killed_process(start, folder, ELSEWHERE)
    assert state() == "alive", "as far as can be told from here"
    for age in (HOUR_S, -HOUR_S):
        set_age(folder, age)
        found = read_heartbeat(folder)
        assert found is not None
        assert found.state == "silent"
        assert found.host == "node7"
        assert abs(found.age_s - age) < PATIENCE_S
    assert [path.name for path in folder.iterdir()] == ["lease.json"]
    (folder / "lease.json").unlink()
    assert state() is None
    (folder / "lease.json").mkdir()
    assert state() is None
    assert read_heartbeat(folder / "lease.json" / "none") is None
    assert read_heartbeat(Path(__file__)) is None


def test_a_file_that_names_itself_as_its_successor(folder: Path, start: Start, lease: Lease) -> None:
    other = start()
    other.do(f"take {folder}")
    (folder / f"lease.{content(folder)['nonce']}.dead").write_bytes((folder / "lease.json").read_bytes())
    found = read_heartbeat(folder)
    assert found is not None
    assert found.pid == other.pid
    other.kill()
    with pytest.raises(UserError, match="changes hands all the time"):
        lease.take()


def test_a_deleted_lease_is_noticed_and_stays_deleted(
    folder: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    lease.take()
    lease.check()
    with lease._turn:
        (folder / "lease.json").unlink()
    wait_until(lambda: not any(thread.name == "lease" for thread in threading.enumerate()))
    assert list(folder.iterdir()) == []
    for _ in range(2):
        with pytest.raises(UserError, match=r"^unix-report-1a2b is no longer .* as lease\.json was deleted"):
            lease.check()
    with pytest.raises(UserError, match="was deleted"):
        lease.take()
    lease.release()
    lease.take()


def test_what_was_lost_is_not_released(folder: Path, start: Start, lease: Lease) -> None:
    lease.take()
    (folder / "lease.json").unlink()
    other = start()
    assert other.do(f"take {folder}") == "ok"
    with pytest.raises(UserError, match=rf"taken over by process {other.pid} on this machine"):
        lease.check()
    lease.release()
    assert content(folder)["pid"] == other.pid
    assert other.do("check") == "ok"


def test_a_lease_never_taken(folder: Path, lease: Lease) -> None:
    lease.release()
    with pytest.raises(RuntimeError):
        lease.check()
    assert not folder.parent.exists()


def test_release_leaves_what_is_not_its_own(folder: Path, lease: Lease) -> None:
    lease.take()
    assert (folder / "lease.json").is_file()
    (folder / "run.json").write_text("{}")
    assert (folder / "lease.json").stat().st_mode == (folder / "run.json").stat().st_mode
    lease.release()
    lease.release()
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert not any(thread.name == "lease" for thread in threading.enumerate())


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match=r"^cannot write to .*runs/x: Not a directory"):
        Lease(tmp_path / "runs" / "x").take()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
def test_a_folder_of_somebody_elses(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_killed_process(start, folder, ELSEWHERE)
    (folder / "lease.json").chmod(0)
    with pytest.raises(UserError, match="an unknown process"):
        Lease(folder).take()
    folder.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot write to .*: Permission denied"):
        Lease(folder).take()
    folder.chmod(0o700)


@pytest.mark.parametrize("lying", [True, False])
def test_a_full_disk_leaves_things_as_they_were(folder: Path, start: Start, lying: bool) -> None:
    folder.parent.mkdir()
    if lying:
        left_by_a_killed_process(start, folder)
    before = sorted((path, path.is_file() and path.read_bytes()) for path in folder.parent.rglob("*"))
    other = start("resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))")
    assert re.match(rf"cannot write to {folder}: File too large: ", other.do(f"take {folder}"))
    assert sorted((path, path.is_file() and path.read_bytes()) for path in folder.parent.rglob("*")) == before
