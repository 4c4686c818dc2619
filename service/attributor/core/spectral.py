"""One polynomial through all nodes of a curve, in the coordinate of its placing. Pure arrays.

Fejer's second rule (Fejer 1933; Waldvogel 2006): its n nodes are even in angle, leave out both ends, and are among the
2 n + 1 of the next one, so nothing is wasted by refining. On smooth scores it converges as Gauss's rules do.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh
from attributor.core.placing import Placing

Floats = NDArray[np.float64]

#: Neighbouring panels whose residuals are added before their size counts: the interpolant's errors alternate from panel
#: to panel and cancel in the integral; taken singly they overstate it tenfold. Ours; ARCHITECTURE.md, decision 13.
JUDGED_TOGETHER = 2
#: Where more panels would be judged than so many stretches, more of them are taken together.
STRETCHES = 5


def nodes(n: int) -> Floats:
    """The n nodes, ascending in (0, 1)."""
    return np.asarray((1 - np.cos(np.pi * np.arange(1, n + 1) / (n + 1))) / 2)


@lru_cache(maxsize=1024)
def alphas(n: int, placing: Placing) -> tuple[float, ...]:
    """The n nodes on the curve."""
    return tuple(placing.alpha(nodes(n)).tolist())


@lru_cache(maxsize=1024)
def rows(n: int, placing: Placing) -> Floats:
    """Weights of the nodes' slopes in the integral over each of the n + 1 panels between 0, the nodes and 1.

    The interpolant of f is a sum of Chebyshev polynomials U_m of the second kind, whose coefficients are sine sums of
    f sin(angle), and the integral of U_(m-1) is T_m / m. Each row is scaled such that constants are exact on its panel.
    """
    angle = np.pi * np.arange(n + 2) / (n + 1)
    m = np.arange(1, n + 1)
    integrals = -np.diff(np.cos(np.outer(angle, m)) / m, axis=0) / 2
    weights = 2 / (n + 1) * (integrals @ np.sin(np.outer(m, angle[1:-1]))) * np.sin(angle[1:-1])
    weights *= placing.speed(nodes(n))
    width = np.diff([0.0, *alphas(n, placing), 1.0])
    return np.asarray(weights * (width / weights.sum(axis=1))[:, None])


def fit(placing: Placing, score: Floats, slope: Floats, local: mesh.Fit) -> mesh.Fit:
    """Integrate by the one polynomial, unless the local stencils' indicators add up to less: then these.

    `score`, `slope`: shape (n + 2,) at both ends and the n nodes between, the slopes of the ends unused.
    """
    table = rows(len(score) - 2, placing)
    residual = table @ slope[1:-1] - (score[1:] - score[:-1])
    indicator = _indicator(residual)
    if np.maximum(indicator, local.noise).sum() > np.maximum(local.indicator, local.noise).sum():
        return local
    weights = np.concatenate([[0.0], table.sum(axis=0), [0.0]])
    return mesh.Fit(weights, residual, local.trapezoid_residual, local.noise, indicator)


def _indicator(residual: Floats) -> Floats:
    """Per panel, its part in the absolute sum of the residuals of the panels that it is judged together with."""
    together = max(JUDGED_TOGETHER, -(-len(residual) // STRETCHES))
    firsts = np.arange(0, len(residual), together)
    size = np.abs(residual)
    sums = np.add.reduceat(size, firsts)
    kept = np.divide(np.abs(np.add.reduceat(residual, firsts)), sums, out=np.zeros_like(sums), where=sums > 0)
    return np.asarray(size * np.repeat(kept, together)[: len(residual)])
