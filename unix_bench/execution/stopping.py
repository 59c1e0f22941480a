"""Being asked to stop: Ctrl-C, or a scheduler's SIGTERM. The first time what is at work is finished, the second not."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

NOTE = b"stopping when the batches at work are done (once more: at once)\n"


@dataclass
class Stop:
    """Whether somebody asked to stop."""

    requested: bool = False


@contextmanager
def graceful_stop() -> Iterator[Stop]:
    """Note the first signal, and raise `KeyboardInterrupt` at the second; outside the main thread nothing is noted."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        os.write(2, NOTE)  # a signal may come in the middle of a print, which cannot be begun again

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
