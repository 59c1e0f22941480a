"""Many comparisons of rows of the same two feature sets, which share their dot products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unix_bench.scoring.image.distances import Bounds, error_of, suited_bounds
from unix_bench.scoring.image.features import Matrix, as_pair
from unix_bench.scoring.image.frechet import frechet_distance
from unix_bench.scoring.image.kernel import KernelEstimate, estimate, sum_between, sum_within
from unix_bench.scoring.image.kernel_sums import KernelSums, in_patient_order, summed
from unix_bench.scoring.image.neighbours import PRDC, PRDCSpread, ball_radii, shares, spread_of
from unix_bench.scoring.image.tiles import Dots, dots_among, dots_of, gram_matrix

BUDGET = 2 << 30  # bytes: three float64 matrices of 9,000 rows

Index = Sequence[int] | NDArray[Any] | None


class FeatureTable:
    """Real and generated features, asked about one set of rows after another: overall, and each pathology.

    All dot products are computed once and kept where they fit into a budget of memory; otherwise each question computes
    those of its own rows, a tile at a time. The answers are those of `frechet_distance`, `kernel_estimate`,
    `kernel_sums` and `prdc` on the chosen rows, to rounding.
    """

    def __init__(self, real: Any, generated: Any, budget: int = BUDGET) -> None:
        """Take the features; nothing is computed yet.

        Args:
            real: [n, d], numpy or torch.
            generated: [m, d].
            budget: Bytes that the dot products may take, 8 (n^2 + m^2 + n m).

        Raises:
            ValueError: NaN or Inf, no row, or unequal d.
        """
        self._real, self._generated = as_pair(real, generated, least=1)
        n, m = len(self._real), len(self._generated)
        self._kept = 8 * (n * n + m * m + n * m) <= budget

    @cached_property
    def _within_real(self) -> Matrix:
        return gram_matrix(self._real)

    @cached_property
    def _within_generated(self) -> Matrix:
        return gram_matrix(self._generated)

    @cached_property
    def _between(self) -> Matrix:
        return gram_matrix(self._real, self._generated)

    def fd(self, real_index: Index = None, generated_index: Index = None) -> float:
        """Frechet distance of chosen rows.

        Args:
            real_index: Row numbers or a mask [n]; None: all.
            generated_index: Row numbers or a mask [m]; None: all.

        Raises:
            ValueError: Fewer than two rows on a side.
        """
        rows, columns = self._chosen(real_index, generated_index, 2)
        return frechet_distance(self._real[rows], self._generated[columns])

    def kd(self, real_index: Index = None, generated_index: Index = None) -> KernelEstimate:
        """Kernel distance of chosen rows, and its standard error.

        Args:
            real_index: Row numbers or a mask [n]; None: all.
            generated_index: Row numbers or a mask [m]; None: all.

        Raises:
            ValueError: Fewer than two rows on a side.
        """
        rows, columns = self._chosen(real_index, generated_index, 2)
        xx, yy, xy = self._dots(rows, columns)
        n, m, d = len(rows), len(columns), self._real.shape[1]
        return estimate(sum_within(xx, n, d), sum_within(yy, m, d), sum_between(xy, n, m, d))

    def prdc(self, real_index: Index = None, generated_index: Index = None, k: int = 5) -> PRDC:
        """PRDC of chosen rows.

        Args:
            real_index: Row numbers or a mask [n]; None: all.
            generated_index: Row numbers or a mask [m]; None: all.
            k: Which neighbour sets the radius.

        Raises:
            ValueError: k below 1, or not more than k rows on a side.
        """
        if k < 1:
            raise ValueError(f"k must be 1 or more, not {k}")
        rows, columns = self._chosen(real_index, generated_index, k + 1)
        x, y = self._real[rows], self._generated[columns]
        if not self._kept:
            xx, yy, xy = suited_bounds(x, x, k), suited_bounds(y, y, k), suited_bounds(x, y, k)
        else:
            within_x, within_y, between = self._dots(rows, columns)
            x_norms, y_norms = self._within_real.diagonal()[rows], self._within_generated.diagonal()[columns]
            error = error_of(x.shape[1], np.float64)
            xx = Bounds(x, x, within_x, x_norms, x_norms, error)
            yy = Bounds(y, y, within_y, y_norms, y_norms, error)
            xy = Bounds(x, y, between, x_norms, y_norms, error)
        return shares(xy, ball_radii(xx, k), ball_radii(yy, k), k)

    def prdc_at(
        self,
        n: int,
        repeats: int,
        seed: int,
        real_index: Index = None,
        generated_index: Index = None,
        k: int = 5,
    ) -> PRDCSpread:
        """PRDC of subsamples of n of the chosen rows a side, since its values depend on n.

        Args:
            n: Rows of a subsample, above k.
            repeats: Subsamples, at least two; each drawn without replacement.
            seed: Of the subsamples.
            real_index: Row numbers or a mask [n]; None: all.
            generated_index: Row numbers or a mask [m]; None: all. Where as many are chosen as real ones, a subsample
                has the same places on both sides.
            k: Which neighbour sets the radius.

        Raises:
            ValueError: As `prdc`, n above the chosen rows or not above k, or fewer than two repeats.
        """
        rows, columns = self._chosen(real_index, generated_index, k + 1)
        most = min(len(rows), len(columns))
        if not k < n <= most:
            raise ValueError(f"n must lie between {k + 1} and the {most} rows, not {n}")
        if repeats < 2:
            raise ValueError(f"repeats must be 2 or more, not {repeats}")
        rng = np.random.default_rng(seed)
        drawn = []
        for _ in range(repeats):
            some = rng.choice(len(rows), n, replace=False)
            others = some if len(rows) == len(columns) else rng.choice(len(columns), n, replace=False)
            drawn.append(self.prdc(rows[some], columns[others], k))
        return spread_of(drawn)

    def kernel_sums(self, patients: Sequence[str] | None, index: Index = None) -> KernelSums:
        """Kernel distance of chosen rows and kernel values summed by patient, in one pass.

        Args:
            patients: [n] whose study real row i and generated row i are, all n of them; None: each stands for itself.
            index: Row numbers or a mask [n], the same on both sides; None: all.

        Raises:
            ValueError: Unequal numbers of rows, not one patient for each, or fewer than two chosen.
        """
        n, m = len(self._real), len(self._generated)
        named = n if patients is None else len(patients)
        if not n == m == named:
            raise ValueError(f"{n} real and {m} generated rows for {named} patients: they must be paired")
        rows, _ = self._chosen(index, index, 2)
        chosen = None if patients is None else np.asarray(patients, dtype=str)[rows].tolist()
        by_patient = in_patient_order(chosen, len(rows))
        rows = rows[by_patient.order]
        return summed(by_patient, *self._dots(rows, rows), self._real.shape[1])

    def _chosen(
        self, real_index: Index, generated_index: Index, least: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        rows = _row_numbers(real_index, len(self._real))
        columns = _row_numbers(generated_index, len(self._generated))
        for name, chosen in (("real", rows), ("generated", columns)):
            if len(chosen) < least:
                raise ValueError(f"{name} features need at least {least} rows, not {len(chosen)}")
        return rows, columns

    def _dots(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Dots, Dots, Dots]:
        """Dot products among the chosen real rows, among the generated, and between them."""
        if self._kept:
            return (
                dots_among(self._within_real, rows, rows),
                dots_among(self._within_generated, columns, columns),
                dots_among(self._between, rows, columns),
            )
        x, y = self._real[rows], self._generated[columns]
        return dots_of(x, x), dots_of(y, y), dots_of(x, y)


def _row_numbers(index: Index, n: int) -> NDArray[np.intp]:
    """Row numbers of an index; None: all n."""
    if index is None:
        return np.arange(n)
    chosen = np.asarray(index, dtype=None if len(index) else np.intp)
    numbers: NDArray[np.intp] = np.arange(n)[chosen]
    return numbers
