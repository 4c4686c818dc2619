"""The panels of several curves taken together: what is told of them, and what is read off them at the end.

Knows panels of curves; no tolerances, no budgets.
"""

from collections.abc import Sequence

import numpy as np

from attributor.core.asks import Asks, Floats, Known
from attributor.core.integrator import Check
from attributor.core.panels import CurvePanels
from attributor.core.placing import Scan


def add_scores(scans: Sequence[Scan], asks: Asks, scores: Floats) -> None:
    """Give each curve's scan its scores. `scores`: per ask and target."""
    nodes = asks.arrays
    told = scores[nodes.point]
    for number, scan in enumerate(scans):
        own = slice(None) if len(scans) == 1 else nodes.curve == number
        scan.add(nodes.index[own], nodes.alpha[own], told[own])


def add_told(curves: Sequence[CurvePanels], asks: Asks, scores: Floats, slopes: Floats) -> None:
    """Give each curve its nodes. `scores`: per ask; `slopes`: per node; both with an axis of targets."""
    nodes = asks.arrays
    if len(curves) == 1:
        curves[0].add(nodes.index, nodes.alpha, scores[nodes.point], slopes)
        return
    for number in np.unique(nodes.curve).tolist():
        own = nodes.curve == number
        curves[number].add(nodes.index[own], nodes.alpha[own], scores[nodes.point[own]], slopes[own])


def known(curves: Sequence[CurvePanels]) -> Known:
    """All nodes."""
    return Known(
        index=np.concatenate([curve.index for curve in curves]),
        curve=np.repeat(np.arange(len(curves)), [len(curve.alpha) for curve in curves]),
        alpha=np.concatenate([curve.alpha for curve in curves]),
        scores=np.concatenate([curve.score.T for curve in curves]),
        slopes=np.concatenate([curve.slope.T for curve in curves]),
    )


def weights_of(curves: Sequence[CurvePanels], n_targets: int) -> Check:
    """The weights of the last fit, and those of the rule on every other node."""
    weights, coarse_weights = [], []
    for target in range(n_targets):
        whole: dict[int, float] = {}
        coarse: dict[int, float] | None = {}
        for curve in curves:
            whole |= curve.weights(target)
            of_curve = curve.coarse_weights(target)
            coarse = None if coarse is None or of_curve is None else coarse | of_curve
        weights.append(whole)
        coarse_weights.append(coarse)
    return Check(tuple(weights), tuple(coarse_weights))
