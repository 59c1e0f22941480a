"""Report metrics: ours against the library loops they replace, same values, processor time, in one run.

    python benchmarks/report_metrics.py FILE [--pairs 2365] [--repeats 5]

FILE is a `manifest.csv` with a column `report`, or JSONL with `report`, or with `findings` and `impression`.
Predictions are made from its reports by exchanging and dropping words, so that all texts differ. Each repeat runs both
sides in turn, each side first every other time, and our memory of sentence ends starts empty; the median of the ratios
is what to quote.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from transformers import BertConfig, BertModel

from unix_bench.features import CheXbert
from unix_bench.scoring.report import bleu, bleu_counts, corpus_bleu, rouge_l
from unix_bench.scoring.report.sentences import _holds_break, english
from unix_bench.scoring.statistics import Measure, approximate_randomisation

Texts = list[str]
Metric = Callable[[Texts, Texts], NDArray[np.float64]]

UNIX_WEIGHTS = ((1, 0, 0, 0), (0.5, 0.5, 0, 0), (0.33, 0.33, 0.33, 0), (0.25, 0.25, 0.25, 0.25))
EXCHANGED, DROPPED = 0.25, 0.05  # shares of the words


def read_reports(path: Path) -> Texts:
    """The distinct reports of a file, in its order."""
    with path.open(encoding="utf-8", newline="") as stream:
        if path.suffix == ".csv":
            reports = [row["report"] for row in csv.DictReader(stream)]
        else:
            rows = [json.loads(line) for line in stream if line.strip()]
            reports = [
                row.get("report") or " ".join(filter(None, map(row.get, ("findings", "impression")))) for row in rows
            ]
    return list(dict.fromkeys(report for report in reports if report.strip()))


def make_pairs(reports: Texts, count: int) -> tuple[Texts, Texts]:
    """Predictions and references, `count` of each: references beyond the reports at hand are changed ones too."""
    rng = random.Random(0)

    def changed(report: str) -> str:
        others = rng.choice(reports).split()
        words = [rng.choice(others) if rng.random() < EXCHANGED else word for word in report.split()]
        return " ".join(word for word in words if rng.random() >= DROPPED)

    references = [report if n < len(reports) else changed(report) for n, report in _cycled(reports, count)]
    return [changed(reference) for reference in references], references


def _cycled(reports: Texts, count: int) -> list[tuple[int, str]]:
    return [(n, reports[n % len(reports)]) for n in range(count)]


def nltk_bleu() -> Metric:
    """The loop of the published evaluation, Punkt loaded once."""
    tables, parameters = english(), PunktParameters()
    parameters.abbrev_types, parameters.collocations = set(tables.abbreviations), set(tables.collocations)
    parameters.sent_starters, parameters.ortho_context = set(tables.starters), defaultdict(int, tables.contexts)
    sentences, words = PunktSentenceTokenizer(parameters), NLTKWordTokenizer()
    smoothing = SmoothingFunction().method4

    def tokens(text: str) -> list[str]:
        return [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]

    def score(prediction: str, reference: str) -> list[float]:
        mine, theirs = tokens(prediction), [tokens(reference)]
        return [sentence_bleu(theirs, mine, weights, smoothing) if mine else np.nan for weights in UNIX_WEIGHTS]

    return lambda predictions, references: np.array(list(map(score, predictions, references)))


def rouge_score_l() -> Metric:
    """The loop over rouge-score's scorer."""
    scorer = RougeScorer(["rougeL"])
    return lambda predictions, references: np.array(
        [
            scorer.score(reference, prediction)["rougeL"].fmeasure
            for prediction, reference in zip(predictions, references, strict=True)
        ]
    )


def seconds(metric: Metric, pairs: tuple[Texts, Texts]) -> tuple[float, NDArray[np.float64]]:
    """Processor time of all threads, and the values."""
    _holds_break.cache_clear()
    start = time.process_time()
    values = metric(*pairs)
    return time.process_time() - start, values


def race(ours: Metric, theirs: Metric, pairs: tuple[Texts, Texts], repeats: int) -> dict[str, float]:
    """Median times and the median of the ratios of interleaved runs.

    Raises:
        AssertionError: The values differ by more than 1e-9.
    """
    times: list[tuple[float, float]] = []
    for repeat in range(repeats):
        sides = (ours, theirs) if repeat % 2 == 0 else (theirs, ours)
        first, second = (seconds(side, pairs) for side in sides)
        (mine, my_values), (other, other_values) = (first, second) if repeat % 2 == 0 else (second, first)
        np.testing.assert_allclose(my_values, other_values, rtol=0, atol=1e-9)
        times.append((mine, other))
    return {
        "ours_s": round(statistics.median(mine for mine, _ in times), 4),
        "theirs_s": round(statistics.median(other for _, other in times), 4),
        "theirs_over_ours": round(statistics.median(other / mine for mine, other in times), 2),
    }


