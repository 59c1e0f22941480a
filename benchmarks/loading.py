"""Images a second: the bench's loader, a plain Pillow loop, and torch's DataLoader, in one run.

    python benchmarks/loading.py FOLDER [--images 800] [--repeats 5]

Each repeat runs all three, in turn, over the same files; the median of the ratios is what to quote.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from unix_bench.data import load_images, open_image, read_folder


class Files(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The same files for torch's DataLoader."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:
        return open_image(self.paths[index])


def with_loader(paths: list[Path]) -> int:
    return sum(1 for _ in load_images(paths))


def with_pillow(paths: list[Path]) -> int:
    return sum(1 for _ in map(open_image, paths))


def with_dataloader(paths: list[Path]) -> int:
    loader = torch.utils.data.DataLoader(Files(paths), batch_size=16, num_workers=os.cpu_count() or 1, collate_fn=list)
    return sum(len(batch) for batch in loader)


def seconds(way: Callable[[list[Path]], int], paths: list[Path]) -> float:
    start = time.perf_counter()
    assert way(paths) == len(paths)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    paths = [study.inputs.image for study in read_folder(options.folder).studies][: options.images]
    ways = {"ours": with_loader, "pillow": with_pillow, "dataloader": with_dataloader}
    with_pillow(paths)  # the files are in the page cache from here on
    times = [{name: seconds(way, paths) for name, way in ways.items()} for _ in range(options.repeats)]
    rates = {f"{name}_per_s": round(len(paths) / statistics.median(t[name] for t in times), 1) for name in ways}
    ratios = {
        f"ours_over_{name}": round(statistics.median(t[name] / t["ours"] for t in times), 3) for name in list(ways)[1:]
    }
    print(json.dumps({"images": len(paths), "processors": os.cpu_count(), **rates, **ratios}))


if __name__ == "__main__":
    main()
