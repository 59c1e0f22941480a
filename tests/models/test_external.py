"""Models behind a server of their own: the exchange, what goes wrong in it, and that nothing is left of it."""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bench import bench, refused
from PIL import Image

from unix_bench import registry
from unix_bench.model_folders import demo_weights
from unix_bench.models import ImageRequest, ReportRequest
from unix_bench.models.external import TEMPLATE, ExternalModel, ServerError, introduce, server
from unix_bench.models.external.command import expand
from unix_bench.models.external.server import Refused
from unix_bench.readiness import Readiness, readiness
from unix_bench.settings import Settings
from unix_bench.subprocesses import Program, ProgramError

ROOT = Path(__file__).parents[2]
OPEN_CXR = ROOT.parent / "shared" / "data" / "open_cxr"
CARDS = sorted(name for name, card in registry.models().items() if card.family == "external")
NAMED = ["bagel", "chexagent-2", "cxr-llava", "healthgpt-m3", "huatuogpt-vision", "maira-2", "promptmrg", "radialog",
         "rgrg", "unimedvl"]  # fmt: skip
DATA = ["demo", pytest.param(OPEN_CXR, marks=pytest.mark.skipif(not OPEN_CXR.is_dir(), reason="no open_cxr here"))]
CARD = """
name = "mine"
title = "Mine"
family = "external"
command = ["{python}", "{weights}/server.py"]
tasks = ["report", "generation"]
weights = "mine"
[settings.generation]
size = 8
"""
HELLO = {"protocol": 1, "name": "mine", "version": "1", "weights": "w", "tasks": {"report": [], "generation": ["size"]}}
TRY = ("run", "--model", "mine", "--task", "report", "--limit", 4, "--allow-external", "--quiet", "--weights")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's card, and the folder of its server: the template under the card's name."""
    cards = Path("unix-bench/baselines")
    cards.mkdir(parents=True)
    (cards / "mine.toml").write_text(CARD)
    return write_server(tmp_path / "mine")


def write_server(folder: Path, **parts: str) -> Path:
    """The template, named `mine`, with other bodies of its model's methods, and those that do a batch."""
    text = TEMPLATE.read_text().replace('NAME = "example"', 'NAME = "mine"')
    for name, body in parts.items():
        if name.endswith("_batch"):
            text = text.replace(
                "    def draw(self, item:", f"    def {name}(self, items):\n        {body}\n\n    def draw(self, item:"
            )
            continue
        head = re.search(rf'    def {name}\(self.*?""".*?"""\n', text, flags=re.S)
        assert head is not None
        text = text[: head.end()] + "".join(f"        {line}\n" for line in body.splitlines()) + text[head.end() :]
    folder.mkdir(exist_ok=True)
    (folder / "server.py").write_text(text)
    return folder


def wrong_rows(folder: Path, column: str = "text", code: int = 1) -> list[str]:
    """What the conformance test finds wrong."""
    done = bench("weights", "check", "mine", "--weights", folder, "--allow-external", "--json")
    assert done.exit_code == code, done.output
    return [row[column] for row in json.loads(done.stdout) if row[""] != "ok"]


def says(folder: Path, *lines: str | bytes, then: str = "") -> Path:
    """A server that says these lines whatever it is asked, one a question."""
    whole = [line.encode() if isinstance(line, str) else line for line in lines]
    (folder / "server.py").write_text(
        f"import sys\nfor line in {whole!r}:\n    sys.stdin.readline()\n    sys.stdout.buffer.write(line)\n"
        f"    sys.stdout.flush()\n{then}\n"
    )
    return folder


def answer(number: int, content: Mapping[str, Any]) -> str:
    return json.dumps({"number": number, **content}) + "\n"


def load(folder: Path, task: str = "report") -> ExternalModel:
    settings = {"task": task, **registry.model("mine").settings.get(task, {})}
    return ExternalModel.load(folder, registry.model("mine"), settings, "float32", "cpu")


