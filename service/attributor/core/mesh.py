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


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Meshes integrated; arrays of one mesh, or with an axis of meshes in front. `weights`: one per node. Per panel:
    `residual` of the stencil chosen, `trapezoid_residual` of the shortest one, `noise`, the rounding below which a
    residual says nothing, and `indicator`, the error that the panel counts with; all in units of the score."""

    weights: Floats
    residual: Floats
    trapezoid_residual: Floats
    noise: Floats
    indicator: Floats

    def of(self, number: int) -> "Fit":
        """That of one of several meshes."""
        return Fit(
            self.weights[number],
            self.residual[number],
            self.trapezoid_residual[number],
            self.noise[number],
            self.indicator[number],
        )

    @property
    def at_rounding(self) -> NDArray[np.bool_]:
        """Per panel, whether its residual is no more than rounding."""
        return np.abs(self.residual) <= self.noise


def fit(alpha: Floats, score: Floats, slope: Floats, sealed: NDArray[np.bool_] | None = None) -> Fit:
    """`fit_all` for one mesh: arrays of shape (n,)."""
    return fit_all(alpha[None], score[None], slope[None], None if sealed is None else sealed[None]).of(0)


def fit_all(alpha: Floats, score: Floats, slope: Floats, sealed: NDArray[np.bool_] | None = None) -> Fit:
    """Integrate slopes over meshes of ascending nodes, each from its path's start to its end.

    `alpha`, `score`, `slope`: shape (meshes, n), n >= 3; an `alpha` of shape (n,) is that of all. A NaN slope is
    allowed at either end, the same of all meshes: the panel there is integrated by an open stencil, from its inner
    side. `sealed`, shape (meshes, panels): panels that no stencil reaches into and that are in no weight; what is
    found there means nothing.
    """
    rows, best, trapezoid, noise = _fitted(alpha, score, slope, sealed)
    return Fit(rows.sum(axis=1), best, trapezoid, noise, indicator(best, trapezoid, noise))


def panel_rows(alpha: Floats, score: Floats, slope: Floats, sealed: NDArray[np.bool_] | None = None) -> Floats:
    """What `fit_all` adds up to the weights of one mesh: those of each panel's stencil, shape (panels, n)."""
    rows, _, _, _ = _fitted(alpha[None], score[None], slope[None], None if sealed is None else sealed[None])
    return np.asarray(rows[0])


