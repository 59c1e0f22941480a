"""Models that run in an environment of their own, as the bench runs them: through a server that the card names."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from PIL import Image

from unix_bench.cards import ModelCard
from unix_bench.data import UnreadableImage, open_image
from unix_bench.errors import UserError
from unix_bench.models.base import ImageRequest, ReportRequest
from unix_bench.models.external.command import TEMPLATE_COMMAND, check_command, expand
from unix_bench.models.external.protocol import Hello, Item
from unix_bench.models.external.server import Refused, Server, ServerError
from unix_bench.weights import stand_in_name

if TYPE_CHECKING:
    from unix_bench.models.base import ImageDrawer, Loadable, ReportWriter

TEMPLATE = Path(__file__).with_name("server_template.py")
SERVER_FILE = "server.py"
EXAMPLE = "example"  # what the template calls itself, as long as nobody has filled it in
TASK = "task"  # beside a card's settings: what the server loads depends on it
LOST_IN_A_ROW = 10  # servers, with no batch done in between: then it is no sample's fault

Output = TypeVar("Output")


class ExternalModel:
    """Asks a server; one that dies is started again.

    A batch is tried twice. One that fails twice raises, and is then the scheduler's, who takes it apart.
    """

    demo_version = hashlib.sha256(TEMPLATE.read_bytes()).hexdigest()[:12]

    def __init__(self, start: Callable[[], Server]) -> None:
        """Have the first server started.

        Raises:
            UserError: It does not start.
        """
        self._start = start
        self._lost = 0
        self._begin()

    @classmethod
    def complete_settings(
        cls, directory: Path, card: ModelCard, kind: str, stated: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Hold the settings against what the server takes; it alone knows which values are possible."""
        return introduce(card, directory, kind, stated)[1]

    @classmethod
    def load(cls, directory: Path, card: ModelCard, settings: Mapping[str, Any], dtype: str, device: str) -> Self:
        """Start the server and have it load its model.

        Raises:
            UserError: It does not start, does not load, or is another one than before.
        """
        check_command(card, directory)
        first: list[Hello] = []

        def start() -> Server:
            server = Server(card.title, expand(card, directory), directory)
            try:
                if first and server.hello != first[0]:
                    raise UserError(f"{card.title}: its server is not the one that this run began with: run again")
                first[:] = [server.hello]
                own = {name: value for name, value in settings.items() if name != TASK}
                server.load(settings[TASK], own, dtype, device)
            except BaseException:
                server.program.close()
                raise
            return server

        return cls(start)

    @classmethod
    def check_weights(cls, directory: Path, card: ModelCard) -> None:
        """See whether what the command names is there; nothing is started."""
        check_command(card, directory)

    @staticmethod
    def write_demo_weights(directory: Path, card: ModelCard) -> None:
        """Write the template as the model's server, which answers for itself without any weights.

        Raises:
            UserError: The card's command is not the one that this is the layout of.
        """
        if card.command != TEMPLATE_COMMAND:
            raise UserError(
                f"card '{card.name}': its command is its own, so there is no stand-in for it: give its folder with "
                "--weights, or set UNIX_BENCH_WEIGHTS"
            )
        directory.mkdir(parents=True)
        text, stated = TEMPLATE.read_text(encoding="utf-8"), '= {"report": [], "generation": ["size"]}'
        tasks = {task: sorted(settings) for task, settings in card.settings.items()}
        assert text.count(stated) == 1
        (directory / SERVER_FILE).write_text(text.replace(stated, f"= {json.dumps(tasks)}"), encoding="utf-8")

    def write(self, requests: Sequence[ReportRequest]) -> list[str]:
        """One report a request."""
        return self._answer(
            "report", lambda server: report_items(server, requests), lambda server, item: item.text or ""
        )

    def draw(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One image a request."""
        items = [{"id": one.id, "prompt": one.prompt, "seed": one.seed} for one in requests]
        return self._answer("generation", lambda server: items, picture)

    def _begin(self) -> None:
        try:
            self._server = self._start()
        except (ServerError, Refused, MemoryError) as error:
            raise UserError(f"{error} (docs/external.md; `unix-bench weights check CARD` tries a server)") from error
        self._end = weakref.finalize(self, _end, self._server)

    def _answer(
        self,
        task: str,
        ask: Callable[[Server], Sequence[Mapping[str, Any]]],
        read: Callable[[Server, Item], Output],
    ) -> list[Output]:
        """Outputs of a batch, whose server is replaced when it is lost.

        Raises:
            ServerError: Two servers were lost with it.
            Refused: The server did not do it, or one of its samples.
            UserError: Servers are lost whatever they are given.
        """
        try:
            return self._try(task, ask, read)
        except ServerError as error:
            print(f"{error}: starting it again", file=sys.stderr)
        try:
            return self._try(task, ask, read)
        except ServerError as error:
            raise ServerError(f"{error}, twice") from error

    def _try(
        self,
        task: str,
        ask: Callable[[Server], Sequence[Mapping[str, Any]]],
        read: Callable[[Server, Item], Output],
    ) -> list[Output]:
        server = self._server
        try:
            items = server.ask(task, ask(server))
            failed = [item for item in items if item.error is not None]
            if failed:
                raise Refused("; ".join(f"sample {item.id}: {item.error}" for item in failed[:3]))
            outputs = [read(server, item) for item in items]
        except ServerError as error:
            self._lost += 1
            self._end.detach()
            server.program.close()
            if self._lost >= LOST_IN_A_ROW:
                raise UserError(
                    f"{error}; {self._lost} servers in a row were lost: it is at fault rather than the samples; what "
                    "is recorded stays, and the same command goes on"
                ) from error
            self._begin()
            raise
        finally:
            _clear(server.program.scratch)
        self._lost = 0
        return outputs


def introduce(card: ModelCard, directory: Path, kind: str, stated: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Ask a server who it is, before a run.

    Args:
        card: Names the command.
        directory: The model's folder, or wherever the command runs.
        kind: Kind of task.
        stated: The settings as card and user have them.

    Returns:
        Digest of the command, as the card has it, and of what the server says of its code and weights; and the
        settings, complete.

    Raises:
        UserError: It cannot be started, is another model's, or takes other settings.
    """
    check_command(card, directory)
    try:
        with Server(card.title, expand(card, directory), directory) as server:
            hello = server.hello
    except (ServerError, Refused, MemoryError) as error:
        raise UserError(f"{error} (docs/external.md)") from error
    expected = EXAMPLE if stand_in_name(directory) else card.name
    if hello.name != expected:
        raise UserError(
            f"card '{card.name}': its server says that it is '{hello.name}': fill in the template's NAME and Model"
        )
    return _digest(card, hello), _complete(card, hello, kind, stated)


def _digest(card: ModelCard, hello: Hello) -> str:
    parts = [card.name, card.command, hello.name, hello.version, hello.weights]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _complete(card: ModelCard, hello: Hello, kind: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    taken = {str(task): names for task, names in hello.tasks.items()}
    if kind not in taken:
        raise UserError(f"the server of {card.title} does not do '{kind}', only {', '.join(sorted(taken))}")
    if TASK in stated:
        raise UserError(f"card '{card.name}': a setting may not be called '{TASK}', which the bench adds itself")
    wrong = sorted(stated.keys() ^ set(taken[kind]))
    if wrong:
        raise UserError(
            f"the server of {card.title} takes for {kind} the settings {', '.join(sorted(taken[kind])) or '(none)'}: "
            f"see to {', '.join(wrong)} in the card or in the server"
        )
    return {TASK: kind, **stated}


def report_items(server: Server, requests: Sequence[ReportRequest]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "instruction": one.instruction,
            "indication": one.indication,
            "seed": one.seed,
            **sent_image(server, _png(one.image), number),
        }
        for number, one in enumerate(requests)
    ]


def sent_image(server: Server, png: bytes, number: int) -> dict[str, str]:
    """An image as the server wants it: in the line, or in a file of that number in its scratch folder."""
    if server.hello.images == "inline":
        return {"image": base64.b64encode(png).decode()}
    path = server.program.scratch / f"image-{number}.png"
    path.write_bytes(png)
    return {"path": str(path)}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def picture(server: Server, item: Item) -> Image.Image:
    """The image of an answer, 8 bits grey or RGB.

    Raises:
        Refused: It is none.
    """
    scratch = server.program.scratch.resolve()
    path = scratch / "answer.png"
    try:
        if item.path is None:
            path.write_bytes(base64.b64decode(item.image or "", validate=True))
        else:
            path = (scratch / item.path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise Refused(f"sample {item.id}: its image is neither base64 nor a path: {error}") from error
    if not path.is_relative_to(scratch):
        raise Refused(f"sample {item.id}: its image {item.path} is not in the scratch folder")
    try:
        return open_image(path)
    except UnreadableImage as error:
        raise Refused(f"sample {item.id}: its image cannot be used: {error}") from error


def _clear(folder: Path) -> None:
    """Remove the files of a batch: they may be of restricted data."""
    for path in folder.glob("*"):
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)


def _end(server: Server) -> None:
    """End a server by word where it listens, else by force."""
    try:
        if server.idle:
            server.shutdown()
    except (ServerError, Refused, MemoryError):
        pass
    finally:
        server.program.close()


if TYPE_CHECKING:  # mypy holds the class against what the bench asks of a family

    def _fits(model: ExternalModel) -> tuple[type[Loadable], ReportWriter, ImageDrawer]:
        return ExternalModel, model, model
