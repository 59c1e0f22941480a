"""DyGIE++ (Wadden et al., EMNLP 2019) as RadGraph uses it.

Every short span is scored as an entity, and pairs of the most promising spans as relations. Its other tasks,
coreference and events, have no part in RadGraph's answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from unix_bench.features.radgraph.archive import Archive

PAIRS_AT_ONCE = 1 << 14  # bounds the memory that the relations of a long report take


@dataclass(frozen=True)
class Graph:
    """Entities and relations of a report, on the CPU.

    Attributes:
        entities: Rows (first word, last word, label) in the order of the spans.
        relations: Rows (first word, last word, first word, last word, label): subject, object.
    """

    entities: list[list[int]]
    relations: list[list[int]]


class Scorer(nn.Module):
    """Hidden layers with ReLU, then scores."""

    def __init__(self, dim: int, hidden: tuple[int, ...], scores: int) -> None:
        super().__init__()
        widths = (dim, *hidden)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.out = nn.Linear(widths[-1], scores)

    def forward(self, vectors: Tensor) -> Tensor:
        """[..., dim] to [..., scores]."""
        return self.after_first(self.hidden[0](vectors))

    def after_first(self, first: Tensor) -> Tensor:
        """What the first hidden layer gives before its ReLU, to scores."""
        vectors = torch.relu(first)
        for layer in list(self.hidden)[1:]:
            vectors = torch.relu(layer(vectors))
        scores: Tensor = self.out(vectors)
        return scores


class SpanNetwork(nn.Module):
    """The encoder, and the scorers of spans and of their pairs."""

    def __init__(self, archive: Archive, encoder: nn.Module, dim: int) -> None:
        """Build with random weights; `dim` is the length of the encoder's vectors."""
        super().__init__()
        self.archive = archive
        self.encoder = encoder
        self.span_dim = 2 * dim + archive.width_features
        self.widths = nn.Embedding(archive.widths, archive.width_features)
        self.entity = Scorer(self.span_dim, archive.hidden, len(archive.entity_labels) - 1)
        self.promise = Scorer(self.span_dim, archive.hidden, 1)
        self.relation = Scorer(3 * self.span_dim, archive.hidden, len(archive.relation_labels))

    def graph(self, words: Tensor) -> Graph:
        """Entities and relations of one report of at least one word; words [words, dim]."""
        spans = self._spans(len(words)).to(words.device)  # [spans, 2]
        starts, ends = spans.unbind(dim=1)
        vectors = torch.cat([words[starts], words[ends], self.widths(ends - starts)], dim=1)  # [spans, span_dim]
        labels = _with_none(self.entity(vectors)).argmax(dim=1)  # [spans]
        found = labels > 0
        entities = torch.cat([spans[found], labels[found, None]], dim=1)
        promise = self.promise(vectors).squeeze(1)  # [spans]
        kept = promise.topk(min(self._kept(len(words)), len(spans))).indices.sort().values
        return Graph(entities.tolist(), self._relations(spans[kept], vectors[kept], promise[kept]).tolist())

    def _spans(self, words: int) -> Tensor:
        """First and last word of every span, by its first word and then by its last: int64 [spans, 2]."""
        starts = torch.arange(words).repeat_interleave(self.archive.span_width)
        ends = starts + torch.arange(self.archive.span_width).repeat(words)
        return torch.stack([starts, ends], dim=1)[ends < words]

    def _kept(self, words: int) -> int:
        """How many spans may have relations; rounded up in float32, as the release computes it."""
        return max(1, math.ceil(float(torch.tensor(words, dtype=torch.float32) * self.archive.spans_per_word)))

    def _relations(self, spans: Tensor, vectors: Tensor, promise: Tensor) -> Tensor:
        """Rows of `Graph.relations` among n spans: spans [n, 2], vectors [n, span_dim], promise [n].

        A pair is scored by [subject, object, subject * object]. The first layer is linear in the three parts, so the
        first two are computed once a span instead of once a pair.
        """
        weight = self.relation.get_parameter("hidden.0.weight")  # [hidden, 3 * span_dim]
        as_subject, as_object, as_both = weight.split(self.span_dim, dim=1)
        subject = vectors @ as_subject.T + self.relation.get_parameter("hidden.0.bias")  # [n, hidden]
        target = vectors @ as_object.T  # [n, hidden]
        rows = []
        for start in range(0, len(spans), step := max(1, PAIRS_AT_ONCE // len(spans))):
            some = slice(start, start + step)
            product = (vectors[some, None] * vectors) @ as_both.T  # [some, n, hidden]
            scores = self.relation.after_first(subject[some, None] + target + product)  # [some, n, labels]
            labels = _with_none(scores + (promise[some, None] + promise)[..., None]).argmax(dim=2)  # [some, n]
            one, other = labels.nonzero(as_tuple=True)
            rows.append(torch.cat([spans[some][one], spans[other], labels[one, other, None] - 1], dim=1))
        return torch.cat(rows)


def _with_none(scores: Tensor) -> Tensor:
    """Scores with a first column of zeros, which stands for no label."""
    return nn.functional.pad(scores, (1, 0))
