"""One polynomial through all nodes of a curve, in the coordinate of its placing. Pure arrays.

Fejer's second rule (Fejer 1933; Waldvogel 2006): its n nodes are even in angle, leave out both ends, and are among the
2 n + 1 of the next one, so nothing is wasted by refining. On smooth scores it converges nearly as Gauss's rule does,
which stands in for it where no budget is left to refine with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

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


@dataclass(frozen=True)
class Rule:
    """`n` nodes on a curve: Fejer's, or Gauss's where `nested` is False and none will follow. Get it from `rule`."""

    n: int
    placing: Placing
    nested: bool = True

    @cached_property
    def alphas(self) -> tuple[float, ...]:
        """The nodes on the curve, ascending in (0, 1)."""
        return tuple(self.placing.alpha(self._nodes).tolist())

    @cached_property
    def rows(self) -> Floats:
        """Weights of the nodes' slopes in the integral over each of the n + 1 panels between 0, the nodes and 1.

        Each row is scaled such that constants are exact on its panel.
        """
        weights = (_fejer_rows if self.nested else _gauss_rows)(self.n) * self.placing.speed(self._nodes)
        width = np.diff([0.0, *self.alphas, 1.0])
        return np.asarray(weights * (width / weights.sum(axis=1))[:, None])

    @cached_property
    def weights(self) -> Floats:
        """Of the nodes' slopes in the integral over the whole curve."""
        return np.asarray(self.rows.sum(axis=0))

    @cached_property
    def with_ends(self) -> Floats:
        """The nodes, and both ends of the curve around them."""
        return np.array([0.0, *self.alphas, 1.0])

    @cached_property
    def coarse_weights(self) -> Floats:
        """The weights of `every_other`, at their places among the nodes. Raises ValueError where there is none."""
        if self.every_other is None:
            raise ValueError("every other node of this rule makes no rule. This is a bug.")
        weights = np.zeros(self.n)
        weights[1::2] = self.every_other.weights
        return weights

    @property
    def next(self) -> "Rule":
        """The one that keeps all nodes, as every other of its own."""
        return rule(2 * self.n + 1, self.placing)

    @property
    def every_other(self) -> "Rule | None":
        """The one on every other node, from the second; None where these are no rule's."""
        return rule(self.n // 2, self.placing) if self.nested and self.n % 2 else None

    @property
    def _nodes(self) -> Floats:
        return fejer_nodes(self.n) if self.nested else _gauss(self.n)[0]


@lru_cache(maxsize=1024)
def rule(n: int, placing: Placing, *, nested: bool = True) -> Rule:
    """A rule, whose nodes and tables are kept for the next job that wants the same."""
    return Rule(n, placing, nested)


def fejer_nodes(n: int) -> Floats:
    """The n nodes in (0, 1), ascending."""
    return np.asarray((1 - np.cos(np.pi * np.arange(1, n + 1) / (n + 1))) / 2)


def _fejer_rows(n: int) -> Floats:
    """Weights per panel in (0, 1), shape (n + 1, n).

    The interpolant of f is a sum of Chebyshev polynomials U_m of the second kind, whose coefficients are sine sums of
    f sin(angle), and the integral of U_(m-1) is T_m / m.
    """
    angle = np.pi * np.arange(n + 2) / (n + 1)
    m = np.arange(1, n + 1)
    integrals = -np.diff(np.cos(np.outer(angle, m)) / m, axis=0) / 2
    return np.asarray(2 / (n + 1) * (integrals @ np.sin(np.outer(m, angle[1:-1]))) * np.sin(angle[1:-1]))


def _gauss(n: int) -> tuple[Floats, Floats]:
    """Nodes in (0, 1) and weights, which sum to 1 (Gauss 1814)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def _gauss_rows(n: int) -> Floats:
    """As `_fejer_rows`: the interpolant of f is a sum of Legendre polynomials P_m, whose coefficients are (2 m + 1)
    sums of w f P_m (exact for P_m times the interpolant), and (2 m + 1) P_m integrates to P_(m+1) - P_(m-1).
    """
    nodes, weights = _gauss(n)
    values = np.polynomial.legendre.legvander(2 * np.array([0.0, *nodes, 1.0]) - 1, n)
    # Of P_(-1) only differences are used: any constant.
    below = np.concatenate([np.zeros((n + 2, 1)), values[:, : n - 1]], axis=1)
    integrals = np.diff(values[:, 1:] - below, axis=0) / 2
    return np.asarray(integrals @ values[1:-1, :n].T * weights)


def fit(rule: Rule, score: Floats, slope: Floats, local: mesh.Fit) -> mesh.Fit:
    """`fit_all` for one curve: arrays of shape (n + 2,)."""
    one = mesh.Fit(*(getattr(local, each.name)[None] for each in fields(local)))
    return fit_all([rule], score[None], slope[None], one).of(0)


def fit_all(rules: Sequence[Rule], score: Floats, slope: Floats, local: mesh.Fit) -> mesh.Fit:
    """Integrate each curve by its one polynomial, unless the local stencils' indicators add up to less: then by these.

    `score`, `slope`: shape (curves, n + 2) at both ends and the n nodes between, the slopes of the ends unused; all
    rules have as many nodes. One rule: that of all curves.
    """
    rows = rules[0].rows[None] if len(rules) == 1 else np.stack([rule.rows for rule in rules])
    residual = (rows @ slope[:, 1:-1, None])[:, :, 0] - (score[:, 1:] - score[:, :-1])
    indicator = _indicator(residual)
    # Their sums: the root of the squares' sum would think little of a polynomial that rings all over from one kink.
    global_sums = np.maximum(indicator, local.noise).sum(axis=1, keepdims=True)
    polynomial = global_sums <= np.maximum(local.indicator, local.noise).sum(axis=1, keepdims=True)
    weights = np.zeros(score.shape)
    weights[:, 1:-1] = rules[0].weights if len(rules) == 1 else [rule.weights for rule in rules]
    return mesh.Fit(
        np.where(polynomial, weights, local.weights),
        np.where(polynomial, residual, local.residual),
        local.trapezoid_residual,
        local.noise,
        np.where(polynomial, indicator, local.indicator),
    )


def _indicator(residual: Floats) -> Floats:
    """Per panel, its part in the absolute sum of the residuals of the panels that it is judged together with."""
    panels = residual.shape[1]
    together = max(JUDGED_TOGETHER, -(-panels // STRETCHES))
    firsts = np.arange(0, panels, together)
    size = np.abs(residual)
    sums = np.add.reduceat(size, firsts, axis=1)
    signed = np.abs(np.add.reduceat(residual, firsts, axis=1))
    kept = np.divide(signed, sums, out=np.zeros_like(sums), where=sums > 0)
    return np.asarray(size * kept.repeat(together, axis=1)[:, :panels])
