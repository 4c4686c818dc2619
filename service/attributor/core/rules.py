"""Fixed quadrature rules on [0, 1]: nodes and weights that travel together. Knows nothing of models or residuals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, slots=True)
class Rule:
    """Nodes in ascending order and their weights, which sum to 1; exact for polynomials up to `degree`."""

    name: str
    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    degree: int


@lru_cache(maxsize=256)
def right_riemann(n: int) -> Rule:
    """Right endpoints k/n, k = 1..n, as in Sundararajan, Taly and Yan (2016, equation 6; 2017, equation 3)."""
    return Rule("right_riemann", tuple((k + 1) / n for k in range(n)), (1 / n,) * n, degree=0)


@lru_cache(maxsize=256)
def midpoint(n: int) -> Rule:
    """The middles of n equal panels."""
    return Rule("midpoint", tuple((k + 0.5) / n for k in range(n)), (1 / n,) * n, degree=1)


@lru_cache(maxsize=256)
def trapezoid(n: int) -> Rule:
    """n equally spaced nodes with both ends, n >= 2; the ends weigh half. Raises ValueError for n < 2."""
    if n < 2:
        raise ValueError("the trapezoid rule needs at least 2 nodes")
    panel = 1 / (n - 1)
    weights = (panel / 2, *(panel,) * (n - 2), panel / 2)
    return Rule("trapezoid", tuple(k / (n - 1) for k in range(n)), weights, degree=1)


@lru_cache(maxsize=256)
def gauss_legendre(n: int) -> Rule:
    """The n-point Gauss-Legendre rule (Gauss 1814), moved from [-1, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return Rule("gauss_legendre", tuple(((nodes + 1) / 2).tolist()), tuple((weights / 2).tolist()), degree=2 * n - 1)


FIXED_RULES: dict[str, Callable[[int], Rule]] = {
    "right_riemann": right_riemann,
    "midpoint": midpoint,
    "trapezoid": trapezoid,
    "gauss_legendre": gauss_legendre,
}


def every_other(rule: Rule) -> tuple[float, ...] | None:
    """Weights of the same rule fed by every other node only: one per node, zero for the nodes left out.

    Right Riemann: each kept node weighs the distance to the kept one before it, which for an even number is that rule
    with half the nodes. The others: a left-out node's value is read off the straight line between its kept neighbours
    (at the ends: off the nearest), which for the trapezoid rule on an odd number is that rule on half the panels; for
    the rest it errs on the large side. None for one node.
    """
    n = len(rule.nodes)
    if n < 2:
        return None
    # The last node is kept: the right Riemann sum then keeps its right end.
    kept = list(range(n - 1, -1, -2))[::-1]
    weights = np.zeros(n)
    kept_nodes = np.array([rule.nodes[i] for i in kept])
    if rule.name == "right_riemann":
        weights[kept] = np.diff(kept_nodes, prepend=0.0)
        return tuple(weights.tolist())
    for node, weight in zip(rule.nodes, rule.weights, strict=True):
        right = int(np.searchsorted(kept_nodes, node))
        left = max(right - 1, 0)
        right = min(right, len(kept) - 1)
        gap = kept_nodes[right] - kept_nodes[left]
        share = (node - kept_nodes[left]) / gap if gap > 0 else 1.0
        weights[kept[right]] += weight * share
        weights[kept[left]] += weight * (1 - share)
    return tuple(weights.tolist())