def reports(*names: str, size: int = 8) -> list[ReportRequest]:
    return [
        ReportRequest(name, Image.new("L", (size, size + index), 9), "Describe.") for index, name in enumerate(names)
    ]


def run(*words: object) -> tuple[dict[str, Any], bytes]:
    """Samples by id, and the bytes of results.json."""
    done = bench("run", "--limit", 4, "--allow-external", "--quiet", "--json", *words)
    assert done.exit_code == 0, done.output
    name = json.loads(done.stdout)["run"]
    folder = Path(str(words[words.index("--results") + 1])) / name
    lines = [json.loads(line) for file in folder.glob("samples*.jsonl") for line in file.read_text().splitlines()]
    (results,) = folder.glob("scores/*/results.json")
    return {line["id"]: (line.get("report"), line.get("image")) for line in lines}, results.read_bytes()


def gone(pid: int) -> bool:
    """Is a process no more, or a zombie that nobody fetched?"""
    for _ in range(250):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


# The template, the cards


def test_the_template_is_old_python_of_the_standard_library_alone() -> None:
    tree = ast.parse(TEMPLATE.read_text(), feature_version=(3, 6))
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= sys.stdlib_module_names
    assert "__future__" not in modules


def test_the_template_is_written_out_and_overwrites_nothing() -> None:
    assert bench("external", "template").stdout == TEMPLATE.read_text()
    assert bench("external", "template", "--out", "server.py").exit_code == 0
    assert Path("server.py").read_text() == TEMPLATE.read_text()
    refused(bench("external", "template", "--out", "server.py"), "server.py cannot be written")


def test_the_cards_are_there() -> None:
    assert set(NAMED) <= set(CARDS)


@pytest.mark.parametrize("name", NAMED)
def test_a_card_has_a_stand_in_that_takes_its_settings(name: str, tmp_path: Path) -> None:
    card = registry.model(name)
    folder = demo_weights(card, tmp_path / "demo")
    again = demo_weights(card, tmp_path / "again")
    assert (folder / "server.py").read_bytes() == (again / "server.py").read_bytes()
    for task in card.tasks:
        digest, settings = introduce(card, folder, task, card.settings[task])
        assert settings == {"task": task, **card.settings[task]}
        assert introduce(card, again, task, card.settings[task])[0] == digest, "where it lies does not matter"
    (folder / "server.py").write_text((folder / "server.py").read_text() + "\n# changed\n")
    assert introduce(card, folder, task, card.settings[task])[0] != digest


# Runs


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("model", "task"), [("chexagent-2", "report"), ("bagel", "generation")])
def test_a_run_is_the_same_twice_and_with_other_batches(model: str, task: str, data: object) -> None:
    words = ("--model", model, "--task", task, "--data", data)
    samples, results = run(*words, "--results", "a")
    assert run(*words, "--results", "b") == (samples, results)
    other, _ = run(*words, "--results", "c", "--batch-size", 3)
    assert other == samples
    assert len(samples) == 4
    assert all(any(kept) for kept in samples.values())


def test_a_run_in_processes_is_the_same() -> None:
    words = ("--model", "chexagent-2", "--task", "report", "--batch-size", 2)
    assert run(*words, "--results", "a") == run(*words, "--results", "b", "--executor", "process", "--workers", 2)


def test_a_command_is_run_only_where_that_is_allowed(mine: Path) -> None:
    touch = Path("touched").absolute()
    (mine / "server.py").write_text(f"open({str(touch)!r}, 'w')\n")
    words = ("run", "--model", "mine", "--task", "report", "--weights", mine)
    for asked in (words, (*words, "--dry-run"), ("weights", "check", "mine", "--weights", mine)):
        refused(bench(*asked), "model 'mine' is run by a command that its card names: say --allow-external")
    assert not touch.exists()


