#!/usr/bin/env python
"""A model in its own environment, as unix-bench asks for it: one file, Python 3.6 or newer, standard library alone.

Lay it beside the model, as server.py in the folder of its weights, and fill in the part between the two lines; what is
there now is an example that runs. The part below the second line speaks the protocol (docs/external.md) and stays.
"""
# Older Pythons than the bench's run this.
# ruff: noqa: B905, PTH100, PTH113, PTH118, PTH119, PTH123, UP006, UP007, UP031, UP035

import base64
import hashlib
import json
import os
import random
import struct
import traceback
import zlib
from typing import Any, Callable, Dict, List, Union

if __name__ == "__main__":  # before any other import, whose prints must not come between the answers
    QUESTIONS = os.fdopen(os.dup(0), "rb")
    ANSWERS = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)

PNG = b"\x89PNG\r\n\x1a\n"  # the first bytes of one

# ------------------------------------------- yours from here ... -------------------------------------------

NAME = "example"  # the name of the card
VERSION = "1"  # of the model's checkout, such as its commit; this file's own digest is added
TASKS: Dict[str, List[str]] = {"report": [], "generation": ["size"]}  # task: all the settings that it takes
IMAGES = "inline"  # an image comes as the bytes of a PNG; "path": as the path of one, which goes after the batch
LOAD_SECONDS = 1800.0  # how long loading may take
ITEM_SECONDS = 300.0  # how long a sample may take


def weights() -> str:
    """Say which weights these are: `digest_of` of the files, or the commit they were fetched at."""
    return "none"


class Model:
    """The model. Import its libraries in here, so that who it is can be said without them."""

    def __init__(self, task: str, settings: Dict[str, Any], dtype: str, device: str) -> None:
        """Load it.

        task: "report" or "generation"; settings: the card's; dtype: "float32", "bfloat16", "float16"; device: "cpu",
        "cuda:0".
        Raise an error where it cannot be run so: a number must not say of a dtype that it was another one.
        """
        self.size = min(int(settings.get("size", 64)), 64)

    def report(self, item: Dict[str, Any]) -> str:
        """Write a report about item["image"]; item["instruction"] and item["indication"], which may be None.

        item["seed"] alone decides words that are drawn.
        """
        width, height = png_size(item["image"])
        return "The heart size is normal. The lungs are clear. The image has %d by %d pixels." % (width, height)

    def draw(self, item: Dict[str, Any]) -> Union[bytes, str]:
        """Draw item["prompt"]; item["seed"] alone decides the noise. The bytes of a PNG, or the path of an image.

        A path is a file's in item["scratch"], which is emptied after the batch.
        """
        noise = random.Random("%d %s" % (item["seed"], item["prompt"]))
        return grey_png([[(4 * x + noise.randrange(64)) % 256 for x in range(self.size)] for _ in range(self.size)])

    # A model that does several at once has `report_batch(items)` or `draw_batch(items)` instead: one output an item,
    # in order, an exception in place of what went wrong.


def png_size(data: bytes) -> Any:
    """Width and height of a PNG."""
    return struct.unpack(">II", data[16:24])


