"""Alignment of images with texts: the cosine of their embeddings, pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np

from unix_bench.scoring.image.features import Matrix, as_matrix


def cosine_similarity(images: Any, texts: Any) -> Matrix:
    """Cosine of the angle between each image's embedding and its text's, [n] in [-1, 1].

    Args:
        images: [n, d], numpy or torch; need not have length 1.
        texts: [n, d], row i for image i.

    Raises:
        ValueError: NaN or Inf, unequal shapes, or an embedding of length 0, which has no direction.

    >>> cosine_similarity([[3.0, 0.0], [1.0, 1.0]], [[5.0, 0.0], [1.0, -1.0]]).tolist()
    [1.0, 0.0]
    """
    left, right = _directions(images, "image"), _directions(texts, "text")
    if left.shape != right.shape:
        raise ValueError(f"image embeddings are {list(left.shape)}, text embeddings {list(right.shape)}")
    cosines: Matrix = np.clip(np.einsum("nd,nd->n", left, right), -1.0, 1.0)
    return cosines


def _directions(embeddings: Any, name: str) -> Matrix:
    rows = as_matrix(embeddings, name, least=1)
    # Scaled by its largest entry first, so that no square under- or overflows.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if (largest == 0.0).any():
        raise ValueError(f"{name} embedding {int(np.argmin(largest))} is zero and has no direction")
    scaled = rows / largest
    units: Matrix = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return units
