"""Precision, recall, density and coverage (Naeem et al., arXiv 2002.09797; Kynkaanniemi et al., 1904.06991)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from unix_bench.scoring.image.distances import Bounds, Integers, Tile, suited_bounds
from unix_bench.scoring.image.features import Matrix, Rows, as_rows_pair
from unix_bench.scoring.image.tiles import EDGE, cut, half_square, rectangle

MANY = 8  # times k + 1 candidates a row in a tile: the bound on the radius is loose and worth another partition
SAMPLE = 16  # a diagonal tile has at least this share of the rows, so that candidates stay in proportion to n


@dataclass(frozen=True)
class PRDC:
    """How two feature sets lie in each other's k-nearest-neighbour balls; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class PRDCSpread:
    """PRDC over repeated subsamples of one size: mean, and standard deviation between the subsamples."""

    mean: PRDC
    deviation: PRDC


def spread_of(drawn: Sequence[PRDC]) -> PRDCSpread:
    """Mean and standard deviation of two PRDC or more."""
    values = np.array([astuple(each) for each in drawn])
    return PRDCSpread(PRDC(*values.mean(axis=0).tolist()), PRDC(*values.std(axis=0, ddof=1).tolist()))


def prdc(real: Any, generated: Any, k: int = 5) -> PRDC:
    """A point lies in a ball when it is strictly nearer to the centre than the centre's k-th nearest neighbour.

    Args:
        real: [n, d], numpy or torch.
        generated: [m, d].
        k: Which neighbour, the point itself not counted, sets the radius.

    Raises:
        ValueError: NaN or Inf, n or m not above k, or unequal d.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 4))
    >>> prdc(x, x + 100.0)
    PRDC(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    x, y = as_rows_pair(real, generated, least=k + 1)
    x_radii = ball_radii(suited_bounds(x, x, k), k)
    y_radii = ball_radii(suited_bounds(y, y, k), k)
    return shares(suited_bounds(x, y, k), x_radii, y_radii, k)


def nearest_distances(generated: Any, references: Any) -> Matrix:
    """Euclidean distance of each generated image to its nearest reference, [n].

    A model that remembers its training images is nearer to them than to as many held-out images of other patients.

    Args:
        generated: [n, d], numpy or torch.
        references: [m, d]; more references are nearer by their number alone, so compare sets of one size.

    Raises:
        ValueError: NaN or Inf, no row, or unequal d.
    """
    x, y = as_rows_pair(generated, references, least=1)
    bounds = suited_bounds(x, y, 0)
    nearest = np.full(len(x), np.inf)
    for rows, columns in rectangle(len(x), len(y)):
        lower = bounds.lower(rows, columns)
        least = bounds.upper(lower, rows, columns).min(axis=1)
        limit = np.minimum(least, nearest[rows] / bounds.scale**2 * (1.0 + 1e-12))
        i, j = _below(lower, limit[:, None])
        i, j = i + rows.start, j + columns.start
        np.minimum.at(nearest, i, bounds.exact(i, j))
    found: Matrix = np.sqrt(nearest)
    return found


def ball_radii(bounds: Bounds, k: int) -> Matrix:
    """Squared distance of each row to its k-th nearest other row, [n].

    Args:
        bounds: Of a set with itself.
        k: 1 to n - 1.
    """
    n = len(bounds.x)
    edge = max(EDGE, 4 * (k + 1), -(-n // SAMPLE))
    parts = cut(n, edge)
    limits = np.concatenate([_tightened(bounds, bounds.lower(part, part), part, part, k) for part in parts])
    piled = _copies(bounds.x) > k  # at distance 0 from its k-th neighbour: blank images, a collapsed model
    limits[piled] = -np.inf
    pending: dict[int, list[tuple[Integers, Integers, Tile]]] = {part.start: [] for part in parts}
    radii = np.zeros(n)
    for rows, columns in half_square(n, edge):
        lower = bounds.lower(rows, columns)
        pending[rows.start].append(_candidates(bounds, lower, rows, columns, limits, k))
        if rows != columns:
            pending[columns.start].append(_candidates(bounds, lower.T, columns, rows, limits, k))
        if columns.stop == n:  # the tiles left of the diagonal were met in the rows above
            sought = rows.start + np.flatnonzero(~piled[rows])
            radii[sought] = _kth(bounds, pending.pop(rows.start), sought, k)
    return radii


def _copies(x: Rows) -> Integers:
    """How many rows of x [n, d] are equal to each row, itself counted, [n]."""
    digests = [blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in x]
    counts = Counter(digests)
    return np.array([counts[each] for each in digests])


def _tightened(bounds: Bounds, lower: Tile, rows: slice, columns: slice, k: int) -> Matrix:
    """Upper bounds on the radii of rows, [rows], from some of the columns; Inf where these are too few to tell."""
    if lower.shape[1] <= k:
        return np.full(len(lower), np.inf)
    limits: Matrix = np.partition(bounds.upper(lower, rows, columns), k, axis=1)[:, k]
    return limits


def _candidates(
    bounds: Bounds, lower: Tile, rows: slice, columns: slice, limits: Matrix, k: int
) -> tuple[Integers, Integers, Tile]:
    """Pairs that may be nearer than the radius: rows, columns and lower bounds; tightens `limits` where it pays."""
    i, j = _below(lower, limits[rows, None])
    if len(i) > MANY * (k + 1) * len(lower):
        limits[rows] = np.minimum(limits[rows], _tightened(bounds, lower, rows, columns, k))
        i, j = _below(lower, limits[rows, None])
    values = lower[i, j]
    return i + rows.start, j + columns.start, values


def _kth(bounds: Bounds, found: list[tuple[Integers, Integers, Tile]], sought: Integers, k: int) -> Matrix:
    """Exact k-th smallest squared distance of each sought row, the row itself the 0-th, from the pairs found for them.

    Args:
        bounds: Of a set with itself.
        found: Rows, columns and lower bounds of pairs.
        sought: [r] row numbers, ascending.
        k: Which neighbour.
    """
    i, j, lower = (np.concatenate(parts) for parts in zip(*found, strict=True))
    upper = lower + bounds.slack(i, j)
    order, starts = _by_row(i, upper, sought)
    near = lower <= upper[order[starts + k]][np.searchsorted(sought, i)]
    i, j = i[near], j[near]
    squares = bounds.exact(i, j)
    order, starts = _by_row(i, squares, sought)
    return squares[order[starts + k]]


def _by_row(i: Integers, values: Tile, sought: Integers) -> tuple[Integers, Integers]:
    """Order by row and then by value, and where each sought row begins in it."""
    return np.lexsort((values, i)), np.searchsorted(np.sort(i), sought)


def shares(bounds: Bounds, x_radii: Matrix, y_radii: Matrix, k: int) -> PRDC:
    """The four shares from the squared radii of both sides' balls, [n] and [m]."""
    n, m = len(x_radii), len(y_radii)
    in_any_real, in_any_generated = np.zeros(m, dtype=bool), np.zeros(n, dtype=bool)
    holds_generated = np.zeros(n, dtype=bool)
    pairs = 0
    for rows, columns in rectangle(n, m):
        lower = bounds.lower(rows, columns)
        i, j = _inside(bounds, lower, rows, columns, x_radii, of_columns=False)
        pairs += len(i)
        in_any_real[j] = True
        holds_generated[i] = True
        i, _ = _inside(bounds, lower, rows, columns, y_radii, of_columns=True)
        in_any_generated[i] = True
    return PRDC(
        precision=float(in_any_real.mean()),
        recall=float(in_any_generated.mean()),
        density=float(pairs / (k * m)),
        coverage=float(holds_generated.mean()),  # the nearest generated image lies inside where any does
    )


