"""A released archive: where it lies, and what its configuration and vocabulary say.

It holds config.json, weights.th, and in vocabulary/ <model type>__ner_labels.txt and <model type>__relation_labels.txt.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unix_bench.errors import UserError, unknown_name
from unix_bench.weights import digest_file, made_once

MODEL_TYPES = ("radgraph", "radgraph-xl", "modern-radgraph-xl")
RELEASE = "0.1.18"  # of the package, whose cache has a folder of this name
WEIGHTS = "weights.th"
EMBEDDER = "model.embedder.token_embedders.bert"


@dataclass(frozen=True)
class Archive:
    """What an archive says about its model.

    Attributes:
        model_type: One of `MODEL_TYPES`; it decides how reports are cut into words.
        segment: Word pieces that the encoder reads at once, its two special ones included.
        span_width: Words of the longest span that is looked at.
        widths: Rows of the table of span widths, at least `span_width`.
        width_features: Length of a row of that table.
        hidden: Widths of the hidden layers of every scorer.
        spans_per_word: How many spans a report keeps for relations, for each of its words.
        entity_labels: Labels of a span; the first is empty and means no entity.
        relation_labels: Labels of an ordered pair of spans.
    """

    model_type: str
    segment: int
    span_width: int
    widths: int
    width_features: int
    hidden: tuple[int, ...]
    spans_per_word: float
    entity_labels: tuple[str, ...]
    relation_labels: tuple[str, ...]

    @classmethod
    def read(cls, directory: Path) -> Archive:
        """Read config.json and the vocabulary.

        Raises:
            UserError: A file or field is missing or malformed, or the model is one we cannot run; all named.
        """
        path = directory / "config.json"
        model_type = _model_type(directory)
        entities, relations = (_labels(directory / name) for name in _vocabulary(model_type))
        if not entities or entities[0]:
            raise UserError(f"{directory / _vocabulary(model_type)[0]} must begin with an empty line (no entity)")
        fields = _read(path)
        if _lookup(fields, "model.modules.coref.coref_prop") not in (None, 0):
            raise UserError(f"{path}: coref_prop is not 0, and spans informed by coreference are not supported")
        span_width, widths = (_count(fields, f"{part}.max_span_width", path) for part in ("dataset_reader", "model"))
        if span_width > widths:
            raise UserError(f"{path}: dataset_reader.max_span_width {span_width} exceeds model.max_span_width {widths}")
        segment = _count(fields, f"{EMBEDDER}.max_length", path)
        if segment < 3:
            raise UserError(f"{path}: {EMBEDDER}.max_length must leave room beside two special tokens, not {segment}")
        return cls(
            model_type=model_type,
            segment=segment,
            span_width=span_width,
            widths=widths,
            width_features=_count(fields, "model.feature_size", path),
            hidden=_hidden(fields, path),
            spans_per_word=_positive(fields, "model.modules.relation.spans_per_word", path),
            entity_labels=entities,
            relation_labels=relations,
        )


def encoder_name(directory: Path) -> str:
    """Which encoder an archive was trained with: a hub id or a path, as its config.json has it.

    Raises:
        UserError: config.json does not say it.
    """
    path = directory / "config.json"
    name = _lookup(_read(path), f"{EMBEDDER}.model_name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{path} lacks {EMBEDDER}.model_name: unpack the archive again")
    return name


def archive_digest(directory: Path, cache: Path) -> str:
    """sha256 over config.json, vocabulary and weights; big files are hashed once, noted in `cache`.

    Raises:
        UserError: The folder is not that of one model.
    """
    total = hashlib.sha256()
    for name in _files(_model_type(directory)):
        if not (directory / name).is_file():
            raise UserError(f"{directory} lacks {name}: unpack the archive again")
        total.update(f"{name} {digest_file(directory / name, cache)}\n".encode())
    return total.hexdigest()


def find_archive(folder: Path, model_type: str, cache: Path) -> Path:
    """The folder of an archive: the one given, or one below it as radgraph 0.1.18 lays out its own cache.

    Where only `<model type>.tar.gz` is there, it is unpacked once, below `cache`.

    Raises:
        UserError: The name is unknown, no archive is there, or it lacks a file; says which.
    """
    if model_type not in MODEL_TYPES:
        raise unknown_name("RadGraph model", model_type, MODEL_TYPES)
    roots = (folder, folder / RELEASE, folder / "radgraph" / RELEASE)
    places = (folder, *(root / model_type for root in roots))
    for place in places:
        if not _missing(place, model_type):
            return place
    for root in roots:
        if (packed := root / f"{model_type}.tar.gz").is_file():
            made = cache / "radgraph" / f"{model_type}-{digest_file(packed, cache)[:16]}"
            return made_once(made, lambda target, packed=packed: _unpack(packed, model_type, target))  # type: ignore[misc]
    # The fullest of the places is the one the user meant.
    nearest = min(places[1:] + places[:1], key=lambda place: len(_missing(place, model_type)))
    raise UserError(
        f"{nearest} lacks {', '.join(_missing(nearest, model_type))}: put the archive {model_type} of the RadGraph "
        f"release, unpacked or as {model_type}.tar.gz, into {folder}"
    )


def _unpack(packed: Path, model_type: str, target: Path) -> None:
    try:
        with tarfile.open(packed, "r:gz") as tar:
            tar.extractall(target, filter="data")  # no path leaves the target
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{packed} cannot be unpacked ({error}): copy or download it again") from error
    if missing := _missing(target, model_type):
        raise UserError(f"{packed} lacks {', '.join(missing)}: it is not the archive {model_type}")


def _vocabulary(model_type: str) -> tuple[str, str]:
    return f"vocabulary/{model_type}__ner_labels.txt", f"vocabulary/{model_type}__relation_labels.txt"


def _files(model_type: str) -> tuple[str, ...]:
    return ("config.json", *_vocabulary(model_type), WEIGHTS)


def _missing(place: Path, model_type: str) -> list[str]:
    return [name for name in _files(model_type) if not (place / name).is_file()]


def _model_type(directory: Path) -> str:
    """The model whose labels are in the vocabulary."""
    found = [name for name in MODEL_TYPES if (directory / _vocabulary(name)[0]).is_file()]
    if len(found) != 1:
        known = ", ".join(MODEL_TYPES)
        raise UserError(
            f"{directory}/vocabulary must hold the <model>__ner_labels.txt of one model of {known}, not of "
            f"{' and '.join(found) or 'none'}: see that it is an unpacked RadGraph archive"
        )
    return found[0]


def _labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): unpack the archive again") from error
    return tuple(line.removesuffix("\r") for line in lines)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): unpack the archive again") from error


def _lookup(fields: Any, name: str) -> Any:
    """The value under a dotted name; None where a step is missing."""
    for step in name.split("."):
        fields = fields.get(step) if isinstance(fields, dict) else None
    return fields


def _count(fields: Any, name: str, path: Path) -> int:
    value = _positive(fields, name, path)
    if not isinstance(value, int):
        raise UserError(f"{path}: {name} must be a whole number, not {value}")
    return value


def _positive(fields: Any, name: str, path: Path) -> float:
    value = _lookup(fields, name)
    if value is None:
        raise UserError(f"{path} lacks {name}: unpack the archive again")
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UserError(f"{path}: {name} must be a number above 0, not {value!r}")
    return value


def _hidden(fields: Any, path: Path) -> tuple[int, ...]:
    """One width for all hidden layers, or a list of them."""
    name = "model.feedforward_params"
    layers = _count(fields, f"{name}.num_layers", path)
    widths = _lookup(fields, f"{name}.hidden_dims")
    if isinstance(widths, list) and len(widths) == layers and all(type(width) is int and width > 0 for width in widths):
        return tuple(widths)
    if isinstance(widths, list):
        raise UserError(f"{path}: {name}.hidden_dims must be {layers} whole numbers above 0, not {widths}")
    return (_count(fields, f"{name}.hidden_dims", path),) * layers
