"""Metrics of written reports: texts, labels and graphs to numbers."""

from unix_bench.scoring.report.bleu import bleu, bleu_counts, corpus_bleu, sentence_bleu
from unix_bench.scoring.report.graphs import LEVELS, radgraph_reward
from unix_bench.scoring.report.labels import FINDING_KEYS, UNCERTAIN, chexbert_f1, f1_measures, positive
from unix_bench.scoring.report.protocols import Protocol
from unix_bench.scoring.report.rouge import ROUGE_TOKENISER, bootstrap_median, rouge_l
from unix_bench.scoring.report.tokens import TOKENISER

__all__ = [
    "FINDING_KEYS",
    "LEVELS",
    "ROUGE_TOKENISER",
    "TOKENISER",
    "UNCERTAIN",
    "Protocol",
    "bleu",
    "bleu_counts",
    "bootstrap_median",
    "chexbert_f1",
    "corpus_bleu",
    "f1_measures",
    "positive",
    "radgraph_reward",
    "rouge_l",
    "sentence_bleu",
]
