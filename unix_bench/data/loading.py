"""Reading ahead: several threads, results in order, no more in memory than asked for.

Threads suffice: Pillow and hashing let go of the interpreter while they work.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image

from unix_bench.data.images import open_image

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(work: Callable[[Item], Result], items: Iterable[Item], ahead: int = 16) -> Iterator[Result]:
    """`work(item)` for each item, in order, computed by as many threads as there are processors.

    Args:
        work: Called in a thread; what it raises is raised where its result would come.
        items: Taken no further than `ahead` items beyond the one that is waited for.
        ahead: Results in memory at most.

    >>> list(ordered_map(str, range(3)))
    ['0', '1', '2']
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def load_images(paths: Iterable[Path], ahead: int = 16) -> Iterator[Image.Image]:
    """Images of mode L or RGB, in order; raises `UnreadableImage` where one cannot be opened."""
    return ordered_map(open_image, paths, ahead)
