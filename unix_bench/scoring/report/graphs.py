"""RadGraph F1: the entities and relations of two reports as sets (Delbrouck et al., EMNLP Findings 2022).

The published code has an epsilon of 1e-10 in its denominators, which moves no value by more than that; ours, as the
radgraph package's, has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = ("simple", "partial", "complete")
Facts = set[tuple[object, ...]]


def radgraph_reward(
    predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
) -> dict[str, NDArray[np.float64]]:
    """F1, precision and recall of each pair of annotated reports; 0 where either has no entity.

    simple: an entity is its words and label. partial: with whether it has a relation. complete: each relation with
    the words of its target, in lower case; an entity without one as under simple. Under simple and partial case counts.

    Args:
        predictions: Annotations with `entities`: id -> `tokens`, `label`, `relations` [[label, id], ...].
        references: Likewise.

    Returns:
        Level -> [n, 3].

    Raises:
        ValueError: The lists differ in length.

    >>> heart = {"entities": {"1": {"tokens": "heart", "label": "Anatomy::definitely present", "relations": []}}}
    >>> radgraph_reward([heart], [heart])["partial"].tolist()
    [[1.0, 1.0, 1.0]]
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references")
    rewards = {}
    for level in LEVELS:
        pairs = zip(predictions, references, strict=True)
        rows = [_agreement(_facts(p["entities"], level), _facts(r["entities"], level)) for p, r in pairs]
        rewards[level] = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return rewards


def _facts(entities: Mapping[str, Mapping[str, Any]], level: str) -> Facts:
    facts: Facts = set()
    for entity in entities.values():
        words, label, relations = entity["tokens"], entity["label"], entity["relations"]
        if level == "partial":
            facts.add((words, label, bool(relations)))
        elif level == "complete" and relations:
            facts |= {(words.lower(), label, kind, entities[target]["tokens"].lower()) for kind, target in relations}
        else:
            facts.add((words, label))
    return facts


def _agreement(predicted: Facts, reference: Facts) -> tuple[float, float, float]:
    common = len(predicted & reference)
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / len(predicted), common / len(reference)
    return 2.0 * precision * recall / (precision + recall), precision, recall