def _fitted(
    alpha: Floats, score: Floats, slope: Floats, sealed: NDArray[np.bool_] | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each panel's chosen stencil the weights, shape (meshes, panels, n), and the residual; the shortest one's
    residual; the noise."""
    usable = np.isfinite(slope[0])
    shape = _shape(alpha.shape[-1], usable.tobytes())
    if alpha.ndim == 1:
        tables = [_shared_table(alpha.tobytes(), usable.tobytes())]
    else:
        tables = [_table_of(nodes, usable) for nodes in alpha]
    rows = _stacked([table.rows for table in tables])
    price = _stacked([table.price for table in tables])
    if sealed is not None:
        price = np.where(_reaches_into(sealed, shape), np.inf, price)
    rise = score[:, 1:] - score[:, :-1]
    # Where a score passes through zero, the numbers inside the net that cancel there are as large as elsewhere.
    noise = FLOAT_NOISE * (2 * np.abs(score).max(axis=1, keepdims=True) + np.abs(rise))
    if not usable.all():
        slope = np.where(usable, slope, 0.0)
    residual = (rows @ slope[:, :, None])[:, :, 0] - rise[:, shape.panel]
    key = np.maximum(np.abs(residual), noise[:, shape.panel])
    with np.errstate(invalid="ignore"):  # zero times an infinite price
        key *= price
    np.fmin(key, np.inf, out=key)  # which is then no number
    # Per panel the candidate with the least key; of equals the first, which is the shortest.
    place = key[:, shape.candidates].argmin(axis=2)
    chosen = shape.candidates[shape.panels, place]
    mesh = np.arange(len(chosen))[:, None]
    best, trapezoid = residual[mesh, chosen], residual[:, shape.shortest]
    of_panels = rows[0][chosen] if len(rows) == 1 else rows[mesh, chosen]
    if sealed is not None:
        of_panels[sealed] = 0.0
    return of_panels, best, trapezoid, noise


def _reaches_into(sealed: NDArray[np.bool_], shape: "_Shape") -> NDArray[np.bool_]:
    """Which candidates have a sealed panel between their first and their last place, shape (meshes, candidates)."""
    before = np.concatenate([np.zeros((len(sealed), 1), np.intp), sealed.cumsum(axis=1)], axis=1)
    return np.asarray(before[:, shape.last] > before[:, shape.first])


def _table_of(alpha: Floats, usable: NDArray[np.bool_]) -> "_Table":
    return (_cached_table if len(alpha) <= CACHED_NODES else _last_table)(alpha.tobytes(), usable.tobytes())


def _stacked(arrays: list[Floats]) -> Floats:
    """With an axis in front; of one, without a copy."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def indicator(residual: Floats, trapezoid_residual: Floats, noise: Floats) -> Floats:
    """Error indicator per panel of a chosen stencil: the geometric mean of its residual and the trapezoid's.

    The chosen residual alone flatters itself, for it was chosen for being small; the trapezoid's alone asks for
    nodes that a smooth score does not need. Down at rounding the chosen one stands alone: no split can lower it.
    """
    size = np.abs(residual)
    return np.where(size <= noise, size, np.sqrt(size * np.abs(trapezoid_residual)))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is the same for all meshes of n nodes: the candidate stencils, the shortest of each panel first.

    `orders`: the candidates by their order, with their numbers, panels (m,) and nodes (m, order); `panel`: the
    panel that each candidate integrates; `panels`: the numbers of all; `candidates`: those of each panel, shape
    (panels, most), filled up with its shortest one; `shortest`: per panel, that one. `first`, `last`: the outermost
    of each candidate's nodes and its panel's ends.
    """

    orders: list[tuple[int, NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]
    panel: NDArray[np.intp]
    panels: NDArray[np.intp]
    candidates: NDArray[np.intp]
    shortest: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


@lru_cache(maxsize=128)  # 3 MB where the meshes have some fifty nodes
def _shape(n: int, usable_bytes: bytes) -> _Shape:
    stencils = _stencils(np.flatnonzero(np.frombuffer(usable_bytes, bool)), n - 1)
    panel = np.concatenate([its_panels for _, its_panels, _ in stencils])
    of_each = [np.flatnonzero(panel == number) for number in range(n - 1)]
    most = max(map(len, of_each))
    candidates = np.array([[*own, *own[:1].repeat(most - len(own))] for own in of_each], np.intp)
    first = np.minimum(np.concatenate([nodes[:, 0] for _, _, nodes in stencils]), panel)
    last = np.maximum(np.concatenate([nodes[:, -1] for _, _, nodes in stencils]), panel + 1)
    order_of = np.concatenate([np.full(len(nodes), order) for order, _, nodes in stencils])
    orders = []
    for order in sorted({order for order, _, _ in stencils}):
        numbers = np.flatnonzero(order_of == order)
        orders.append((order, numbers, panel[numbers], np.concatenate([n for each, _, n in stencils if each == order])))
    return _Shape(orders, panel, np.arange(n - 1), candidates, candidates[:, 0].copy(), first, last)


@dataclass(frozen=True, slots=True)
class _Table:
    """The candidates of a mesh: `rows`, their weights, shape (candidates, n), and `price`, what each one's residual is
    multiplied by in the choice, infinite for one that amplifies too much."""

    rows: Floats
    price: Floats


def _table(alpha_bytes: bytes, usable_bytes: bytes) -> _Table:
    """The candidates for the nodes `alpha` (float64), of which `usable` (bool) have a slope."""
    alpha = np.frombuffer(alpha_bytes)
    shape = _shape(len(alpha), usable_bytes)
    rows, price = np.zeros((len(shape.panel), len(alpha))), np.empty(len(shape.panel))
    for order, numbers, its_panels, nodes in shape.orders:
        weights = _interpolant_weights(alpha[nodes], alpha[its_panels], alpha[its_panels + 1])
        width = alpha[its_panels + 1] - alpha[its_panels]
        tame = np.abs(weights).sum(axis=1) <= MOST_AMPLIFICATION * width
        rows[numbers[:, None], nodes] = np.where(tame[:, None], weights, 0.0)
        price[numbers] = np.where(tame, ORDER_ADVANTAGE**order, np.inf)
    return _Table(rows, price)


#: The first mesh of every job and its half are the same; their tables are computed once. 512 take 8 MB at most.
_cached_table = lru_cache(maxsize=512)(_table)
#: Meshes that many jobs share, of any size: 32 take 3 MB at the nodes of a tolerance of 0.1 %.
_shared_table = lru_cache(maxsize=32)(_table)
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
