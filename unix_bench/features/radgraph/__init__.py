"""RadGraph: entities and relations of a report (Jain et al., NeurIPS Datasets 2021; XL: Delbrouck et al., ACL 2024).

archive.py finds a released archive and reads what it says of its model; tokens.py cuts a report into words, encoding.py
makes vectors of them, network.py (DyGIE++) scores spans and their pairs; checkpoint.py says which tensor of weights.th
is which parameter; annotator.py puts them together.
"""

from unix_bench.features.radgraph.annotator import RadGraph
from unix_bench.features.radgraph.archive import MODEL_TYPES, archive_digest, encoder_name, find_archive

__all__ = ["MODEL_TYPES", "RadGraph", "archive_digest", "encoder_name", "find_archive"]
