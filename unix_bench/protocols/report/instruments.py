"""The labellers and graph extractors of the report protocols, found by the settings, or the reason why they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.errors import UserError
from unix_bench.execution import choose_device
from unix_bench.features import CheXbert, Rule14, remembered
from unix_bench.features.places import (
    BERT,
    CHECKPOINT,
    find_chexbert,
    find_radgraph,
    find_text_encoder,
    text_encoder_digest,
)
from unix_bench.features.radgraph import RadGraph, archive_digest, encoder_name, find_archive
from unix_bench.protocols.metered import Absent
from unix_bench.protocols.report.meters import GraphMeter, LabelMeter
from unix_bench.settings import PREFIX, Settings

Advance = Callable[[int], None]
NO_CHEXBERT = (
    f"CheXbert is not here: put {CHECKPOINT} of its release into chexbert/ and the configuration and vocabulary of "
    f"{BERT} into {BERT}/ below {PREFIX}WEIGHTS (`unix-bench doctor` says what is missing)"
)
NO_RADGRAPH = (
    f"RadGraph is not here: put the archive of its release into radgraph/ and the configuration and vocabulary of its "
    f"encoder beside it below {PREFIX}WEIGHTS (`unix-bench doctor` says what is missing)"
)
PUBLISHED_LENGTH = 512  # characters of a report that the published evaluation labels


def chexbert_meter(settings: Settings, as_published: bool = False) -> LabelMeter:
    """F1 by CheXbert.

    Args:
        settings: Where its weights are.
        as_published: Label the first 512 characters instead of 512 tokens, and none where they have more tokens.
    """
    text = f"first {PUBLISHED_LENGTH} characters" if as_published else "first 512 tokens"
    try:
        model = find_labeller(settings)
    except UserError as error:
        return LabelMeter(CheXbert.name, None, "", text, absent=Absent(NO_CHEXBERT, str(error)))

    def published(texts: Sequence[str], advance: Advance) -> NDArray[np.int8]:
        cut = [text[:PUBLISHED_LENGTH].strip().replace("\n", " ") for text in texts]
        return model.label(cut, truncate=False, advance=advance)

    def whole(texts: Sequence[str], advance: Advance) -> NDArray[np.int8]:
        return _blank_if_wordless(texts, model.label(texts, advance=advance))

    return LabelMeter(CheXbert.name, published if as_published else whole, model.digest, text)


def find_labeller(settings: Settings) -> CheXbert:
    """CheXbert as the settings place it, on the GPU if there is one.

    Raises:
        UserError: A file of it is not there; says where it is looked for.
    """
    return CheXbert(find_chexbert(settings), find_text_encoder(BERT, settings), settings.cache, choose_device("auto"))


def rule14_meter() -> LabelMeter:
    """F1 by the rules, which need no weights."""
    rules = Rule14()

    def label(texts: Sequence[str], advance: Advance) -> NDArray[np.int8]:
        labels = _blank_if_wordless(texts, rules.label(texts))
        advance(len(texts))
        return labels

    return LabelMeter(rules.name, label, rules.digest, "whole report")


def _blank_if_wordless(texts: Sequence[str], labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """A report without a word shows nothing, not even that there is no finding; a labeller would guess."""
    labels[[not any(map(str.isalnum, text)) for text in texts]] = 0
    return labels


def radgraph_meter(settings: Settings, model_type: str) -> GraphMeter:
    """RadGraph F1 with one of the released archives."""
    try:
        load, digest = find_annotator(settings, model_type)
    except UserError as error:
        return GraphMeter(model_type, None, "", absent=Absent(NO_RADGRAPH, str(error)))
    place = settings.cache / "graphs" / f"{model_type}-{digest[:16]}"

    def annotate(texts: Sequence[str], advance: Advance) -> list[dict[str, Any]]:
        graphs = remembered(texts, lambda missing: list(map(_compared, load().annotate(missing))), place, advance)
        # RadGraph reads an empty report as the word None.
        return [graph if text.strip() else {"entities": {}} for text, graph in zip(texts, graphs, strict=True)]

    return GraphMeter(model_type, annotate, digest)


def _compared(graph: dict[str, Any]) -> dict[str, Any]:
    """What is compared of a graph; the report itself has no place in the cache."""
    kept = ("tokens", "label", "relations")
    return {"entities": {n: {key: entity[key] for key in kept} for n, entity in graph["entities"].items()}}


def find_annotator(settings: Settings, model_type: str) -> tuple[Callable[[], RadGraph], str]:
    """What loads RadGraph when it is needed, and the digest of its weights and its encoder's vocabulary.

    Raises:
        UserError: A file of it is not there; says where it is looked for.
    """
    directory = find_archive(find_radgraph(settings, model_type), model_type, settings.cache)
    encoder = find_text_encoder(encoder_name(directory), settings, directory)
    parts = archive_digest(directory, settings.cache) + text_encoder_digest(encoder, settings.cache)

    @cache
    def load() -> RadGraph:
        return RadGraph.load(directory, encoder, choose_device("auto"), settings.cache)

    return load, hashlib.sha256(parts.encode()).hexdigest()