def test_it_sees_just_what_a_run_gives_it(mine: Path) -> None:
    write_server(
        mine, report="return json.dumps([item['id'], item['instruction'], item['indication'], len(item['image'])])"
    )
    request = ReportRequest("a \u2028 \u201cb\u201d", Image.new("L", (3, 5)), "Say\nall.", "Fever.")
    (text,) = load(mine).write([request])
    *given, size = json.loads(text)
    assert given == [request.id, request.instruction, request.indication]
    write_server(mine, report="from pathlib import Path\nreturn str([item['image'][:8], len(item['image'])])")
    (text,) = load(mine).write([request])
    assert text == str([b"\x89PNG\r\n\x1a\n", size])


def test_an_image_by_path_is_lossless_and_goes_with_the_batch(mine: Path) -> None:
    write_server(mine, report="import shutil\nshutil.copy(item['image'], 'seen.png')\nreturn item['image']")
    server_file = mine / "server.py"
    server_file.write_text(server_file.read_text().replace('IMAGES = "inline"', 'IMAGES = "path"'))
    image = Image.effect_noise((40, 30), 90)
    model = load(mine)
    (path,) = model.write([ReportRequest("a", image, "Describe.")])
    assert Image.open(mine / "seen.png").tobytes() == image.tobytes()
    assert not Path(path).exists()
    folder = Path(path).parent
    assert folder.stat().st_mode & 0o077 == 0
    del model
    assert not folder.exists()


def test_a_drawn_image_may_come_as_a_file_of_its_scratch_folder(mine: Path, tmp_path: Path) -> None:
    request = ImageRequest("a", "Clear.", 3)
    (inline,) = load(mine, "generation").draw([request])
    body = (
        "path = os.path.join(item['scratch'], 'a.png')\nopen(path, 'wb').write(grey_png([[1, 2], [3, 4]]))\nreturn path"
    )
    write_server(mine, draw=body)
    (image,) = load(mine, "generation").draw([request])
    assert (image.mode, image.tobytes(), inline.size) == ("L", bytes([1, 2, 3, 4]), (8, 8))
    Image.new("L", (2, 2)).save(tmp_path / "outside.png")
    for path, why in (("../outside.png", "not in the scratch folder"), ("none.png", "is missing")):
        write_server(mine, draw=f"return {path!r}")
        with pytest.raises(Refused, match=why):
            load(mine, "generation").draw([request])
    write_server(mine, draw="return b'no image'")
    with pytest.raises(Refused, match="is not an image"):
        load(mine, "generation").draw([request])


# What goes wrong


@pytest.mark.parametrize(
    ("lines", "then", "why"),
    [
        ([], "sys.exit('no module named rgrg')", "ended with 1, saying: no module named rgrg"),
        ([], "", "ended with 0"),
        ([], "import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        (["Loading checkpoint shards\n"], "", "printed 'Loading checkpoint shards' where JSON was due"),
        ([b"\xff\xfe\n"], "", "bytes that are not UTF-8"),
        ([answer(7, HELLO)], "", "did not answer question 1"),
        (["[" * 100_000 + "\n"], "", "where JSON was due"),
        ([answer(1, {**HELLO, "tasks": {"probe": []}})], "", "what protocol 1 does not have: tasks"),
        ([answer(1, {**HELLO, "weights": ""})], "", "what protocol 1 does not have: weights"),
        ([answer(1, {**HELLO, "extra": 1})], "", "what protocol 1 does not have: extra"),
        ([answer(1, {**HELLO, "protocol": 2})], "", "speaks protocol 2, and this bench 1"),
        ([answer(1, {"error": "no GPU is here"})], "", "no GPU is here"),
        ([answer(1, {**HELLO, "name": "example"})], "", "its server says that it is 'example'"),
        ([answer(1, {**HELLO, "tasks": {"generation": []}})], "", "does not do 'report', only generation"),
        (
            [answer(1, {**HELLO, "tasks": {"report": ["beams"]}})],
            "",
            "takes for report the settings beams: see to beams",
        ),
        ([b"x" * 3000], "sys.stdin.read()", "does not end its line"),
        ([], "sys.stdin.read()", "gave no answer within 1 s"),
    ],
)
def test_a_server_that_cannot_say_who_it_is(
    mine: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str | bytes], then: str, why: str
) -> None:
    monkeypatch.setattr(server, "HELLO_S", 1.0 if "answer within" in why else 30.0)
    if "end its line" in why:
        monkeypatch.setattr(server, "LONGEST", 1000)
    says(mine, *lines, then=then)
    refused(bench(*TRY, mine), why)


