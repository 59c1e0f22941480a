"""A running server: started, greeted, asked, and ended with all that it started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from unix_bench.models.external.protocol import (
    PROTOCOL,
    BadAnswer,
    Hello,
    Item,
    Refusal,
    decode,
    decode_done,
    decode_items,
    encode,
)
from unix_bench.subprocesses import Program, ProgramError

HELLO_S = 120.0  # imports of the standard library and digests of weights; models are loaded later
PING_S = 60.0
GOODBYE_S = 10.0
LONGEST = 512 << 20  # bytes of an answer: a batch of large images is far below

Said = TypeVar("Said")


class ServerError(RuntimeError):
    """A server died, hung, or said what it may not: it is of no more use. The message is one sentence."""


class Refused(RuntimeError):
    """A server is well and does not do what it was asked; the message says why."""


class Server:
    """One process, from its hello to its end.

    Attributes:
        hello: Who it says it is.
        idle: It owes no answer.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path, pass_on: bool = False) -> None:
        """Start it and hear who it is.

        Args:
            name: What messages call it.
            command: What starts it.
            folder: Where it runs.
            pass_on: Show what it says on standard error.

        Raises:
            ServerError: It is no server of this protocol.
            Refused: It cannot say who it is.
        """
        self.name = name
        self._number = 0
        self.program = Program(command, folder, pass_on)
        try:
            self.hello = self._hello()
        except BaseException:
            self.program.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self.program.close()

    def load(self, task: str, settings: Mapping[str, Any], dtype: str, device: str) -> None:
        """Have it load its model, and see that it still answers.

        Raises:
            ServerError, Refused: It does not.
        """
        content = {"task": task, "settings": dict(settings), "dtype": dtype, "device": device}
        scratch = str(self.program.scratch)
        self._done("load", {**content, "scratch": scratch}, self.hello.load_seconds)
        self.ping()

    def ping(self) -> None:
        """See that it is alive.

        Raises:
            ServerError, Refused: It is not.
        """
        self._done("ping", {}, PING_S)

    def ask(self, task: str, items: Sequence[Mapping[str, Any]]) -> list[Item]:
        """What became of each sample, in order.

        Args:
            task: "report" or "generation".
            items: As the protocol has them.

        Raises:
            ServerError: It died, hung, or answered something else.
            Refused: It did none of the batch.
            MemoryError: So too, for want of memory.
        """
        ids = [item["id"] for item in items]
        given = {"text"} if task == "report" else {"image", "path"}
        seconds = self.hello.item_seconds * len(items)
        return self._ask(task, {"items": items}, seconds, lambda line, number: decode_items(line, number, ids, given))

    def shutdown(self) -> int | None:
        """Have it end by itself; its exit code, or None if it had to be ended.

        Raises:
            ServerError, Refused: It does not understand.
        """
        self._done("shutdown", {}, GOODBYE_S)
        return self.program.end(GOODBYE_S)

    def _hello(self) -> Hello:
        hello = self._ask("hello", {"protocol": PROTOCOL}, HELLO_S, lambda line, number: decode(line, number, Hello))
        if hello.protocol != PROTOCOL:
            raise ServerError(f"{self.name}: its server speaks protocol {hello.protocol}, and this bench {PROTOCOL}")
        return hello

    def _done(self, message: str, content: Mapping[str, Any], seconds: float) -> None:
        self._ask(message, content, seconds, decode_done)

    def _ask(
        self,
        message: str,
        content: Mapping[str, Any],
        seconds: float,
        read: Callable[[bytes, int], Said | Refusal],
    ) -> Said:
        self._number += 1
        self.idle = False
        try:
            line = self.program.exchange(encode(message, self._number, content), seconds, LONGEST)
            self.idle = True
            said = read(line, self._number)
        except ProgramError as error:
            raise ServerError(f"{self.name}, asked for '{message}': {error}") from error
        except BadAnswer as error:
            raise ServerError(f"{self.name}, asked for '{message}': its server {error}") from error
        if isinstance(said, Refusal):
            if said.memory:
                raise MemoryError(said.error)
            raise Refused(f"{self.name}: {said.error}")
        return said
