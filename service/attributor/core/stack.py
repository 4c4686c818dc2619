"""The first rounds of many alike integrations as one stack of arrays: what `AdaptiveIntegrator` would find of each.

Where a model is small, a pass over hundreds of points costs less than a look at the numbers of one integration. Knows
straight paths whose first nodes are spread evenly, in one target; most of them end here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh, spectral
from attributor.core.asks import Floats
from attributor.core.integrator import Tolerance


@dataclass(frozen=True, slots=True, eq=False)
class FirstRounds:
    """Per integration, in the order of those that were asked for: `weights` of the rule's nodes, shape (integrations,
    n), the `limits` of the completeness error, the `variations` of the score, and whether the tolerance is `met`: then
    an integrator would stop with these weights. `coarse_weights`: those of the rule on every other node, shape (n,)."""

    weights: Floats
    coarse_weights: Floats
    limits: Floats
    variations: Floats
    met: NDArray[np.bool_]


def first_rounds(rule: spectral.Rule, tolerance: Tolerance, scores: Floats, slopes: Floats) -> FirstRounds:
    """Integrate every row.

    `scores`: shape (integrations, n + 2), at both ends of the path and the rule's n nodes between; `slopes`: shape
    (integrations, n), at these. What is not finite meets no tolerance. Raises ValueError for a rule without
    `every_other`.
    """
    n_rows = len(scores)
    found = FirstRounds(
        np.zeros(slopes.shape), _coarse(rule), np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows, np.bool_)
    )
    finite = np.asarray(np.isfinite(scores).all(axis=1) & np.isfinite(slopes).all(axis=1))
    if finite.all():
        _fill(found, slice(None), rule, tolerance, scores, slopes)
    elif finite.any():
        _fill(found, finite, rule, tolerance, scores[finite], slopes[finite])
    return found


def _fill(
    found: FirstRounds,
    rows: slice | NDArray[np.bool_],
    rule: spectral.Rule,
    tolerance: Tolerance,
    scores: Floats,
    slopes: Floats,
) -> None:
    alpha = np.broadcast_to(np.array([0.0, *rule.alphas, 1.0]), scores.shape)
    open_ended = np.full(scores.shape, np.nan)  # no gradient is asked for at the ends
    open_ended[:, 1:-1] = slopes
    fit = spectral.fit_all([rule], scores, open_ended, mesh.fit_all(alpha, scores, open_ended))
    variations = np.abs(scores[:, 1:] - scores[:, :-1]).sum(axis=1)
    limits = tolerance.limits(scores[:, -1] - scores[:, 0], variations)
    found.weights[rows] = fit.weights[:, 1:-1]
    found.limits[rows], found.variations[rows] = limits, variations
    small = np.sqrt((fit.indicator**2).sum(axis=1)) <= limits
    found.met[rows] = small & (np.abs(fit.residual.sum(axis=1)) <= limits)


def _coarse(rule: spectral.Rule) -> Floats:
    halved = rule.every_other
    if halved is None:
        raise ValueError("every other node of this rule makes no rule. This is a bug.")
    weights = np.zeros(rule.n)
    weights[1::2] = halved.weights
    return weights