def test_what_is_missing_is_named(mine: Path) -> None:
    (mine / "server.py").unlink()
    refused(bench(*TRY, mine), f"{mine}/server.py is missing", "unix-bench external template")
    card = Path("unix-bench/baselines/mine.toml")
    card.write_text(CARD.replace('["{python}", "{weights}/server.py"]', '["no-such-program"]'))
    refused(bench(*TRY[:-1]), "the program no-such-program of its command is not there")
    card.write_text(CARD.replace('["{python}", "{weights}/server.py"]', "[]"))
    refused(bench(*TRY, mine), "card 'mine' has no command")
    Path("program").write_text("no machine's language")
    Path("program").chmod(0o755)
    card.write_text(CARD.replace('["{python}", "{weights}/server.py"]', '["./program"]'))
    refused(bench(*TRY[:-1]), "./program cannot be started: Exec format error")


def test_loading_that_fails_is_one_sentence(mine: Path) -> None:
    write_server(mine, __init__="raise RuntimeError('float32 is not for\\n this model')")
    refused(bench(*TRY, mine), "Mine: RuntimeError: float32 is not for this model")


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([], "gave 0 answers to 2 samples, without 'a'"),
        ([{"id": "a", "text": ""}, {"id": "c", "text": ""}], "without 'b' and with 'c'"),
        ([{"id": "a", "text": ""}, {"id": "a", "text": ""}, {"id": "b", "text": ""}], "one of them twice"),
        ([{"id": "a"}, {"id": "b", "text": ""}], "answered sample 'a' with nothing: one of text, error is due"),
        ([{"id": "a", "image": ""}, {"id": "b", "text": ""}], "answered sample 'a' with image"),
        ([{"id": "a", "text": None}, {"id": "b", "text": ""}], "answered sample 'a' with text"),
        ([{"id": "a", "text": 1}, {"id": "b", "text": ""}], "does not have: items.0.text"),
        ([{"id": "a", "text": "\ud800"}, {"id": "b", "text": ""}], "half a character"),
    ],
)
def test_an_answer_that_is_none(mine: Path, items: list[object], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    says(mine, answer(1, HELLO), answer(2, {}), answer(3, {}), answer(4, {"items": items}), then="sys.stdin.read()")
    with pytest.raises(ServerError, match=f"{re.escape(why)}.*, twice"):
        load(mine).write(reports("a", "b"))
    assert "starting it again" in capsys.readouterr().err


def test_answers_may_stand_in_any_order(mine: Path) -> None:
    items = [{"id": "b", "text": "of b"}, {"id": "a", "text": "of a"}]
    says(mine, answer(1, HELLO), answer(2, {}), answer(3, {}), answer(4, {"items": items}))
    assert load(mine).write(reports("a", "b")) == ["of a", "of b"]


def test_a_model_may_do_a_batch_at_once(mine: Path) -> None:
    write_server(mine, report_batch="return ['well'] * (len(items) - 1) + [OSError('no')]")
    with pytest.raises(Refused, match=r"sample b: OSError: no$"):
        load(mine).write(reports("a", "b"))


def test_servers_that_are_always_lost_end_the_run(mine: Path) -> None:
    write_server(mine, report="os._exit(3)")
    result = bench(*TRY, mine, "--data", "demo", "--batch-size", 1)
    refused(result, "10 servers in a row were lost", "the same command goes on")


def test_one_sample_that_fails_or_kills_leaves_the_others_be(mine: Path, tmp_path: Path) -> None:
    samples, _ = run("--model", "mine", "--task", "report", "--weights", mine, "--results", "a")
    third = list(samples)[2]
    for name, body in (
        ("raises", "raise ValueError('it is odd')"),
        ("kills", "os._exit(3)"),
        ("hangs", "import time; time.sleep(99)"),
    ):
        folder = write_server(tmp_path / name, report=f"if item['id'] == {third!r}:\n    {body}")
        file = folder / "server.py"
        file.write_text(file.read_text().replace("ITEM_SECONDS = 300.0", "ITEM_SECONDS = 0.3"))
        done = bench(*TRY, folder, "--results", name, "--json")
        assert done.exit_code == 1, done.output
        (record,) = Path(name).glob("*/samples*.jsonl")
        lines = {line["id"]: line for line in map(json.loads, record.read_text().splitlines())}
        assert {key: line.get("report") for key, line in lines.items() if key != third} == {
            key: kept[0] for key, kept in samples.items() if key != third
        }
        assert {"raises": "it is odd", "kills": "ended with 3", "hangs": "no answer within"}[name] in lines[third][
            "error"
        ]


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_server_killed_in_the_middle_is_survived(mine: Path, tmp_path: Path, executor: str) -> None:
    words = ("--model", "mine", "--task", "report", "--batch-size", 2, "--executor", executor)
    samples, _ = run(*words, "--weights", mine, "--results", "a")
    third = list(samples)[2]
    body = f"if item['id'] == {third!r} and not os.path.exists('died'):\n"
    body += "    open('died', 'w')\n    os.kill(os.getpid(), 9)\n"
    folder = write_server(tmp_path / "killed", report=body)
    again, _ = run(*words, "--weights", folder, "--results", "b")
    assert (folder / "died").exists()
    assert again == samples


def test_what_a_model_prints_and_reads_is_not_in_the_way(mine: Path) -> None:
    body = (
        "print('noise')\nos.system('echo noise')\nimport sys\nsys.stdout.write('more')\nassert sys.stdin.read() == ''"
    )
    write_server(mine, report=body)
    assert load(mine).write(reports("a"))[0].startswith("The heart")


def test_memory_that_is_short_makes_batches_smaller(mine: Path) -> None:
    body = "raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')"
    write_server(mine, report=body)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        load(mine).write(reports("a", "b"))


def test_a_large_batch_passes_both_ways(mine: Path) -> None:
    write_server(mine, report="return 'word ' * 400000")
    image = Image.effect_noise((1500, 1500), 90)
    texts = load(mine).write([ReportRequest(str(n), image, "Describe.") for n in range(4)])
    assert [len(text) for text in texts] == [2_000_000] * 4


# Nothing is left


def test_all_that_it_started_ends_with_it(mine: Path) -> None:
    body = "import subprocess\nreturn str(subprocess.Popen(['sleep', '600']).pid)"
    write_server(mine, report=body)
    model = load(mine)
    (text,) = model.write(reports("a"))
    os.kill(int(text), 0)
    del model
    assert gone(int(text))


def test_all_ends_when_we_are_killed(tmp_path: Path) -> None:
    """The outer process dies by SIGKILL: its program, that one's child and the scratch folder go."""
    inner = 'sleep 600 & echo $! $$; touch "$SCRATCH/x"; wait'
    code = (
        "import os, sys, time\nfrom unix_bench.subprocesses import Program\n"
        f"program = Program(['sh', '-c', {inner!r}])\n"
        "print(program.exchange(b'', 20, 99).decode(), program.scratch, flush=True)\ntime.sleep(600)\n"
    )
    outer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "SCRATCH": str(tmp_path)}, text=True
    )
    assert outer.stdout is not None
    child, program, scratch = outer.stdout.readline().split()
    assert Path(scratch).is_dir()
    outer.send_signal(signal.SIGKILL)
    outer.wait()
    outer.stdout.close()
    assert gone(int(child))
    assert gone(int(program))
    for _ in range(250):
        if not Path(scratch).exists():
            break
        time.sleep(0.02)
    assert not Path(scratch).exists()