def compare_bleu(pairs: tuple[Texts, Texts], repeats: int) -> dict[str, float]:
    """BLEU-1 to BLEU-4 with tokenisation: ours against nltk's tokeniser and four calls of `sentence_bleu` a pair."""
    return race(lambda predictions, references: bleu(predictions, references, "unix"), nltk_bleu(), pairs, repeats)


def compare_rouge_l(pairs: tuple[Texts, Texts], repeats: int) -> dict[str, float]:
    """ROUGE-L with tokenisation: ours against rouge-score's scorer."""
    return race(rouge_l, rouge_score_l(), pairs, repeats)


def random_chexbert(place: Path, texts: Texts, layers: int) -> CheXbert:
    """A CheXbert with random weights in the released files' layout, of BERT-base's width; it knows all words."""
    place.mkdir()
    config = BertConfig(num_hidden_layers=layers)
    config.save_pretrained(place)
    words = sorted({word for text in texts for word in re.findall(r"[a-z0-9]+|[^a-z0-9\s]", text.lower())})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (place / "vocab.txt").write_text("\n".join(vocabulary[: config.vocab_size]) + "\n", encoding="utf-8")
    torch.manual_seed(0)
    state = {f"module.bert.{name}": tensor for name, tensor in BertModel(config).state_dict().items()}
    for index in range(14):
        size = 2 if index == 13 else 4
        state[f"module.linear_heads.{index}.weight"] = torch.randn(size, config.hidden_size) * 0.02
        state[f"module.linear_heads.{index}.bias"] = torch.zeros(size)
    torch.save({"model_state_dict": state}, place / "chexbert.pth")
    return CheXbert(place / "chexbert.pth", place, place / "cache")


def compare_chexbert(pairs: tuple[Texts, Texts], layers: int) -> dict[str, float]:
    """Labels of all texts: our batches of like length against batches of 16 in the order of the file, same network."""
    texts = [*pairs[0], *pairs[1]]
    with TemporaryDirectory() as folder:
        model = random_chexbert(Path(folder) / "weights", texts, layers)
        network, tokenizer = model._network, model._tokenizer
        start = time.process_time()
        mine = model.label(texts)
        between = time.process_time()
        other = []
        with torch.inference_mode():
            for at in range(0, len(texts), 16):
                batch = tokenizer(
                    texts[at : at + 16], padding="longest", truncation=True, max_length=512, return_tensors="pt"
                )
                logits = network(batch["input_ids"], batch["attention_mask"])
                other.append(torch.stack([head.argmax(dim=-1) for head in logits], dim=-1).numpy())
        end = time.process_time()
        equal = float((mine == np.concatenate(other)).mean())
    return {
        "texts": len(texts),
        "layers": layers,
        "ours_s": round(between - start, 1),
        "theirs_s": round(end - between, 1),
        "theirs_over_ours": round((end - between) / (between - start), 2),
        "equal_labels": equal,
    }


def paired_corpus_bleu(pairs: tuple[Texts, Texts]) -> dict[str, float]:
    """Processor time of the paired test of corpus BLEU with 10,000 trials, counts in."""
    predictions, references = pairs
    others = [" ".join(text.split()[:-3]) for text in predictions]
    systems = [Measure(bleu_counts(side, references).astype(float), corpus_bleu) for side in (predictions, others)]
    start = time.process_time()
    p = approximate_randomisation(*systems, None, seed=0, trials=10_000)
    return {"seconds": round(time.process_time() - start, 3), "p": p}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--pairs", type=int, default=2365)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=1, help="of the random CheXbert; the real one has 12")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="nltk")
    pairs = make_pairs(read_reports(options.file), options.pairs)
    sides = {"predictions": pairs[0], "references": pairs[1]}
    results: dict[str, Any] = {
        "pairs": options.pairs,
        "distinct_texts": len({*pairs[0], *pairs[1]}),
        "words_a_text": {name: round(statistics.mean(len(t.split()) for t in side), 1) for name, side in sides.items()},
        "bleu": compare_bleu(pairs, options.repeats),
        "rouge_l": compare_rouge_l(pairs, options.repeats),
        "paired_corpus_bleu": paired_corpus_bleu(pairs),
        "chexbert": compare_chexbert(pairs, options.layers),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
