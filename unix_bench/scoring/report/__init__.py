"""Metrics of written reports: texts to numbers."""

from unix_bench.scoring.report.bleu import bleu
from unix_bench.scoring.report.rouge import ROUGE_TOKENISER, rouge_l
from unix_bench.scoring.report.tokens import TOKENISER

__all__ = ["ROUGE_TOKENISER", "TOKENISER", "bleu", "rouge_l"]