def test_a_program_that_speaks_out_of_turn() -> None:
    with Program([sys.executable, "-c", "print('a\\nb', flush=True); input(); input()"]) as program:
        assert program.exchange(b"", 20, 99) == b"a"
        with pytest.raises(ProgramError, match="spoke before"):
            program.exchange(b"question\n", 20, 99)


def test_an_environment_without_an_interpreter_is_not_passed_over(mine: Path, tmp_path: Path) -> None:
    """It would be the bench's own that runs, with other libraries."""
    card, place = registry.model("mine"), mine / ".venv"
    assert expand(card, mine)[0] == sys.executable
    place.symlink_to(tmp_path / "nowhere")
    refused(bench(*TRY, mine), f"{place}/bin/python is not there, or may not be run: lay the model's environment there")
    refused(
        bench("weights", "check", "mine", "--weights", mine, "--allow-external"), f"{place}/bin/python is not there"
    )
    (tmp_path / "nowhere" / "bin").mkdir(parents=True)
    refused(bench(*TRY, mine), f"{place}/bin/python is not there")
    (place / "bin" / "python").write_text("no program")
    refused(bench(*TRY, mine), f"{place}/bin/python is not there, or may not be run")
    (place / "bin" / "python").unlink()
    (place / "bin" / "python").symlink_to(sys.executable)
    assert expand(card, mine)[0] == f"{place}/bin/python"


