"""Nodes on a path and, between neighbours, panels integrated by stencils with their exact residuals. Pure arrays.

A panel [a, b] is integrated by the polynomial through 2, 3 or 4 neighbouring nodes. Because the integral of the slope
over a panel is F(b) - F(a) (fundamental theorem of calculus along the path; Sundararajan, Taly and Yan 2017,
proposition 1), a stencil's residual is its error in the score, not an estimate. The stencil with the smallest
residual wins: the idea of essentially non-oscillatory interpolation (Harten, Engquist, Osher and Chakravarthy 1987),
with an exact criterion in place of divided differences, keeps stencils from reaching across kinks.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Nodes of a stencil between two usable ends. Ours: 5 and more gained nothing on kinked nets and swing on them.
CLOSED_ORDERS = (2, 3, 4)
#: Nodes of a stencil for a panel whose one end has no finite slope: it extrapolates, so one order less.
OPEN_ORDERS = (1, 2, 3)
#: A stencil of one order more must leave a residual so many times smaller: on a kinked net a longer stencil's residual
#: is often small by luck, on a smooth one it is smaller by far more. Ours; figures in ARCHITECTURE.md, decision 3.
ORDER_ADVANTAGE = 2.0
#: The sum of |weights| over a stencil, in widths of its panel, from which it is refused: it reaches from narrow panels
#: into a wide one and amplifies rounding. Derived: 3.67 is the most on even nodes (open, 3 nodes); next to panels of
#: half the width a closed stencil of 4 has 2.33, of a quarter 5.27, and a jump's neighbours would reach 30 and more.
MOST_AMPLIFICATION = 4.0
#: Float32 rounding of a score or a slope, relative: 2^-24, times 8 for the sums inside a net (ours, seen on our nets).
FLOAT_NOISE = 8 * 2.0**-24
#: Tables of meshes up to so many nodes are kept for the next job with the same one: first rounds, mostly. Ours.
CACHED_NODES = 17


@dataclass(frozen=True, slots=True)
class Fit:
    """A mesh integrated. `weights`: one per node. Per panel: `residual` of the stencil chosen, `trapezoid_residual` of
    the shortest one, `noise`, the rounding below which a residual says nothing, and `indicator`, the error that the
    panel counts with; all in units of the score."""

    weights: Floats
    residual: Floats
    trapezoid_residual: Floats
    noise: Floats
    indicator: Floats

    @property
    def at_rounding(self) -> NDArray[np.bool_]:
        """Per panel, whether its residual is no more than rounding."""
        return np.abs(self.residual) <= self.noise


def fit(alpha: Floats, score: Floats, slope: Floats) -> Fit:
    """Integrate the slope over a mesh of ascending nodes from the path's start to its end.

    `alpha`, `score`, `slope`: shape (n,), n >= 3. A NaN slope is allowed at either end: the panel there is integrated
    by an open stencil, from its inner side.
    """
    usable = np.isfinite(slope)
    table = (_cached_table if len(alpha) <= CACHED_NODES else _last_table)(alpha.tobytes(), usable.tobytes())
    rise = np.diff(score)
    # Where a score passes through zero, the numbers inside the net that cancel there are as large as elsewhere.
    noise = FLOAT_NOISE * (2 * np.abs(score).max() + np.abs(rise))
    residual = table.rows @ np.where(usable, slope, 0.0) - rise[table.panel]
    key = np.maximum(np.abs(residual), noise[table.panel]) * table.price
    # Per panel the candidate with the least key; a stable sort leaves ties to the shortest, which stands first.
    order = np.lexsort((key, table.panel))
    chosen = order[np.searchsorted(table.panel[order], np.arange(len(rise)))]
    best, trapezoid = residual[chosen], residual[table.shortest]
    return Fit(table.rows[chosen].sum(axis=0), best, trapezoid, noise, indicator(best, trapezoid, noise))


def indicator(residual: Floats, trapezoid_residual: Floats, noise: Floats) -> Floats:
    """Error indicator per panel of a chosen stencil: the geometric mean of its residual and the trapezoid's.

    The chosen residual alone flatters itself, for it was chosen for being small; the trapezoid's alone asks for
    nodes that a smooth score does not need. Down at rounding the chosen one stands alone: no split can lower it.
    """
    size = np.abs(residual)
    return np.where(size <= noise, size, np.sqrt(size * np.abs(trapezoid_residual)))


@dataclass(frozen=True, slots=True)
class _Table:
    """All candidate stencils of a mesh of n nodes, the shortest of each panel first.

    `rows`: weights, shape (candidates, n); `panel`: the panel each one integrates; `price`: what its residual is
    multiplied by in the choice; `shortest`: per panel, the number of its shortest candidate.
    """

    rows: Floats
    panel: NDArray[np.intp]
    price: Floats
    shortest: NDArray[np.intp]


def _table(alpha_bytes: bytes, usable_bytes: bytes) -> _Table:
    """The candidates for the nodes `alpha` (float64), of which `usable` (bool) have a slope."""
    alpha = np.frombuffer(alpha_bytes)
    panels = len(alpha) - 1
    rows, panel, price = [], [], []
    for order, its_panels, nodes in _stencils(np.flatnonzero(np.frombuffer(usable_bytes, bool)), panels):
        weights = _interpolant_weights(alpha[nodes], alpha[its_panels], alpha[its_panels + 1])
        width = alpha[its_panels + 1] - alpha[its_panels]
        tame = np.abs(weights).sum(axis=1) <= MOST_AMPLIFICATION * width
        dense = np.zeros((int(tame.sum()), len(alpha)))
        np.put_along_axis(dense, nodes[tame], weights[tame], axis=1)
        rows.append(dense)
        panel.append(its_panels[tame])
        price.append(np.full(len(dense), ORDER_ADVANTAGE**order))
    all_panels = np.concatenate(panel)
    shortest = np.unique(all_panels, return_index=True)[1]
    return _Table(np.concatenate(rows), all_panels, np.concatenate(price), shortest)


#: The first mesh of every job and its half are the same; their tables are computed once. 1,024 take 15 MB at most.
_cached_table = lru_cache(maxsize=1024)(_table)
#: All targets of a job are fitted on one mesh, one after the other.
_last_table = lru_cache(maxsize=1)(_table)


def _stencils(usable: NDArray[np.intp], panels: int) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Candidate stencils, shortest first: (order, panel numbers (m,), node numbers (m, order)).

    `usable` holds the numbers of the nodes with a finite slope: all of them, or all but the first, the last or both.
    """
    count = len(usable)
    first_closed, last_closed = int(usable[0]), int(usable[-1])
    found = []
    for order in CLOSED_ORDERS:
        for shift in range(order - 1):
            # The panel between usable nodes p and p + 1, with `shift` nodes of the stencil to the left of p.
            p = np.arange(shift, count - order + shift + 1)
            if len(p):
                found.append((order, p + first_closed, usable[(p - shift)[:, None] + np.arange(order)]))
    for order in OPEN_ORDERS:
        if order > count:
            continue
        if first_closed == 1:
            found.append((order, np.array([0]), usable[None, :order]))
        if last_closed == panels - 1:
            found.append((order, np.array([panels - 1]), usable[None, count - order :]))
    return found


def _interpolant_weights(nodes: Floats, a: Floats, b: Floats) -> Floats:
    """Weights w, shape (m, k), with sum w f(nodes) = integral over [a, b] of the polynomial through the nodes.

    Solved in the panel's own coordinate t = (alpha - centre) / half-width, where the moments are known and the
    Vandermonde systems (k <= 4) are well conditioned.
    """
    k = nodes.shape[1]
    half = (b - a) / 2
    t = (nodes - ((a + b) / 2)[:, None]) / half[:, None]
    powers = np.arange(k)
    vandermonde = t[:, None, :] ** powers[None, :, None]
    moments = np.where(powers % 2 == 0, 2.0 / (powers + 1), 0.0)
    solved = np.linalg.solve(vandermonde, np.broadcast_to(moments[:, None], (len(nodes), k, 1)))
    return np.asarray(solved[:, :, 0] * half[:, None])


def every_other(slope: Floats) -> NDArray[np.intp]:
    """Numbers of every other node with a finite slope, and of both ends; empty where fewer than two have one."""
    usable = np.flatnonzero(np.isfinite(slope))[::2]
    return np.union1d(usable, [0, len(slope) - 1]) if len(usable) >= 2 else usable[:0]