def grey_png(rows: List[List[int]]) -> bytes:
    """Pack rows of grey values, 0 to 255, as a PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) & 0xFFFFFFFF)

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = b"".join(b"\x00" + bytes(row) for row in rows)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return PNG + chunks


# --------------------------------------------- ... to here -------------------------------------------------


def digest_of(*paths: str) -> str:
    """Digest files and the files below folders, by name and content; hidden ones and __pycache__ do not count.

    Reading 15 GB takes a minute or so, and it is done whenever the server starts; hello may take two.
    """
    found: Dict[str, str] = {}
    for path in paths:
        if os.path.isfile(path):
            found[os.path.basename(path)] = path
        for folder, folders, files in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
            for name in files:
                if not name.startswith("."):
                    whole = os.path.join(folder, name)
                    found[os.path.relpath(whole, path)] = whole
    total = hashlib.sha256()
    for name in sorted(found):
        digest = hashlib.sha256()
        with open(found[name], "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
        total.update(("%s %s\n" % (name, digest.hexdigest())).encode())
    return total.hexdigest()


class Server:
    """Answers one question after the other; a question is a line of JSON, and so is its answer."""

    def __init__(self) -> None:
        self.model: Any = None
        self.scratch = ""
        self.over = False

    def serve(self, questions: Any, answers: Any) -> None:
        """Answer until the questions end, as they do when the bench is gone."""
        while not self.over:
            line = questions.readline()
            if not line:
                return
            question = json.loads(line.decode())
            try:
                answer = getattr(self, "on_" + question["message"])(question)
            except Exception as error:
                traceback.print_exc()
                answer = {"error": said(error), "memory": out_of_memory(error)}
            answer["number"] = question["number"]
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()

    def on_hello(self, question: Dict[str, Any]) -> Dict[str, Any]:
        with open(os.path.abspath(__file__), "rb") as stream:
            own = hashlib.sha256(stream.read()).hexdigest()[:12]
        return {
            "protocol": 1,
            "name": NAME,
            "version": "%s+%s" % (VERSION, own),
            "weights": weights(),
            "tasks": TASKS,
            "images": IMAGES,
            "load_seconds": LOAD_SECONDS,
            "item_seconds": ITEM_SECONDS,
        }

    def on_load(self, question: Dict[str, Any]) -> Dict[str, Any]:
        self.scratch = question["scratch"]
        self.model = Model(question["task"], question["settings"], question["dtype"], question["device"])
        return {}

    def on_ping(self, question: Dict[str, Any]) -> Dict[str, Any]:
        return {}

    def on_shutdown(self, question: Dict[str, Any]) -> Dict[str, Any]:
        self.over = True
        return {}

    def on_report(self, question: Dict[str, Any]) -> Dict[str, Any]:
        for item in question["items"]:
            item["image"] = item["path"] if "path" in item else base64.b64decode(item["image"])
            item["problem"] = None if is_png(item["image"]) else "ValueError: its image is no PNG"
        return self.outputs(question["items"], "report", lambda text: {"text": text})

    def on_generation(self, question: Dict[str, Any]) -> Dict[str, Any]:
        for item in question["items"]:
            item["scratch"] = self.scratch
            item["problem"] = None if isinstance(item["prompt"], str) else "ValueError: its prompt is no text"
        return self.outputs(question["items"], "draw", image_answer)

    def outputs(
        self, items: List[Dict[str, Any]], name: str, answer: Callable[[Any], Dict[str, Any]]
    ) -> Dict[str, Any]:
        problems = [{"id": item["id"], "error": item["problem"]} for item in items if item["problem"]]
        items = [item for item in items if not item["problem"]]
        batch = getattr(self.model, name + "_batch", None)
        if batch is not None:
            outputs = list(batch(items))
            if len(outputs) != len(items):
                raise ValueError("%d outputs came of %d samples" % (len(outputs), len(items)))
        else:
            outputs = [self.attempt(getattr(self.model, name), item) for item in items]
        found: List[Dict[str, Any]] = []
        for item, output in zip(items, outputs):
            told = {"error": said(output)} if isinstance(output, Exception) else answer(output)
            told["id"] = item["id"]
            found.append(told)
        return {"items": found + problems}

    def attempt(self, do: Callable[[Any], Any], item: Dict[str, Any]) -> Any:
        """Do one sample; what goes wrong is its own affair, unless memory is short."""
        try:
            return do(item)
        except Exception as error:
            if out_of_memory(error):
                raise
            traceback.print_exc()
            return error


def is_png(image: Union[bytes, str]) -> bool:
    """See whether bytes, or the file of a path, begin as a PNG does."""
    if isinstance(image, bytes):
        return image[:8] == PNG
    with open(image, "rb") as stream:
        return stream.read(8) == PNG


def image_answer(output: Union[bytes, str]) -> Dict[str, Any]:
    if isinstance(output, bytes):
        return {"image": base64.b64encode(output).decode()}
    return {"path": output}


def said(error: Exception) -> str:
    return " ".join(("%s: %s" % (type(error).__name__, error)).split())[:1000]


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


if __name__ == "__main__":
    Server().serve(QUESTIONS, ANSWERS)