# The conformance test

BATCHES = [f"in {text} as alone" for text in ("a batch of two", "the other order", "a batch of three")]
FAILING, BESIDE = "a sample that cannot be done fails alone", "beside it as alone"
ANOTHER_IMAGE, ANOTHER_PROMPT = "another image gets another report", "another prompt draws another image"
ANOTHER_SEED = "another seed draws another image"
SEES = "return hashlib.sha256(item['image']).hexdigest()"


def test_the_conformance_test_passes_the_template(mine: Path) -> None:
    done = bench("weights", "check", "mine", "--weights", mine, "--allow-external", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert len(rows) == 25
    assert rows[0]["given"] == f"done, by {sys.executable}"
    assert all(row[""] == "ok" for row in rows)


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        ({"report": "return str(random.random())"}, ["the same twice", *BATCHES, BESIDE]),
        ({"report": "return ''"}, ["it answers", "it answers another one", ANOTHER_IMAGE]),
        ({"report": "return 'No acute process.'"}, [ANOTHER_IMAGE]),
        ({"report": "return str(item['indication'])"}, [ANOTHER_IMAGE]),
        ({"report": SEES, "report_batch": "return [self.report(items[0])] * len(items)"}, [*BATCHES, BESIDE]),
        ({"report": SEES, "report_batch": "return [self.report(one) for one in items[::-1]]"}, [*BATCHES, BESIDE]),
        (
            {
                "report": SEES,
                "report_batch": "return [self.report(one) for one in (items if len(items) < 3 else items[::-1])]",
            },
            [BATCHES[2]],
        ),
        ({"report": "if item['indication']:\n    raise OSError('no')"}, ["it answers another one"]),
        (
            {"report": "if 'clear' not in item['id']:\n    raise OSError('no')"},
            ["it answers another one", ANOTHER_IMAGE, FAILING],
        ),
        (
            {"draw": "return grey_png([[7, 7], [7, 7]])"},
            ["it answers", "it answers another one", ANOTHER_PROMPT, ANOTHER_SEED],
        ),
        ({"draw": "item['seed'] = 1"}, [ANOTHER_SEED]),
        ({"draw": "item['prompt'] = ''"}, [ANOTHER_PROMPT]),
        ({"draw_batch": "return [self.draw(items[0])] * len(items)"}, [*BATCHES, BESIDE]),
        ({"__init__": "if task == 'report':\n    raise OSError('no weights')"}, ["it loads, and answers a ping"]),
        ({"report": "os._exit(4)"}, ["it answers"]),
    ],
)
def test_the_conformance_test_names_what_is_wrong(mine: Path, parts: dict[str, str], wrong: list[str]) -> None:
    write_server(mine, **parts)
    task = "generation" if "draw" in "".join(parts) else "report"
    assert wrong_rows(mine) == [f"{task}: {text}" for text in wrong]


