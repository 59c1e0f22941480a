"""Which tensor of weights.th is which parameter of ours, both ways.

The names are those that radgraph 0.1.18's modules give their own archives; not yet confirmed on a released one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from unix_bench.features.radgraph.network import SpanNetwork
from unix_bench.weights import TensorFile, check_tensors

# transformers before 4.31 kept the positions as a buffer, so that an old archive may hold them.
UNUSED = re.compile(r".*\.embeddings\.position_ids$")
DISTANCES = 10  # rows of the tables of distances that coreference and events would use

Shape = tuple[int, ...]


def load(network: SpanNetwork, path: Path) -> None:
    """Fill every parameter of the network from weights.th.

    Raises:
        UserError: The file cannot be read, or lacks a tensor, or holds one too many or of another shape; all named.
    """
    keys = {name: _key(name, network.archive.model_type) for name in network.state_dict()}
    expected = {keys[name]: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with TensorFile.open(path) as file:
        check_tensors(path, file.shapes, {**expected, **dict(_other_tasks(network))}, UNUSED)
        network.load_state_dict({name: file.read(key) for name, key in keys.items()})


def _key(parameter: str, model_type: str) -> str:
    entity = f"_ner._ner_scorers.{model_type}__ner_labels"
    promise = f"_relation._mention_pruners.{model_type}__relation_labels._scorer"
    for ours, theirs in {
        "encoder.": "_embedder.token_embedder_bert._matched_embedder.transformer_model.",
        "widths.": "_endpoint_span_extractor._span_width_embedding.",
        "entity.hidden.": f"{entity}.0._module._linear_layers.",
        "entity.out.": f"{entity}.1._module.",
        "promise.hidden.": f"{promise}.0._module._linear_layers.",
        "promise.out.": f"{promise}.1._module.",
        "relation.hidden.": f"_relation._relation_feedforwards.{model_type}__relation_labels._linear_layers.",
        "relation.out.": f"_relation._relation_scorers.{model_type}__relation_labels.",
    }.items():
        if parameter.startswith(ours):
            return theirs + parameter.removeprefix(ours)
    raise KeyError(parameter)


def _other_tasks(network: SpanNetwork) -> Iterator[tuple[str, Shape]]:
    """Tensors of coreference and events: every archive holds them, and entities and relations do not need them."""
    span, features, hidden = network.span_dim, network.archive.width_features, network.archive.hidden
    for task in ("_coref", "_events"):
        yield f"{task}._distance_embedding.weight", (DISTANCES, features)
    for name, dim, scorer in (
        ("_coref._antecedent_feedforward._module", 3 * span + features, "_coref._antecedent_scorer._module"),
        ("_coref._mention_pruner._scorer.0._module", span, "_coref._mention_pruner._scorer.1._module"),
    ):
        for n, (a, b) in enumerate(pairwise((dim, *hidden))):
            yield from _linear(f"{name}._linear_layers.{n}", a, b)
        yield from _linear(scorer, hidden[-1], 1)
    yield from _linear("_coref._f_network._linear_layers.0", 2 * span, span)


def _linear(name: str, dim: int, out: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, dim)
    yield f"{name}.bias", (out,)
