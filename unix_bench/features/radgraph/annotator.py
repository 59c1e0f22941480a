"""Reports to annotations in the form of the Python package radgraph 0.1.18, which transformers 5 cannot run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from unix_bench.errors import UserError
from unix_bench.features.radgraph.archive import WEIGHTS, Archive, archive_digest
from unix_bench.features.radgraph.checkpoint import load
from unix_bench.features.radgraph.encoding import Tokeniser, embed, make_encoder
from unix_bench.features.radgraph.network import Graph, SpanNetwork
from unix_bench.features.radgraph.tokens import words

BATCH = 16


class RadGraph:
    """A loaded archive.

    Attributes:
        model_type: `radgraph`, `radgraph-xl` or `modern-radgraph-xl`.
        digest: sha256 over config.json, vocabulary and weights.
    """

    name = "radgraph"

    def __init__(self, network: SpanNetwork, tokeniser: Tokeniser, digest: str, device: torch.device) -> None:
        self.model_type = network.archive.model_type
        self.digest = digest
        self._network, self._tokeniser, self._device = network, tokeniser, device

    @classmethod
    def load(cls, directory: Path, encoder: Path | str, device: str = "cpu", cache: Path | None = None) -> RadGraph:
        """Load an unpacked archive, strictly, in float32.

        Args:
            directory: Folder with config.json, vocabulary/ and weights.th.
            encoder: Folder with config.json and vocabulary of the encoder that `encoder_name` names; its weights are
                in the archive.
            device: "cpu" or "cuda".
            cache: Where the digest of weights.th is noted; None: the file is hashed each time.

        Raises:
            UserError: A file is missing or does not fit the others; names the fields or tensors.
        """
        folder = Path(encoder)
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no config.json: copy it and the vocabulary of the archive's encoder there")
        archive = Archive.read(directory)
        if cache is None:
            with TemporaryDirectory() as scratch:
                digest = archive_digest(directory, Path(scratch))
        else:
            digest = archive_digest(directory, cache)
        tokeniser = Tokeniser(folder, archive.segment)
        body: Any = make_encoder(folder)
        rows = body.get_input_embeddings().num_embeddings
        if tokeniser.size > rows:
            raise UserError(
                f"{folder} has {tokeniser.size} vocabulary entries but {rows} in config.json: copy both anew"
            )
        network = SpanNetwork(archive, body, body.config.hidden_size)
        load(network, directory / WEIGHTS)
        where = torch.device(device)
        return cls(network.eval().to(where), tokeniser, digest, where)

    @torch.inference_mode()
    def annotate(
        self, texts: Sequence[str], batch_size: int = BATCH, advance: Callable[[int], None] = lambda count: None
    ) -> list[dict[str, Any]]:
        """Entities and relations of each report.

        Scores differ from the package's, and from one batch size or device to another, by float32 rounding (about
        1e-5 of their size); a label changes only where two scores are nearer than that. Like the package, an empty
        report is read as the word None, and one longer than the encoder reads is encoded in segments. Where the
        package fails, on white space alone, the annotation is empty.

        Args:
            texts: Reports; any text.
            batch_size: Segments that the encoder reads at once.
            advance: Told how many reports were annotated.

        Returns:
            A dictionary a report, in order: `text` (its words joined by spaces), `entities` ("1", "2", ... to
            `tokens`, `label`, `start_ix`, `end_ix` (inclusive) and `relations` [[label, entity], ...]), `data_source`
            (None) and `data_split` ("inference").
        """
        reports = [words(text, self.model_type) for text in texts]
        pieces = self._tokeniser.cut(reports)
        graphs = [Graph([], [])] * len(reports)
        # Reports of like length are read together, so that little is padding.
        order = sorted(range(len(reports)), key=lambda index: sum(pieces[index].lengths))
        advance(sum(not report for report in reports))
        order = [index for index in order if reports[index]]
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            vectors = embed(
                self._network.encoder,
                [pieces[index] for index in chosen],
                self._tokeniser.padding,
                batch_size,
                self._device,
            )
            for index, own in zip(chosen, vectors, strict=True):
                graphs[index] = self._network.graph(own)
            advance(len(chosen))
        return [self._annotation(report, graph) for report, graph in zip(reports, graphs, strict=True)]

    def _annotation(self, report: list[str], graph: Graph) -> dict[str, Any]:
        archive = self._network.archive
        numbers = {(start, end): str(n) for n, (start, end, _) in enumerate(graph.entities, start=1)}
        entities: dict[str, dict[str, Any]] = {
            numbers[start, end]: {
                "tokens": " ".join(report[start : end + 1]),
                "label": archive.entity_labels[label],
                "start_ix": start,
                "end_ix": end,
                "relations": [],
            }
            for start, end, label in graph.entities
        }
        for start, end, target_start, target_end, label in graph.relations:
            # A span may have relations without being an entity; such relations are not told.
            subject, target = numbers.get((start, end)), numbers.get((target_start, target_end))
            if subject is not None and target is not None:
                entities[subject]["relations"].append([archive.relation_labels[label], target])
        return {"text": " ".join(report), "entities": entities, "data_source": None, "data_split": "inference"}