def test_the_conformance_test_sees_that_a_failing_sample_shifts_the_others(mine: Path) -> None:
    file = write_server(mine, report=SEES) / "server.py"
    end = '        return {"items": found + problems}'
    shift = "found[0]['text'], found[-1]['text'] = found[-1]['text'], found[0]['text']"
    file.write_text(
        file.read_text().replace(end, f"        if problems and name == 'report':\n            {shift}\n{end}")
    )
    assert wrong_rows(mine) == [f"report: {BESIDE}"]


def test_a_model_may_say_the_same_of_some_images(mine: Path) -> None:
    write_server(mine, report="return 'Opacity.' if len(item['image']) > 200000 else 'Clear.'")  # sees noise alone
    assert wrong_rows(mine, code=0) == []


def test_the_conformance_test_sees_a_server_that_does_not_end(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GOODBYE_S", 0.5)
    file = mine / "server.py"
    file.write_text(file.read_text().replace("self.over = True", "pass"))
    file.write_text(
        file.read_text().replace(
            "            if not line:\n",
            "            while not line:\n                pass\n            if not line:\n",
        )
    )
    assert wrong_rows(mine, "given") == ["still at work"] * 2


def test_weights_check_knows_models_and_judges(mine: Path, demo_weights: Path) -> None:
    refused(bench("weights", "check", "mnie"), "unknown model or judge 'mnie': did you mean 'mine'?")
    refused(bench("weights", "check", "unix"), "no weights of UniX are configured")
    for allowed in ((), ("--allow-external",)):  # its stand-in would pass, and say nothing of it
        refused(bench("weights", "check", "chexagent-2", *allowed), "no weights of CheXagent-2 3B are configured")
    refused(bench("weights", "check", "real"), "'real' is a reference point and has no weights")
    assert bench("weights", "check", "unix", "--weights", demo_weights).exit_code == 0


def test_a_server_that_is_not_there_is_no_wrong_answer(mine: Path, tmp_path: Path) -> None:
    (mine / "server.py").unlink()
    done = bench("weights", "check", "mine", "--weights", mine, "--allow-external")
    refused(done, f"{mine}/server.py is missing", "unix-bench external template")
    assert not done.stdout
    refused(
        bench("weights", "check", "mine", "--weights", tmp_path / "none", "--allow-external"), "is neither a folder"
    )


# How it stands here


def stands(name: str, weights: Path | None = None) -> Readiness:
    return readiness(registry.model(name), Settings(weights=weights))


def test_how_a_command_stands_that_needs_no_folder(mine: Path, tmp_path: Path) -> None:
    card = Path("unix-bench/baselines/mine.toml")
    stated = CARD.replace('["{python}", "{weights}/server.py"]', '["sh", "-c", "true"]').replace('weights = "mine"', "")
    card.write_text(stated)
    for weights in (None, tmp_path):
        found = stands("mine", weights)
        assert found == Readiness(True, "needs no folder; with --allow-external, in its own environment")
    card.write_text(stated.replace('"sh"', '"no-such-program"'))
    found = stands("mine")
    assert not found.ready
    assert "the program no-such-program of its command is not there" in found.text
    refused(bench("weights", "fetch", "mine"), "'mine' has no weights to fetch")


def test_how_a_command_stands_that_needs_a_folder(mine: Path, tmp_path: Path) -> None:
    for name in NAMED:
        found = stands(name)
        assert not found.ready
        assert found.text.startswith("not configured, with --allow-external a demo is used: set UNIX_BENCH_WEIGHTS")
    assert stands("mine", tmp_path) == Readiness(True, f"{mine}; with --allow-external, in its own environment")
    card = Path("unix-bench/baselines/mine.toml")
    card.write_text(CARD.replace('"{weights}/server.py"', '"{weights}/other.py"'))
    assert stands("mine").state == "not configured"  # no stand-in has that layout
    assert "other.py is missing" in stands("mine", tmp_path).text


def test_a_stand_in_is_not_ready(tmp_path: Path) -> None:
    for name in ("unix", "rgrg"):
        card = registry.model(name)
        folder = demo_weights(card, tmp_path / card.weights)
        found = stands(name, tmp_path)
        assert (found.ready, found.state) == (False, f"{folder} (stand-in: {name}-demo)")
        assert found.remedy.startswith("move it away and put ")


# The docs


def test_the_worked_example_runs_where_its_libraries_are_others(tmp_path: Path) -> None:
    """The server of the docs, with small modules under the names of the libraries that it imports."""
    (text,) = re.findall(r"^```text\n(NAME = .*?)^```", (ROOT / "docs" / "external.md").read_text(), flags=re.S | re.M)
    template = TEMPLATE.read_text()
    start, end = (
        template.index("NAME = "),
        template.index("# ------------------------------------------", template.index("def grey_png")),
    )
    folder = tmp_path / "CheXagent-2"
    (folder / "transformers").mkdir(parents=True)
    (folder / "server.py").write_text(template[:start] + text + "\n\n" + template[end:])
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "torch.py").write_text("import contextlib\nfloat32 = 'f32'\nno_grad = contextlib.nullcontext\n")
    (folder / "transformers" / "__init__.py").write_text(LIBRARIES)
    assert ast.parse((folder / "server.py").read_text(), feature_version=(3, 6))
    done = bench("weights", "check", "chexagent-2", "--weights", folder, "--allow-external", "--json")
    assert done.exit_code == 0, done.output
    samples, _ = run("--model", "chexagent-2", "--task", "report", "--weights", folder, "--results", "a")
    assert "structured findings section" in next(iter(samples.values()))[0]


