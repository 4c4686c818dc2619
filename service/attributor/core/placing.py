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
Indices = NDArray[np.intp]

#: Even points of a curve's first scores, both ends among them, and the most curves that get so many. Ours: 9 save
#: one gradient or so at most, in the mean of a net, for four more forward passes; ARCHITECTURE.md, decision 13.
SCANNED, MOST_SCANNED_CURVES = 5, 4
FEWEST_SCANNED = 3
#: A stretch with more than this share of the score's whole variation is looked at again, once. Ours: without it the
#: transformer's peaks, a fortieth of the path, stay unresolved.
LARGEST_SHARE = 1 / 4
#: Scores inside such a stretch; of many curves, in its middle only. All at once, in place of two halvings: a forward
#: pass more and a round less, which is what the answer of a small net waits for.
CLOSER_LOOKS, FEWEST_CLOSER_LOOKS = 3, 1


def closer_looks(n_scanned: int) -> int:
    """Scores inside a stretch that is looked at again, where so many scores were the first."""
    return CLOSER_LOOKS if n_scanned >= SCANNED else FEWEST_CLOSER_LOOKS


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
    """The scores known on one curve, per target, before any gradient. After each round of scores, `look_together`: then
    `wanted` says where more are wanted and, where none are, `placing` where the gradients are."""

    def __init__(self) -> None:
        #: Ascending alphas and their nodes' indexes, shape (scores,), and what was told there, shape (scores, targets).
        self.index: Indices = np.empty(0, np.intp)
        self.alpha: Floats = np.empty(0)
        self.scores: Floats = np.empty((0, 0))
        self.looked_closer = False
        #: Whether it was told of scores since it was last looked at.
        self.unseen = False
        self.wanted: list[float] = []
        self.placing = PLACINGS[0]

    def add(self, index: Indices, alpha: Floats, scores: Floats) -> None:
        """Take scores at nodes, shape (nodes, targets)."""
        self.unseen = True
        if len(self.alpha):
            index, alpha = np.concatenate([self.index, index]), np.concatenate([self.alpha, alpha])
            scores = np.concatenate([self.scores, scores])
        order = alpha.argsort()
        self.index, self.alpha, self.scores = index[order], alpha[order], scores[order]

    @property
    def ends(self) -> tuple[Indices, Floats, Floats]:
        """The first and the last node: indexes, alphas and scores."""
        return self.index[[0, -1]], self.alpha[[0, -1]], self.scores[[0, -1]]


def look_together(scans: Sequence[Scan]) -> None:
    """Settle what is wanted of each, many at once: scores inside stretches with too large a share of the variation, or
    else gradients at the nodes of a placing. What was settled stays: it may be called again where it raised."""
    alike: dict[tuple[int, ...], list[Scan]] = {}
    for scan in (each for each in scans if each.unseen):
        alike.setdefault(scan.scores.shape, []).append(scan)
    for group in alike.values():
        _look_alike(group)


def _look_alike(scans: list[Scan]) -> None:
    """At scans with equally many scores and targets."""
    rises = np.array([scan.scores for scan in scans])
    rises = np.abs(rises[:, 1:] - rises[:, :-1])
    total = rises.sum(axis=1, keepdims=True)
    # Per stretch and target, its share of the score's whole variation.
    share = np.divide(rises, total, out=np.zeros_like(rises), where=total > 0)
    large = share.max(axis=2) > LARGEST_SHARE
    ready = []
    for number, (scan, any_large) in enumerate(zip(scans, large.any(axis=1).tolist(), strict=True)):
        scan.wanted = []
        if any_large and not scan.looked_closer:
            at = large[number].nonzero()[0]
            width = scan.alpha[at + 1] - scan.alpha[at]
            parts = closer_looks(len(scan.alpha)) + 1
            scan.wanted = (scan.alpha[at, None] + width[:, None] * (np.arange(1, parts) / parts)).ravel().tolist()
            scan.looked_closer, scan.unseen = True, False
        else:
            ready.append(number)
    if ready:
        _place_alike([scans[number] for number in ready], (share[ready] ** 2).sum(axis=2))


def _place_alike(scans: list[Scan], squares: Floats) -> None:
    """Choose the placings whose nodes lie closest to where the scores change; `squares`, shape (scans, stretches): of
    the stretches' shares, added up over the targets.

    For shares p of the variation and q of the nodes, the error of a sum over nodes that fall at random is least
    where sum p^2 / q is (importance sampling); nodes on purpose need the same, as measured.
    """
    per_node = np.array([_inverse_node_shares(scan.alpha.tobytes()) for scan in scans])
    cost = (squares[:, None, :] @ per_node)[:, 0]
    best = np.rint(np.log2(np.maximum(cost, _LEAST_COST)) * TIES_PER_OCTAVE).argmin(axis=1).tolist()
    for scan, number in zip(scans, best, strict=True):
        scan.placing, scan.unseen = PLACINGS[number], False


#: Below any cost of scores that change: where none does, all placings cost this, and the first is taken.
_LEAST_COST = float(np.finfo(float).tiny)


@lru_cache(maxsize=256)
def _inverse_node_shares(edge_bytes: bytes) -> Floats:
    """One over the share of s between neighbouring alphas under each placing, shape (stretches, placings)."""
    edges = np.frombuffer(edge_bytes)
    centre = np.array([placing.centre for placing in PLACINGS[1:]])
    width = np.array([placing.width for placing in PLACINGS[1:]])
    u = np.arcsinh((edges[:, None] - centre) / width)
    mapped = (u - u[0]) / (u[-1] - u[0])
    return np.asarray(1 / np.diff(np.concatenate([edges[:, None], mapped], axis=1), axis=0))
