"""Principal components, so that a Frechet distance needs fewer images than the encoder has columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unix_bench.scoring.image.features import Matrix, as_matrix
from unix_bench.scoring.image.frechet import fit_gaussian


@dataclass(frozen=True, eq=False)
class Projection:
    """A map to principal components.

    Attributes:
        mean: [d] of the set it was fitted on.
        axes: [d, c] orthonormal columns, largest variance first.
    """

    mean: Matrix
    axes: Matrix

    def __call__(self, features: Any) -> Matrix:
        """[n, c] coordinates of features [n, d], numpy or torch.

        Raises:
            ValueError: NaN or Inf, or another d than it was fitted on.
        """
        rows = as_matrix(features, "image", least=1)
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"features have {rows.shape[1]} columns, the projection was fitted on {len(self.mean)}")
        projected: Matrix = (rows - self.mean) @ self.axes
        return projected


def pca(training: Any, components: int) -> Projection:
    """Fit principal components, on training images so that neither compared set chooses them.

    Args:
        training: [n, d], numpy or torch.
        components: How many axes to keep.

    Raises:
        ValueError: NaN or Inf, fewer than two rows, or more components than min(n - 1, d).

    >>> import numpy as np
    >>> line = np.outer(np.arange(10.0), [3.0, 4.0])
    >>> np.abs(pca(line, 1).axes[:, 0]).round(6).tolist()
    [0.6, 0.8]
    """
    fitted = fit_gaussian(training)
    most = min(fitted.n - 1, len(fitted.mean))
    if not 1 <= components <= most:
        raise ValueError(f"components must lie between 1 and {most} for {fitted.n} rows, not {components}")
    axes = np.linalg.svd(fitted.root, full_matrices=False).Vh
    return Projection(fitted.mean, axes[:components].T)