def _inside(
    bounds: Bounds, lower: Tile, rows: slice, columns: slice, radii: Matrix, of_columns: bool
) -> tuple[Integers, Integers]:
    """Pairs (i, j) of a tile at strictly less than the radius of i, or of j."""
    scaled = radii[columns][None, :] if of_columns else radii[rows][:, None]
    # Nothing is nearer than 0, and duplicates need not be looked at one by one.
    i, j = _below(lower, np.where(scaled > 0.0, scaled / bounds.scale**2, -np.inf))
    values = lower[i, j]
    i, j = i + rows.start, j + columns.start
    radius = radii[j] if of_columns else radii[i]
    inside = values + bounds.slack(i, j) < radius / bounds.scale**2 * (1.0 - 1e-12)
    unsure = np.flatnonzero(~inside)
    inside[unsure] = bounds.exact(i[unsure], j[unsure]) < radius[unsure]
    return i[inside], j[inside]


def _below(lower: Tile, limit: Matrix) -> tuple[Integers, Integers]:
    """Where lower bounds do not exceed a limit that is broadcast to them; the limit is rounded upwards."""
    rounded = np.nextafter((limit * (1.0 + 1e-12)).astype(lower.dtype), lower.dtype.type(np.inf))
    at = np.flatnonzero(lower <= rounded)
    return np.divmod(at, lower.shape[1])
