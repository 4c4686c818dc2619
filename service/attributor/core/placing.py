"""Where on a curve the gradients are wanted: where a few scores, which cost no gradient, show that the score changes.

A score mostly changes on a small part of its path (the rest is saturated), and nodes spread evenly miss it. A placing
is a smooth map alpha(s) from [0, 1] onto the curve that goes slowly there, so that a quadrature in s has its nodes
there: the sinh transformation (Johnston and Elliott 2005), made for integrands that peak at a place of known width.
Knows neither gradients nor weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import asinh, inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Even points of a curve's first scores, both ends among them, and the most curves that get so many. Ours: 9 save
#: one gradient or so at most, in the mean of a net, for four more forward passes; ARCHITECTURE.md, decision 13.
SCANNED, MOST_SCANNED_CURVES = 5, 4
FEWEST_SCANNED = 3
#: A stretch with more than this share of the score's whole variation is halved, so often at most. Ours: without it the
#: transformer's peaks, a fortieth of the path, stay unresolved.
LARGEST_SHARE = 1 / 4
MOST_HALVINGS = 2
#: Placings to choose from: centres in steps of 1/32, widths by powers of two, each set of nodes a table kept for all
#: jobs. Ours: wider ones than 1/4 are hardly different from even nodes; the scan sees nothing narrower than 1/64.
CENTRES = 33
WIDTHS = (1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
#: Costs are compared in so many steps per factor of two: 1 % apart, far above float32 rounding. Ours.
TIES_PER_OCTAVE = 64


@dataclass(frozen=True)
class Placing:
    """alpha(s) = centre + width sinh(u(s)), u linear in s; an infinite width: alpha(s) = s."""

    centre: float = 0.5
    width: float = inf

    def alpha(self, s: Floats) -> Floats:
        """The curve's own parameter, rising from 0 to 1 as `s` does."""
        if self.width == inf:
            return s
        low, high = self._ends
        return np.asarray(self.centre + self.width * np.sinh(low + (high - low) * s))

    def speed(self, s: Floats) -> Floats:
        """d alpha / d s."""
        if self.width == inf:
            return np.ones_like(s)
        low, high = self._ends
        return np.asarray(self.width * (high - low) * np.cosh(low + (high - low) * s))

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return asinh(-self.centre / self.width), asinh((1 - self.centre) / self.width)


#: The even one first: of equal costs the first is taken.
PLACINGS = (Placing(), *(Placing(i / (CENTRES - 1), width) for width in WIDTHS for i in range(CENTRES)))


def first_scan(n_curves: int) -> tuple[float, ...]:
    """Where a curve's first scores are wanted, both ends included, if there are so many curves."""
    n = SCANNED if n_curves <= MOST_SCANNED_CURVES else FEWEST_SCANNED
    return tuple(i / (n - 1) for i in range(n))


class Scan:
    """The scores known on one curve, per target, before any gradient."""

    def __init__(self) -> None:
        self._scores: dict[float, Sequence[float]] = {}
        self._halvings = 0

    def add(self, alpha: float, scores: Sequence[float]) -> None:
        """Take a score per target."""
        self._scores[alpha] = scores

    def wanted(self) -> list[float]:
        """Where scores are still wanted: in the middle of stretches with too large a share of the variation."""
        if self._halvings == MOST_HALVINGS:
            return []
        self._halvings += 1
        edges, share = self._shares()
        return [float(edges[i] + edges[i + 1]) / 2 for i in np.flatnonzero(share.max(axis=0) > LARGEST_SHARE)]

    def placing(self) -> Placing:
        """The one whose nodes lie closest to where the scores change.

        For shares p of the variation and q of the nodes, the error of a sum over nodes that fall at random is least
        where sum p^2 / q is (importance sampling); nodes on purpose need the same, as measured.
        """
        edges, share = self._shares()
        if not share.any():
            return PLACINGS[0]
        cost = (share**2).sum(axis=0) @ (1 / _node_shares(edges.tobytes()))
        return PLACINGS[int(np.rint(np.log2(cost) * TIES_PER_OCTAVE).argmin())]

    def _shares(self) -> tuple[Floats, Floats]:
        """The stretches' edges, and per target each stretch's share of the variation."""
        edges = np.array(sorted(self._scores))
        rises = np.abs(np.diff(np.array([self._scores[alpha] for alpha in edges.tolist()]), axis=0)).T
        total = rises.sum(axis=1, keepdims=True)
        return edges, np.divide(rises, total, out=np.zeros_like(rises), where=total > 0)


@lru_cache(maxsize=256)
def _node_shares(edge_bytes: bytes) -> Floats:
    """The share of s between neighbouring alphas under each placing, shape (stretches, placings)."""
    edges = np.frombuffer(edge_bytes)
    centre = np.array([placing.centre for placing in PLACINGS[1:]])
    width = np.array([placing.width for placing in PLACINGS[1:]])
    u = np.arcsinh((edges[:, None] - centre) / width)
    mapped = (u - u[0]) / (u[-1] - u[0])
    return np.diff(np.concatenate([edges[:, None], mapped], axis=1), axis=0)
