"""The first rounds of many alike integrations as one stack of arrays: what `AdaptiveIntegrator` would find of each.

Where a model is small, a pass over hundreds of points costs less than a look at the numbers of one integration. Knows
straight paths whose first nodes are spread evenly, in one target; most of them end here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh, spectral
from attributor.core.asks import Floats, Indices
from attributor.core.integrator import Tolerance


@dataclass(frozen=True, slots=True, eq=False)
class FirstRounds:
    """Per integration, in the order of those that were asked for: `weights` of the rule's nodes, shape (integrations,
    n), the `limits` of the completeness error, the `variations` of the score, and whether the tolerance is `met`: then
    an integrator would stop with these weights; `open`: whether more nodes may help where it is not. `coarse_weights`:
    those of the rule on every other node, shape (n,)."""

    weights: Floats
    coarse_weights: Floats
    limits: Floats
    variations: Floats
    met: NDArray[np.bool_]
    open: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class StackVectors:
    """The vectors of a stack's nodes: per input, shape (rows, nodes, *input shape), float32."""

    by_input: Mapping[str, NDArray[np.float32]]

    def sums(self, rows: Indices, weights: Floats) -> Mapping[str, Floats]:
        """Weighted sums over the nodes of some rows, per input, shape (rows, *input shape), float64. `weights`: shape
        (rows, nodes), or (nodes,) for all."""
        found = {}
        for name, kept in self.by_input.items():
            own = kept if len(rows) == len(kept) else kept[rows]
            flat = own.reshape(*own.shape[:2], -1)
            found[name] = (weights[..., None, :] @ flat).reshape(len(own), *kept.shape[2:])
        return found

    def refined(self, rows: Indices, between: "StackVectors") -> "StackVectors":
        """Those of some rows, with those of the nodes around and between theirs."""
        others = between.by_input
        return StackVectors({name: interleaved(kept[rows], others[name]) for name, kept in self.by_input.items()})


def interleaved(inner: NDArray[Any], outer: NDArray[Any]) -> NDArray[Any]:
    """Nodes in their order, along the second axis: those of a rule and the ones that the next rule has around them."""
    both = np.empty((len(inner), inner.shape[1] + outer.shape[1], *inner.shape[2:]), inner.dtype)
    both[:, 1::2], both[:, ::2] = inner, outer
    return both


def first_rounds(rule: spectral.Rule, tolerance: Tolerance, scores: Floats, slopes: Floats) -> FirstRounds:
    """Integrate every row.

    `scores`: shape (integrations, n + 2), at both ends of the path and the rule's n nodes between; `slopes`: shape
    (integrations, n), at these. What is not finite meets no tolerance. Raises ValueError for a rule without
    `every_other`.
    """
    are_finite = np.isfinite(scores), np.isfinite(slopes)
    if all(each.all() for each in are_finite):
        return _of_finite(rule, tolerance, scores, slopes)
    numbers, flags = (np.zeros((2, len(scores)), kind) for kind in (np.float64, np.bool_))
    found = FirstRounds(np.zeros(slopes.shape), rule.coarse_weights, *numbers, *flags)
    rows = np.flatnonzero(are_finite[0].all(axis=1) & are_finite[1].all(axis=1))
    if len(rows):
        fine = _of_finite(rule, tolerance, scores[rows], slopes[rows])
        found.weights[rows], found.limits[rows], found.variations[rows] = fine.weights, fine.limits, fine.variations
        found.met[rows], found.open[rows] = fine.met, fine.open
    return found


def _of_finite(rule: spectral.Rule, tolerance: Tolerance, scores: Floats, slopes: Floats) -> FirstRounds:
    open_ended = np.full(scores.shape, np.nan)  # no gradient is asked for at the ends
    open_ended[:, 1:-1] = slopes
    fit = spectral.fit_all([rule], scores, open_ended, mesh.fit_all(rule.with_ends, scores, open_ended))
    variations = np.abs(scores[:, 1:] - scores[:, :-1]).sum(axis=1)
    limits = tolerance.limits(scores[:, -1] - scores[:, 0], variations)
    total = np.sqrt((fit.indicator**2).sum(axis=1))
    met = np.asarray((total <= limits) & (np.abs(fit.residual.sum(axis=1)) <= limits))
    left = ~met
    if left.any():
        left &= _may_help(fit, total, limits)
    # In rows of their own, as sums are taken over them.
    weights = np.ascontiguousarray(fit.weights[:, 1:-1])
    return FirstRounds(weights, rule.coarse_weights, limits, variations, met, left)


def _may_help(fit: mesh.Fit, total: Floats, limits: Floats) -> NDArray[np.bool_]:
    """Whether `choosing.for_completeness` would split anything of such a mesh, in which no panel is narrow."""
    reach = np.sqrt((np.where(fit.at_rounding, 0.0, fit.indicator) ** 2).sum(axis=1))
    rest_is_fine = (total**2 - reach**2 > limits**2) & (reach <= limits)
    return np.asarray((reach > np.sqrt((fit.noise**2).sum(axis=1))) & ~rest_is_fine)