LIBRARIES = """
import os

class Ids(list):
    shape = (1, 2)
    def to(self, device):
        return self

class AutoTokenizer:
    @classmethod
    def from_pretrained(cls, folder, trust_remote_code):
        assert trust_remote_code and os.path.isdir(folder)
        return cls()
    def from_list_format(self, parts):
        assert os.path.isfile(parts[0]["image"])
        return f"{parts[1]['text']} {os.path.getsize(parts[0]['image'])}"
    def apply_chat_template(self, turns, add_generation_prompt, return_tensors):
        assert [turn["from"] for turn in turns] == ["system", "human"]
        return Ids([turns[1]["value"]])
    def decode(self, ids, skip_special_tokens):
        return " ".join(ids)

class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, folder, trust_remote_code, torch_dtype):
        return cls()
    def to(self, device):
        return self
    def eval(self):
        return self
    def generate(self, ids, do_sample, num_beams, max_new_tokens):
        assert (do_sample, num_beams, max_new_tokens) == (False, 1, 512)
        return [["bos", "eos", *ids]]
"""


def test_the_protocol_by_hand(mine: Path) -> None:
    """The lines of the docs, spoken to the template without any code of the bench's."""
    process = subprocess.Popen(
        expand(registry.model("mine"), mine), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(**question: object) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        said: dict[str, Any] = json.loads(process.stdout.readline())
        return said

    assert ask(message="hello", number=1, protocol=1)["tasks"] == HELLO["tasks"]
    loading = {"settings": {"size": 4}, "dtype": "float32", "device": "cpu", "scratch": "."}
    assert ask(message="load", number=2, task="generation", **loading) == {"number": 2}
    assert ask(message="ping", number=3) == {"number": 3}
    items = [{"id": "a", "prompt": "x", "seed": 2**62}]
    drawn = ask(message="generation", number=4, items=items)["items"][0]
    assert Image.open(io.BytesIO(base64.b64decode(drawn["image"]))).size == (4, 4)
    assert "error" in ask(message="generation", number=5, items=[{"id": "a", "prompt": None, "seed": 1}])["items"][0]
    assert "error" in ask(message="nonsense", number=6)
    assert ask(message="shutdown", number=7) == {"number": 7}
    assert process.wait(20) == 0
    process.stdin.close()
    process.stdout.close()
