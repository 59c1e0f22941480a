"""Programs of others: nothing of one outlives us, whatever kills us, and none is waited for without end.

POSIX alone: sessions, process groups and descriptors that are handed on.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

GUARD = Path(__file__).with_name("subprocess_guard.py")
KEPT = 1 << 14  # bytes of standard error that are kept
SAID = 300  # characters of it that are quoted
CHUNK = 1 << 16
ENDING_S = 10.0  # a killed program that is still there after so long is left to the system


class ProgramError(RuntimeError):
    """A program did not do what it was started for; the message is one sentence."""


class Program:
    """A command at the other ends of three pipes, guarded: it dies with us, and all that it started dies with it.

    Attributes:
        scratch: An empty folder, private to the user, that goes when the program ends, however that happens.
    """

    def __init__(self, command: Sequence[str], folder: Path | None = None, pass_on: bool = False) -> None:
        """Start it.

        Args:
            command: Program and arguments; no shell sees them.
            folder: Where it runs; None: here.
            pass_on: Its standard error is shown as well as kept.
        """
        self.name = Path(command[0]).name
        self.scratch = Path(tempfile.mkdtemp(prefix="unix-bench-"))
        self._heard = b""
        self._kept = bytearray()
        watched, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(watched), str(self.scratch), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=folder,
                pass_fds=[watched],
                start_new_session=True,  # a terminal's Ctrl-C is ours to act on
            )
        except BaseException:
            os.close(self._life)
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise
        finally:
            os.close(watched)
        errors, self._process.stderr = self._process.stderr, None
        assert errors is not None
        self._listener = threading.Thread(target=self._listen, args=(errors, pass_on), daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, given: bytes) -> bytes:
        """Give it all of its input and wait for its end, however long that takes; returns what it printed.

        Raises:
            ProgramError: It did not end well.
        """
        printed, _ = self._process.communicate(given)
        if self._process.returncode:
            raise ProgramError(self._how_it_ended())
        assert isinstance(printed, bytes)
        return printed

    def exchange(self, line: bytes, seconds: float, longest: int) -> bytes:
        """Give it a line and take the line that it answers with.

        Args:
            line: With its line break.
            seconds: How long both may take.
            longest: Bytes that the answer may have.

        Raises:
            ProgramError: It ended, was silent, or spoke out of turn or without end.
        """
        deadline = time.monotonic() + seconds
        to_it, from_it = self._process.stdin, self._process.stdout
        assert to_it is not None
        assert from_it is not None
        if self._heard:
            raise ProgramError(f"{self.name} spoke before it was asked: {self._heard[:80]!r}")
        left = memoryview(line)
        with selectors.DefaultSelector() as watch:
            for stream, event in ((to_it, selectors.EVENT_WRITE), (from_it, selectors.EVENT_READ)):
                os.set_blocking(stream.fileno(), False)
                watch.register(stream, event)
            while b"\n" not in self._heard:
                if len(self._heard) > longest:
                    raise ProgramError(f"{self.name} does not end its line after {longest >> 20} MB")
                ready = watch.select(max(0.0, deadline - time.monotonic()))
                if not ready and time.monotonic() >= deadline:
                    raise ProgramError(f"{self.name} gave no answer within {seconds:g} s{self._quoted()}")
                for key, _ in ready:
                    if key.fileobj is from_it:
                        self._hear(from_it)
                        continue
                    left = left[_write(to_it, left) :]
                    if not left:
                        watch.unregister(to_it)
        if left:
            raise ProgramError(f"{self.name} spoke before it had heard what it was asked: {self._heard[:80]!r}")
        answer, _, self._heard = self._heard.partition(b"\n")
        return answer

    def end(self, seconds: float) -> int | None:
        """Let it end by itself, its input being over; None: it did not in that time."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End it, and all that it started, at once."""
        if self._life < 0:
            return
        os.close(self._life)  # which the guard acts on
        self._life = -1
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _hear(self, stream: IO[bytes]) -> None:
        try:
            chunk = os.read(stream.fileno(), CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_S)
            raise ProgramError(self._how_it_ended())
        self._heard += chunk

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        if code is None:
            how = "closed its standard output"
        elif code > 128 and (code - 128) in set(signal.Signals):
            how = f"was killed by {signal.Signals(code - 128).name}"
        else:
            how = f"ended with {code}"
        return f"{self.name} {how}{self._quoted()}"

    def _quoted(self) -> str:
        """What it last said on standard error, for the end of a sentence."""
        if self._process.returncode is not None:
            self._listener.join(1.0)
        lines = re.split(r"[\r\n]+", self._kept.decode(errors="replace"))
        said = [line.strip() for line in lines if line.strip()]
        return f", saying: {said[-1][:SAID]}" if said else ""

    def _listen(self, stream: IO[bytes], pass_on: bool) -> None:
        """Read standard error until it ends, so that a full pipe never holds the program up."""
        with stream:
            while chunk := stream.read(CHUNK):
                self._kept = (self._kept + chunk)[-KEPT:]
                if pass_on:
                    sys.stderr.write(chunk.decode(errors="replace"))


def _write(stream: IO[bytes], left: memoryview) -> int:
    """Bytes of it that went; a reader that is gone counts as content, since its end is heard of elsewhere."""
    try:
        return os.write(stream.fileno(), left[:CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(left)
