"""Features in the cache: an image goes through a network once, whichever run, task or pathology asks for it.

An entry is named for the sha256 of the image file's bytes, in a folder named for all that decides a feature.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unix_bench.data import UnreadableImage, open_image
from unix_bench.data.loading import ordered_map
from unix_bench.errors import UserError
from unix_bench.features.biovil_t import BioViLT
from unix_bench.features.encoder import Encoder
from unix_bench.features.entries import DamagedEntry, read_entry, shrink, write_entry
from unix_bench.features.geometry import PUBLISHED_SIDE
from unix_bench.features.memory import remembered
from unix_bench.settings import Settings
from unix_bench.weights import digest_file

LAYOUT = "1"  # raised whenever code that opens or encodes images changes a feature
BLACK = hashlib.sha256(b"the black image that stands for one that cannot be read").hexdigest()
AHEAD = 16  # images that are prepared beyond the next batch

Features = NDArray[np.float32]


@dataclass(frozen=True)
class _Found:
    """What the cache says of an image file.

    Attributes:
        key: sha256 of its bytes.
        row: Its feature, [dim]; None where none is kept.
        damaged: Whether something is kept that is not believed.
    """

    key: str
    row: Features | None
    damaged: bool = False


class FeatureStore:
    """Features of image files, kept below a folder of the cache.

    Attributes:
        passes: Images that this store put through networks.
    """

    def __init__(self, place: Path, limit: int) -> None:
        """Name the folder; it is made when something is kept.

        Args:
            place: Folder of all encoders' features.
            limit: Bytes that it may hold when a call ends; features least recently used go first.
        """
        self.passes = 0
        self._place, self._limit = place, limit
        self._writable = True

    @classmethod
    def of(cls, settings: Settings) -> FeatureStore:
        """The store in the cache that the settings name."""
        return cls(settings.cache / "features", int(settings.cache_limit * 1e9))

    def features(
        self,
        paths: Sequence[Path | None],
        encoder: Encoder,
        cache: Path,
        advance: Callable[[int], None] = lambda count: None,
    ) -> Features:
        """One vector an image, in order, [n, dim]; equal files are encoded once.

        Args:
            paths: Image files; None stands for a black image of 299 by 299 pixels.
            encoder: Asked for the images whose features are not kept yet.
            cache: Where digests of big files are kept.
            advance: Told how many images are done, in all as many as there are paths.

        Raises:
            UserError: An image cannot be read, the encoder's weights are not there, or a feature is not finite.
        """
        folder = self._place / hashlib.sha256(f"{LAYOUT} {encoder.identity}".encode()).hexdigest()[:32]
        with _mendable():
            found = _look_up(list(dict.fromkeys(paths)), folder, encoder.dim, cache)
        if damaged := len({one.key for one in found.values() if one.damaged}):
            many = f"{damaged} features in the cache were damaged and are"
            what = many if damaged > 1 else "1 feature in the cache was damaged and is"
            print(f"WARNING: {what} computed again", file=sys.stderr)
        rows = {one.key: one.row for one in found.values() if one.row is not None}
        missing: dict[str, Path | None] = {}
        for path, one in found.items():
            if one.key not in rows:
                missing.setdefault(one.key, path)
        uses = Counter(found[path].key for path in paths)
        advance(sum(uses[key] for key in rows))
        kept = False
        with _mendable():
            for batch in self._encoded(missing, encoder):
                kept |= self._keep(folder, batch)
                rows |= batch
                advance(sum(uses[key] for key in batch))
        if kept:
            shrink(self._place, self._limit)
        vectors = [rows[found[path].key] for path in paths]
        return np.stack(vectors) if vectors else np.zeros((0, encoder.dim), dtype=np.float32)

    def text_embeddings(
        self,
        texts: Sequence[str],
        encoder: BioViLT,
        cache: Path,
        advance: Callable[[int], None] = lambda count: None,
    ) -> tuple[Features, NDArray[np.bool_]]:
        """BioViL-T's embeddings of texts, each distinct one computed once: [n, dim], and [n], which were truncated.

        Args:
            texts: Reports or prompts.
            encoder: Asked for the texts whose embeddings are not kept yet.
            cache: They are kept below it, by text, weights and dtype.
            advance: Told how many texts are done.

        Raises:
            UserError: The encoder's weights are not there, or an embedding is not finite.
        """

        def answer(missing: list[str]) -> list[dict[str, Any]]:
            rows, cut = encoder.text_embeddings(missing)
            if not rows.isfinite().all():
                raise UserError(f"{encoder.name} gives an embedding of a text that is not finite: check its weights")
            return [{"row": row, "cut": was} for row, was in zip(rows.tolist(), cut.tolist(), strict=True)]

        place = cache / "texts" / f"{encoder.name}-{encoder.digest[:16]}-{encoder.dtype}"
        answers = remembered(texts, answer, place, advance)
        rows = np.array([one["row"] for one in answers], dtype=np.float32).reshape(-1, encoder.dim)
        return rows, np.array([one["cut"] for one in answers], dtype=np.bool_)

    def _encoded(self, missing: Mapping[str, Path | None], encoder: Encoder) -> Iterator[dict[str, Features]]:
        """Features by key, a batch at a time; the next images are prepared in threads while the network works."""
        keys = iter(missing.items())
        prepared = ordered_map(
            lambda path: _prepared(path, encoder), missing.values(), ahead=encoder.batch_size + AHEAD
        )
        while batch := list(islice(keys, encoder.batch_size)):
            rows = encoder.embed(torch.stack(list(islice(prepared, len(batch))))).numpy()
            self.passes += len(batch)
            for (_, path), row in zip(batch, rows, strict=True):
                if not np.isfinite(row).all():
                    raise UserError(
                        f"{path or 'the black image'}: {encoder.name} gives a feature that is not finite: check its "
                        f"weights, or compute in float32"
                    )
            yield {key: row for (key, _), row in zip(batch, rows, strict=True)}

    def _keep(self, folder: Path, batch: Mapping[str, Features]) -> bool:
        """Write features down, and say whether one was written; a cache that takes none is no reason to stop."""
        kept = False
        try:
            for key, row in batch.items():
                write_entry(folder, key, row)
                kept = True
        except OSError as error:
            if self._writable:
                why = error.strerror or error
                print(f"WARNING: features cannot be kept in {self._place} ({why}): free space there", file=sys.stderr)
            self._writable = False
        return kept


def _look_up(paths: Sequence[Path | None], folder: Path, dim: int, cache: Path) -> dict[Path | None, _Found]:
    """What is kept of each file, hashed and read in threads."""

    def look(path: Path | None) -> _Found:
        key = BLACK if path is None else _digest(path, cache)
        try:
            return _Found(key, read_entry(folder, key, dim))
        except DamagedEntry:
            return _Found(key, None, damaged=True)

    return dict(zip(paths, ordered_map(look, paths), strict=True))


def _digest(path: Path, cache: Path) -> str:
    try:
        return digest_file(path, cache)
    except OSError:
        open_image(path)  # says what is wrong with the file; where nothing is, the cache could not be written to
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _prepared(path: Path | None, encoder: Encoder) -> Tensor:
    image = Image.new("RGB", (PUBLISHED_SIDE, PUBLISHED_SIDE)) if path is None else open_image(path)
    return encoder.prepare(image)


@contextmanager
def _mendable() -> Iterator[None]:
    """An image that cannot be read could be when the run began."""
    try:
        yield
    except UnreadableImage as error:
        raise UserError(f"{error}: restore it and score again") from error
