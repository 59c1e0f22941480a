"""Fetching weights, by the real command line from a hub of the test's own that speaks the hub's protocol.

The truth is what that hub serves: its bytes, their sha256, and which of them were asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from unix_bench.cli.keep import _check_weights
from unix_bench.doctor import examine
from unix_bench.errors import AnswerIsNo
from unix_bench.fetch import judges, pieces, released, standing
from unix_bench.registry import models
from unix_bench.settings import load_settings

pytestmark = pytest.mark.slow
REPOSITORY = "somebody/model"
BIG = bytes(range(256)) * 8192  # 2 MB, and one that the digest notes know
FILES = {
    "model.safetensors": BIG,
    "pytorch_model.bin": b"the same once more",
    "config.json": b'{"a": 1}',
    "vae/only.bin": b"no safetensors here",
    ".gitattributes": b"hidden",
}
BESIDE = "3" * 40
BASE = {"model_index.json": b'{"_class_name": "X"}', "unet/model.safetensors": BIG[::-1], "unet/model.bin": b"again"}
VAE = {"config.json": b'{"vae": 1}', "vae.safetensors": b"small", "README.md": b"not wanted"}
PARTS = """
[parts.base]
hub_id = "somebody/base"

[parts."text/vae"]
hub_id = "else/vae"
files = ["*.json", "*.safetensors"]
"""
SECRET = "hf_" + "x" * 30


@dataclass
class Hub:
    """A hub with a repository whose branch `main` is at `head`, and some beside it; large files are LFS files.

    Attributes:
        commits: Files by name, by commit.
        beside: Files by name of other repositories, each of which has one commit, `BESIDE`, and no branch but `main`.
        refusals: (status, X-Error-Code) to answer what begins so with.
        sent: Names of the files whose content was asked for; those of other repositories begin with the repository's.
        untrue: Names -> bytes that are sent in place of those that are stated.
        slow: Names of the files that are sent so slowly that they do not arrive.
        tokens: Every Authorization header that came.
        listed: File -> size that the tree states, where it is not the true one.
    """

    head: str = "1" * 40
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"1" * 40: dict(FILES)})
    beside: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    untrue: dict[str, bytes] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    listed: dict[str, int] = field(default_factory=dict)
    url: str = ""

    def at(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files of a revision."""
        ours = repository == REPOSITORY
        commits = self.commits if ours else {BESIDE: self.beside[repository]}
        commit = {"main": self.head if ours else BESIDE, "v1": "1" * 40}.get(revision, revision)
        return (commit, commits[commit]) if commit in commits else None

    def entry(self, name: str, content: bytes) -> dict[str, Any]:
        size = self.listed.get(name, len(content))
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": blob}
        if len(content) > 1 << 20:
            entry["lfs"] = {"oid": sha256(content), "size": size, "pointerSize": 134}
        return entry


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # clients that were killed
                super().handle()

        def do_HEAD(self) -> None:
            self.answer(head=True)

        def do_GET(self) -> None:
            self.answer(head=False)

        def answer(self, head: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            if REPOSITORY in path:  # not what the library asks on its own account
                hub.tokens.add(self.headers.get("Authorization", ""))
            for start, (status, code) in hub.refusals.items():
                if path.startswith(start):
                    return self.reply(status, b"", {"X-Error-Code": code}, head)
            known = "|".join([REPOSITORY, *hub.beside])
            if match := re.fullmatch(rf"/api/models/({known})/(revision|tree)/([^/]+)", path):
                found = hub.at(match[1], match[3])
                if found is None:
                    return self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"}, head)
                commit, files = found
                stated: Any = {"id": match[1], "sha": commit, "siblings": []}
                if match[2] == "tree":
                    stated = [hub.entry(name, content) for name, content in files.items()]
                return self.reply(200, json.dumps(stated).encode(), {"Content-Type": "application/json"}, head)
            if match := re.fullmatch(rf"/({known})/resolve/([^/]+)/(.+)", path):
                commit, files = hub.at(match[1], match[2]) or ("", {})
                content = files.get(match[3])
                if content is None:
                    return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"}, head)
                entry = hub.entry(match[3], content)
                etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
                name = match[3] if match[1] == REPOSITORY else f"{match[1]}/{match[3]}"
                return self.send_file(name, content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, head)
            return self.reply(404, b"", {"X-Error-Code": "RepoNotFound"}, head)

        def send_file(self, name: str, content: bytes, headers: dict[str, str], head: bool) -> None:
            if not head:
                hub.sent.append(name)
            content = hub.untrue.get(name, content)
            status, start = 200, 0
            if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                status, start = 206, int(asked[1])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.reply(status, content[start:], headers, head, slow=name in hub.slow)

        def reply(self, status: int, body: bytes, headers: dict[str, str], head: bool, slow: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if head:
                return
            half = len(body) // 2 if slow else len(body)
            self.wfile.write(body[:half])
            while slow and hub.slow:
                time.sleep(0.02)
            self.wfile.write(body[half:])

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield hub
    hub.slow.clear()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def card(tmp_path: Path) -> Path:
    """The user's card of a model that the hub has."""
    return write_card()


def write_card(name: str = "mine", hub_id: str = REPOSITORY, weights: str = "Mine", more: str = "") -> Path:
    path = Path("unix-bench/baselines") / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'name = "{name}"\ntitle = "Mine"\nfamily = "unix"\ntasks = ["report"]\nweights = "{weights}"\n'
        f'hub_id = "{hub_id}"\n{more}\n'
    )
    return path


def environment(hub: Hub | None, **more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and not name.lower().endswith("_proxy") and name != "TRANSFORMERS_OFFLINE"
    }
    ours = {
        "HF_HOME": str(Path("hf").absolute()),
        "NO_PROXY": "*",
        "UNIX_BENCH_WEIGHTS": str(Path("weights").absolute()),
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
    }
    return {**kept, **ours, **more}


def bench(hub: Hub | None, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unix_bench", "weights", "fetch", *words]
    done = subprocess.run(command, env=environment(hub, **more), capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def refused(done: subprocess.CompletedProcess[str], *parts: str, code: int = 2) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in last, last


def lock() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path("weights/weights.lock").read_text())
    return read


def test_what_the_hub_serves_lies_there_and_in_the_lock(hub: Hub) -> None:
    done = bench(hub, "mine")
    assert done.returncode == 0, done.stderr
    wanted = {name: FILES[name] for name in ("config.json", "model.safetensors", "vae/only.bin")}
    assert {name: Path("weights/Mine", name).read_bytes() for name in wanted} == wanted
    assert sorted(hub.sent) == sorted(wanted)
    assert lock()["weights"]["mine"] == {
        "folder": "Mine",
        "hub_id": REPOSITORY,
        "revision": "main",
        "patterns": [],
        "commit": hub.head,
        "files": {name: {"sha256": sha256(content), "bytes": len(content)} for name, content in wanted.items()},
    }
    text = Path("weights/weights.lock").read_text()
    again = bench(None, "mine")  # nothing to ask the hub for
    assert again.returncode == 0
    assert "already there" in again.stdout
    assert Path("weights/weights.lock").read_text() == text


def test_the_lock_brings_the_same_commit_elsewhere(hub: Hub) -> None:
    assert bench(hub, "mine").returncode == 0
    hub.commits["2" * 40] = {**FILES, "config.json": b'{"a": 2}'}
    hub.head = "2" * 40
    elsewhere = Path("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "weights.lock").write_bytes(Path("weights/weights.lock").read_bytes())
    assert bench(hub, "mine", UNIX_BENCH_WEIGHTS=str(elsewhere)).returncode == 0
    assert (elsewhere / "Mine/config.json").read_bytes() == FILES["config.json"]
    assert (elsewhere / "weights.lock").read_bytes() == Path("weights/weights.lock").read_bytes()
    write_card(more='revision = "2222222222222222222222222222222222222222"')
    changed = bench(hub, "mine")
    assert "no longer asks" in changed.stdout
    assert Path("weights/Mine/config.json").read_bytes() == b'{"a": 2}'
    assert lock()["weights"]["mine"]["commit"] == "2" * 40


def test_a_lock_that_the_hub_contradicts(hub: Hub) -> None:
    assert bench(hub, "mine").returncode == 0
    path = Path("weights/weights.lock")
    path.write_text(path.read_text().replace(sha256(FILES["config.json"]), "0" * 64))
    refused(bench(hub, "mine"), "no longer holds", "config.json")


@pytest.mark.parametrize("kept_time", [True, False])
def test_a_damaged_file_is_named_and_fetched_again(hub: Hub, kept_time: bool) -> None:
    assert bench(hub, "mine").returncode == 0
    path = Path("weights/Mine/config.json")
    before = path.stat()
    path.write_bytes(b'{"a": 7}')
    if kept_time:  # the library itself would take it for the one it fetched
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    checked = bench(None, "mine", "--check", HF_HUB_OFFLINE="1")
    refused(checked, "mine", code=1)
    assert "config.json is not the one" in checked.stdout
    hub.sent.clear()
    done = bench(hub, "mine")
    assert "config.json is not the one" in done.stdout
    assert hub.sent == ["config.json"]
    assert path.read_bytes() == FILES["config.json"]
    assert bench(None, "mine", "--check").returncode == 0


def test_check_needs_no_network(hub: Hub) -> None:
    refused(bench(None, "mine", "--check"), "not there: mine")
    assert bench(hub, "mine").returncode == 0
    whole = bench(None, "mine", "--check", HF_HUB_OFFLINE="1")
    assert whole.returncode == 0
    assert "whole" in whole.stdout
    Path("weights/Mine/vae/only.bin").unlink()
    Path("weights/Mine/extra.json").write_text("{}")
    with Path("weights/Mine/model.safetensors").open("r+b") as stream:
        stream.write(b"x")
    checked = bench(None, "mine", "--check", HF_HUB_OFFLINE="1")
    refused(checked, "mine", code=1)
    assert "vae/only.bin is missing" in checked.stdout
    assert "model.safetensors is not the one" in checked.stdout
    assert "also there: extra.json" in checked.stdout
    for name in FILES:
        Path("weights/Mine", name).unlink(missing_ok=True)
    refused(bench(None, "mine", "--check"), "not there: mine")


def test_a_killed_fetch_goes_on(hub: Hub) -> None:
    hub.slow = {"model.safetensors"}
    command = [sys.executable, "-m", "unix_bench", "weights", "fetch", "mine"]
    process = subprocess.Popen(command, env=environment(hub), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = Path("weights/Mine")
    deadline = time.monotonic() + 60
    while not (folder / "vae/only.bin").is_file() or "model.safetensors" not in hub.sent:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "model.safetensors").exists()
    assert not Path("weights/weights.lock").exists()
    hub.slow = set()
    hub.sent.clear()
    assert bench(hub, "mine").returncode == 0
    assert "vae/only.bin" not in hub.sent
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert not list(folder.rglob("*.incomplete"))
    assert bench(None, "mine", "--check").returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_ends_soon(hub: Hub, how: signal.Signals) -> None:
    hub.slow = {"model.safetensors"}
    command = [sys.executable, "-m", "unix_bench", "weights", "fetch", "mine"]
    process = subprocess.Popen(command, env=environment(hub), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while "model.safetensors" not in hub.sent:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on from here" in said
    assert "Traceback" not in said


def test_a_big_file_is_read_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench(hub, "mine").returncode == 0
    read: list[str] = []
    digest = hashlib.file_digest

    def watched(stream: Any, *how: Any) -> Any:
        read.append(Path(stream.name).name)
        return digest(stream, *how)

    monkeypatch.setattr("hashlib.file_digest", watched)
    settings = load_settings(weights=Path("weights"))
    assert not standing(released("mine"), settings).differing
    assert read == ["config.json", "only.bin"]


def test_files_put_there_by_hand_are_not_fetched(hub: Hub) -> None:
    folder = Path("weights/Mine")
    (folder / "vae").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(BIG)
    (folder / "vae/only.bin").write_bytes(FILES["vae/only.bin"])
    assert bench(hub, "mine").returncode == 0
    assert hub.sent == ["config.json"]
    assert bench(None, "mine", "--check").returncode == 0


def test_weights_of_ones_own_are_not_replaced(hub: Hub) -> None:
    Path("weights/Mine").mkdir(parents=True)
    Path("weights/Mine/model.safetensors").write_bytes(b"my own")
    refused(bench(hub, "mine"), "model.safetensors", "move it away")
    assert Path("weights/Mine/model.safetensors").read_bytes() == b"my own"
    assert not hub.sent


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_bytes_that_are_not_those_the_hub_states(hub: Hub, name: str) -> None:
    hub.untrue[name] = FILES[name][:-1] + b"!"
    refused(bench(hub, "mine"), name, "was removed")
    assert not Path("weights/Mine", name).exists()
    assert not Path("weights/weights.lock").exists()


@pytest.mark.parametrize(
    ("start", "status", "code", "said"),
    [
        (f"/{REPOSITORY}", 401, "GatedRepo", ["is gated", f"/{REPOSITORY}", "HF_TOKEN"]),
        (f"/{REPOSITORY}", 403, "GatedRepo", ["is gated", f"/{REPOSITORY}", "HF_TOKEN"]),
        ("/api", 401, "RepoNotFound", ["no repository", "hub_id", "HF_TOKEN"]),
        ("/api", 404, "RepoNotFound", ["no repository", "hub_id"]),
        ("/api", 403, "", ["refuses", "HF_TOKEN"]),
        ("/api", 418, "", ["answers 418", "HF_ENDPOINT"]),
        ("/api", 500, "", ["answers 500", "goes on"]),
    ],
)
def test_what_the_hub_refuses(hub: Hub, start: str, status: int, code: str, said: list[str]) -> None:
    hub.refusals[start] = (status, code)
    refused(bench(hub, "mine"), *said)
    assert not Path("weights/weights.lock").exists()


def test_other_bad_input(hub: Hub) -> None:
    refused(bench(hub, "mien"), "unknown model or judge 'mien'", "'mine'")
    refused(bench(hub, "rad-din"), "'rad-dino'")
    for check in ((), ("--check",)):
        refused(bench(hub, "real", *check), "'real' has no weights to fetch: its card names neither a folder nor")
    refused(bench(hub, "mine", HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE=1 is set", "copy")
    refused(bench(hub, "mine", UNIX_BENCH_WEIGHTS=""), "UNIX_BENCH_WEIGHTS")
    refused(bench(None, "mine"), "the connection", "failed", "machine with internet")
    write_card(more='revision = "v9"')
    refused(bench(hub, "mine"), "no revision 'v9'")
    write_card(more='files = ["*.gguf"]')
    refused(bench(hub, "mine"), "none of the files", "*.gguf")
    write_card(hub_id="")
    refused(bench(hub, "mine"), "no repository of the hub")
    write_card(hub_id="not a name")
    refused(bench(hub, "mine"), "no name of a repository")
    for place in ("../outside", "/outside", "."):
        write_card(weights=place)
        refused(bench(hub, "mine"), "below the weights folder")
    assert not hub.sent
    assert not Path("outside").exists()


def test_a_repository_whose_names_leave_the_folder(hub: Hub) -> None:
    hub.commits[hub.head]["../../escaped.json"] = b"{}"
    refused(bench(hub, "mine"), "../../escaped.json", "leaves its folder")
    assert not hub.sent


def test_no_room(hub: Hub) -> None:
    hub.listed["model.safetensors"] = 10**18
    refused(bench(hub, "mine"), "no room", "1000000000000.0 MB are to be fetched")
    assert not hub.sent


def test_a_damaged_lock(hub: Hub) -> None:
    assert bench(hub, "mine").returncode == 0
    path = Path("weights/weights.lock")
    whole = path.read_text()
    for damaged in ("{", whole.replace('"bytes": 8', '"bytes": -8'), whole.replace('"Mine"', '"../Mine"')):
        path.write_text(damaged)
        refused(bench(hub, "mine"), "weights.lock", "restore")
        assert path.read_text() == damaged


def test_stand_ins_are_not_mixed_with_real_ones(hub: Hub) -> None:
    Path("weights/Mine").mkdir(parents=True)
    Path("weights/Mine/config.json").write_text('{"unix_bench_demo": "unix-demo"}')
    refused(bench(hub, "mine"), "stand-in", "unix-demo")
    assert not hub.sent


def test_two_cards_do_not_share_a_folder(hub: Hub) -> None:
    assert bench(hub, "mine").returncode == 0
    write_card("other", hub_id="somebody/else")
    refused(bench(hub, "other"), "folder of its own")


@pytest.fixture
def parts(hub: Hub) -> Hub:
    """The card has two parts."""
    hub.beside = {"somebody/base": BASE, "else/vae": VAE}
    write_card(more=PARTS)
    return hub


PARTS_WANTED = {
    "base": ("somebody/base", {name: BASE[name] for name in ("model_index.json", "unet/model.safetensors")}),
    "text/vae": ("else/vae", {name: VAE[name] for name in ("config.json", "vae.safetensors")}),
}


def test_parts_come_with_their_card(parts: Hub) -> None:
    done = bench(parts, "mine")
    assert done.returncode == 0, done.stderr
    entries = lock()["weights"]
    assert set(entries) == {"mine", "mine/base", "mine/text/vae"}
    for key, (repository, files) in PARTS_WANTED.items():
        folder = Path("weights/Mine", key)
        there = [path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts]
        assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in there} == files
        entry = entries[f"mine/{key}"]
        assert (entry["folder"], entry["hub_id"], entry["commit"]) == (f"Mine/{key}", repository, BESIDE)
        assert entry["files"] == {name: {"sha256": sha256(x), "bytes": len(x)} for name, x in files.items()}
    assert entries["mine"]["commit"] == parts.head
    again = bench(None, "mine")  # nothing to ask the hub for
    assert again.returncode == 0
    assert [line.split(",")[0] for line in again.stdout.splitlines()] == [
        f"{name}: already there" for name in ("mine", "mine/base", "mine/text/vae")
    ]
    whole = bench(None, "--check", "mine")
    assert whole.returncode == 0
    assert whole.stdout == (
        f"mine: whole, as fetched from {REPOSITORY} at {parts.head}, somebody/base at {BESIDE}, else/vae at {BESIDE}\n"
    )
    settings = load_settings(weights=Path("weights"))
    [line] = [line for line in examine(settings) if line.subject == "weights of Mine"]
    assert all(f"weights.lock{of}" in line.text for of in (": 11111111", " of base/: 33333333", " of text/vae/: 3333"))


def test_a_damaged_part_is_named_and_fetched_again(parts: Hub) -> None:
    assert bench(parts, "mine").returncode == 0
    Path("weights/Mine/base/model_index.json").write_bytes(b'{"_class_name": "Y"}')
    Path("weights/Mine/text/vae/vae.safetensors").unlink()
    Path("weights/Mine/base/extra.json").write_text("{}")
    checked = bench(None, "--check", "mine")
    refused(checked, "mine", code=1)
    assert "mine: base/model_index.json is not the one" in checked.stdout
    assert "mine: text/vae/vae.safetensors is missing" in checked.stdout
    assert "also there: base/extra.json" in checked.stdout
    settings = load_settings(weights=Path("weights"))
    with pytest.raises(AnswerIsNo, match=r"^not what weights\.lock says: mine;") as caught:
        _check_weights([released("mine")], settings)
    assert caught.type is AnswerIsNo  # no run is over
    [line] = [line for line in examine(settings) if line.subject == "weights of Mine"]
    assert not line.fine
    assert "not as fetched: text/vae/vae.safetensors is missing; `unix-bench weights fetch mine`" in line.text
    parts.sent.clear()
    assert bench(parts, "mine").returncode == 0
    assert sorted(parts.sent) == ["else/vae/vae.safetensors", "somebody/base/model_index.json"]
    assert bench(None, "--check", "mine").returncode == 0


def test_a_part_that_its_card_got_later(parts: Hub) -> None:
    write_card()
    assert bench(parts, "mine").returncode == 0
    write_card(more=PARTS)
    checked = bench(None, "--check", "mine")
    refused(checked, "mine", code=1)
    assert "mine: base is not in weights.lock" in checked.stdout
    parts.sent.clear()
    assert bench(parts, "mine").returncode == 0
    assert {name.rpartition("/")[0] for name in parts.sent} == {"somebody/base", "somebody/base/unet", "else/vae"}
    assert bench(None, "--check", "mine").returncode == 0


def test_the_lock_pins_parts_elsewhere(parts: Hub) -> None:
    assert bench(parts, "mine").returncode == 0
    parts.beside["else/vae"] = {**VAE, "config.json": b'{"vae": 2}'}
    Path("elsewhere").mkdir()
    Path("elsewhere/weights.lock").write_bytes(Path("weights/weights.lock").read_bytes())
    refused(
        bench(parts, "mine", UNIX_BENCH_WEIGHTS="elsewhere"), "mine/text/vae: else/vae no longer holds", "config.json"
    )
    assert Path("elsewhere/Mine/base/model_index.json").read_bytes() == BASE["model_index.json"]


def test_a_card_of_parts_alone(parts: Hub) -> None:
    write_card(hub_id="", more=PARTS)
    refused(bench(None, "--check", "mine"), "not there: mine")
    done = bench(parts, "mine")
    assert done.returncode == 0, done.stderr
    assert "names no repository" in done.stdout.splitlines()[-1]
    assert set(lock()["weights"]) == {"mine/base", "mine/text/vae"}
    Path("weights/Mine/lora.safetensors").write_bytes(b"put there by hand")
    checked = bench(None, "--check", "mine")
    assert checked.returncode == 0, checked.stdout
    assert "also there: lora.safetensors" in checked.stdout
    Path("weights/Mine/base/unet/model.safetensors").unlink()
    refused(bench(None, "--check", "mine"), "mine", code=1)


def test_a_killed_fetch_of_a_part_goes_on(parts: Hub) -> None:
    parts.slow = {"somebody/base/unet/model.safetensors"}
    command = [sys.executable, "-m", "unix_bench", "weights", "fetch", "mine"]
    process = subprocess.Popen(command, env=environment(parts), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = Path("weights/Mine/base")
    deadline = time.monotonic() + 60
    while not (folder / "model_index.json").is_file() or not parts.slow <= set(parts.sent):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert set(lock()["weights"]) == {"mine"}
    parts.slow = set()
    parts.sent.clear()
    assert bench(parts, "mine").returncode == 0
    assert sorted(parts.sent) == [
        "else/vae/config.json",
        "else/vae/vae.safetensors",
        "somebody/base/unet/model.safetensors",
    ]
    assert not list(folder.rglob("*.incomplete"))


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", ["is gated", "/somebody/base", "HF_TOKEN"]),
        (404, "RepoNotFound", ["no repository", "hub_id"]),
    ],
)
def test_what_the_hub_refuses_of_a_part(parts: Hub, status: int, code: str, said: list[str]) -> None:
    parts.refusals["/api/models/somebody/base"] = (status, code)
    refused(bench(parts, "mine"), "mine/base: ", *said)
    assert set(lock()["weights"]) == {"mine"}
    parts.refusals.clear()
    write_card(more=PARTS.replace('base"', 'base"\nrevision = "v9"'))
    refused(bench(parts, "mine"), "mine/base: ", "no revision 'v9'")


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../Other", "/outside", "a/../../b", ".hidden", "a//b", "base/", "a\\\\b"]
)
def test_a_part_that_leaves_its_folder(parts: Hub, key: str) -> None:
    write_card(more=f'[parts."{key}"]\nhub_id = "somebody/base"')
    refused(bench(parts, "mine"), "'mine'", "part", "folder below 'Mine'")
    refused(bench(None, "--check", "mine"), "not there: mine")
    settings = load_settings(weights=Path("weights"))
    [line] = [line for line in examine(settings) if line.subject == "weights of Mine"]
    assert not line.fine
    assert "folder below 'Mine'" in line.text
    assert not parts.sent
    assert not Path("weights").exists()


def test_other_bad_parts(parts: Hub) -> None:
    write_card(more='[parts.base]\nhub_id = ""')
    refused(bench(parts, "mine"), "part 'base' names no repository")
    write_card(more=PARTS)
    Path("weights/Mine/text/vae").mkdir(parents=True)
    Path("weights/Mine/text/vae/config.json").write_text('{"unix_bench_demo": "vae-demo"}')
    refused(bench(parts, "mine"), "Mine/text/vae holds the stand-in weights vae-demo")
    assert not parts.sent
    Path("weights/Mine/text/vae/config.json").write_text("{}")
    refused(bench(parts, "mine"), "mine/text/vae: ", "text/vae/config.json is not the hub's", "move it away")


def test_a_repository_keeps_out_of_the_folders_of_parts(parts: Hub) -> None:
    parts.commits[parts.head]["base/model_index.json"] = b"of the card's own repository"
    parts.beside["somebody/base"] = {**BASE, "vae/config.json": b"of the base"}
    write_card(more=PARTS.replace("text/vae", "base/vae"))
    assert bench(parts, "mine").returncode == 0
    assert Path("weights/Mine/base/model_index.json").read_bytes() == BASE["model_index.json"]
    assert Path("weights/Mine/base/vae/config.json").read_bytes() == VAE["config.json"]
    assert bench(None, "--check", "mine").returncode == 0


def test_two_at_once(hub: Hub) -> None:
    write_card("other", weights="Other")
    command = [sys.executable, "-m", "unix_bench", "weights", "fetch"]
    both = [subprocess.Popen([*command, name], env=environment(hub)) for name in ("mine", "other")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert set(lock()["weights"]) == {"mine", "other"}
    assert bench(None, "--check", "mine", "other").returncode == 0


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub) -> None:
    done = bench(hub, "mine", HF_TOKEN=SECRET)
    assert hub.tokens == {f"Bearer {SECRET}"}
    assert SECRET not in done.stdout + done.stderr
    for path in Path("weights").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_other_commands_keep_the_hub_out(hub: Hub) -> None:
    asked = (
        "import click, os; from unix_bench.cli import main\n"
        "@main.command('ask')\n"
        "def ask():\n"
        "    from huggingface_hub import constants; print(constants.HF_HUB_OFFLINE)\n"
        "main(['ask'])"
    )
    done = subprocess.run([sys.executable, "-c", asked], env=environment(hub), capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_names_in_the_docs_are_known() -> None:
    root = Path(__file__).parents[1]
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    found = [line for page in pages for line in re.findall(r"weights fetch ([^`#\n]*)", page.read_text())]
    names = {word for line in found for word in line.split() if re.fullmatch(r"[a-z][a-z-]*", word)}
    assert names
    assert names <= {*models(), *judges()}


def test_cards_of_judges_are_whole() -> None:
    cards = judges()
    assert {"chexbert", "radgraph", "rad-dino", "biovil-t", "medsiglip", "bert-base-uncased"} <= set(cards)
    assert all(card.hub_id and card.files and card.verified for card in cards.values())
    assert not set(cards) & set(models())


def test_parts_of_bundled_cards_are_whole() -> None:
    cards = {name: card for name, card in models().items() if card.parts}
    assert len(cards) >= 9
    for name, card in cards.items():
        found = pieces(card)  # raises where a part's folder or repository is none
        assert set(found) == {*card.parts, *([""] if card.hub_id else [])}
        for key, piece in found.items():
            assert re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", piece.hub_id), (name, key)
            assert piece.weights == "/".join([card.weights, *([key] if key else [])])
            assert piece.files == [pattern for pattern in dict.fromkeys(piece.files) if pattern]
        folders = [piece.weights.casefold() for piece in found.values()]
        assert len(set(folders)) == len(folders)
