"""Integrators whose nodes are settled beforehand: a fixed rule, or random nodes. They hold no tensor."""

from collections.abc import Mapping, Sequence

import numpy as np

from attributor.core.asks import Ask, Asks, Awaited, Curve, Floats, Known, checked, laid_out
from attributor.core.integrator import Check, Integral, Seal, StopReason, Tolerance, attributed
from attributor.core.rules import Rule, every_other
from attributor.errors import NonFiniteGradient

#: The name of a rule of one random node, and the degree up to which it is exact: constants.
RANDOM, RANDOM_DEGREE = "random", 0


class FixedIntegrator:
    """A fixed rule on every curve, or one each, with the scores at the curves' ends so that the errors are known."""

    def __init__(
        self,
        curves: Sequence[Curve],
        rule: Rule | Sequence[Rule],
        n_targets: int,
        tolerance: Tolerance,
        most_kept: int | None = None,
    ) -> None:
        """`most_kept`: nodes whose vectors may be kept at a time; None: all. The weights are known beforehand, so the
        sums of each round but the last are taken at once."""
        self._curves = tuple(curves)
        self._rules = (rule,) * len(self._curves) if isinstance(rule, Rule) else tuple(rule)
        self._n_targets = n_targets
        self._tolerance = tolerance
        asks = laid_out(self._curves, tuple(rule.nodes for rule in self._rules))
        nodes = asks.arrays
        self._rounds = _rounds(asks, most_kept)
        self._awaited = Awaited()
        #: The rounds that were handed out and whose sums were not taken.
        self._unsealed: list[Asks] = []
        #: In the order of the nodes' indexes, which is that of the asks: whose they are, and what was told of them.
        self._nodes = nodes
        self._scores = np.full((len(nodes.index), n_targets), np.nan)
        self._slopes = self._scores.copy()
        self._in_order = np.lexsort((nodes.alpha, nodes.curve))
        #: Nodes of the rules; the others are ends that a rule leaves out, or where another curve wants the gradient.
        of_each = [frozenset(rule.nodes) for rule in self._rules]
        places = zip(nodes.curve.tolist(), nodes.alpha.tolist(), strict=True)
        self._of_rule = np.array([alpha in of_each[number] for number, alpha in places])
        self._gaps: tuple[float, ...] = ()
        self._variations: tuple[float, ...] = ()
        self._residuals: tuple[float, ...] = ()
        self._check: Check | None = None
        self._errors: tuple[float | None, ...] | None = None

    @property
    def done(self) -> bool:
        """Whether every node was told, and the attribution errors where a tolerance asks for them."""
        return self._check is not None and (self._tolerance.attribution is None or self._errors is not None)

    def ask(self) -> Asks:
        """All points, the first time, or as many at a time as may be kept."""
        if self._awaited or not self._rounds:
            return Asks()
        wanted = self._rounds.pop(0)
        self._awaited.add(wanted)
        self._unsealed.append(wanted)
        return wanted

    def tell(self, asks: Asks, scores: Floats, slopes: Floats) -> None:
        """See Integrator. A gradient must be finite wherever the rule has a node."""
        self._awaited.remove(asks)
        slopes = checked(asks, scores, slopes)
        told = asks.arrays
        missing = self._of_rule[told.index] & ~np.isfinite(slopes).all(axis=1)
        if missing.any():
            raise NonFiniteGradient(
                f"the gradient is not finite at alpha = {told.alpha[missing][0]:g} of the path; rules that leave the "
                "ends out, and the adaptive one, can do without"
            )
        self._scores[told.index] = scores[told.point]
        self._slopes[told.index] = np.where(self._of_rule[told.index, None], slopes, np.nan)
        if not self._awaited and not self._rounds:
            self._sum_up()

    def check(self) -> Check | None:
        """One comparison at the end, where the tolerance asks for it."""
        return None if self.done else self._check

    def tell_errors(self, errors: Sequence[float | None]) -> None:
        """See Integrator."""
        self._errors = tuple(errors)

    def seal(self) -> Seal | None:
        """See Integrator."""
        if self._awaited or not self._rounds or not self._unsealed:
            return None
        told = [asks.arrays for asks in self._unsealed]
        nodes = [index for each in told for index in each.index[each.wanted].tolist()]
        self._unsealed.clear()
        weights, coarse = self._weights()
        of_rule = {index: weights[index] for index in nodes if index in weights}
        of_coarse = None if coarse is None else {index: coarse[index] for index in nodes if index in coarse}
        return Seal((of_rule,) * self._n_targets, (of_coarse,) * self._n_targets, tuple(nodes))

    def error(self) -> float | None:
        """None until every node was told: a part of a fixed rule says nothing."""
        relative = [abs(r / gap) for r, gap in zip(self._residuals, self._gaps, strict=True) if gap]
        return max(relative, default=None)

    def weights_now(self) -> Mapping[int, float] | None:
        """See Integrator: a part of a fixed rule is no rule."""
        return self._check.weights[0] if self._check else None

    def result(self) -> Integral:
        """See Integrator; converged where the rule happens to meet the tolerance."""
        if self._check is None or not self.done:
            raise RuntimeError("not done: nodes are still to be told. This is a bug.")
        limits = tuple(map(self._tolerance.limit, self._gaps, self._variations))
        fine = attributed(self._tolerance, self._check, self._errors)
        return Integral(
            known=self._known(),
            weights=self._check.weights,
            coarse_weights=self._check.coarse_weights,
            stop_reason=StopReason.FIXED_RULE,
            converged=tuple(abs(r) <= limit and ok for r, limit, ok in zip(self._residuals, limits, fine, strict=True)),
            gaps=self._gaps,
            limits=limits,
            attribution_errors=self._errors,
            variations=self._variations,
        )

    def _known(self) -> Known:
        nodes, order = self._nodes, self._in_order
        return Known(
            nodes.index[order], nodes.curve[order], nodes.alpha[order], self._scores[order], self._slopes[order]
        )

    def _sum_up(self) -> None:
        weights, coarse_weights = self._weights()
        self._check = Check((weights,) * self._n_targets, (coarse_weights,) * self._n_targets)
        of_curve = self._nodes.curve[self._in_order]
        share = np.array([curve.weight for curve in self._curves])
        scores = self._scores[self._in_order]
        same = of_curve[1:] == of_curve[:-1]
        rises = np.where(same[:, None], np.diff(scores, axis=0), 0.0) * share[of_curve[1:], None]
        # Of the curves' ends, not of their rises, which add up to that but for rounding.
        starts, ends = scores[np.append(True, ~same)], scores[np.append(~same, True)]
        gaps = share @ (ends - starts)
        self._gaps = tuple(gaps.tolist())
        self._variations = tuple(np.abs(rises).sum(axis=0).tolist())
        summed = np.array(list(weights.values())) @ self._slopes[list(weights)]
        self._residuals = tuple((summed - gaps).tolist())

    def _weights(self) -> tuple[Mapping[int, float], Mapping[int, float] | None]:
        """Of the rule, and of the coarse one if there is one."""
        coarse = [every_other(rule) for rule in self._rules]
        coarse_weights = self._by_index([w for w in coarse if w]) if all(coarse) else None
        return self._by_index([rule.weights for rule in self._rules]), coarse_weights

    def _by_index(self, weights: Sequence[Sequence[float]]) -> Mapping[int, float]:
        """A weight per node of each curve's rule, times the curve's share, by node index."""
        nodes = self._nodes
        places = zip(nodes.curve.tolist(), nodes.alpha.tolist(), strict=True)
        numbers = dict(zip(places, nodes.index.tolist(), strict=True))
        return {
            numbers[number, alpha]: curve.weight * weight
            for number, (curve, rule, its) in enumerate(zip(self._curves, self._rules, weights, strict=True))
            for alpha, weight in zip(rule.nodes, its, strict=True)
        }


def _rounds(asks: Asks, most_kept: int | None) -> list[Asks]:
    """In their order, with so many vectors of each at most, but for a vertex that has more alone."""
    if most_kept is None or np.count_nonzero(asks.arrays.wanted) <= most_kept:
        return [asks]
    rounds: list[list[Ask]] = [[]]
    n_vectors = 0
    for ask in asks:
        own = len(ask.nodes) if ask.gradient else 0
        if n_vectors and own and n_vectors + own > most_kept:
            rounds.append([])
            n_vectors = 0
        n_vectors += own
        rounds[-1].append(ask)
    return [Asks(each) for each in rounds]


def random_integrator(
    curves: Sequence[Curve], alphas: Sequence[float], n_targets: int, tolerance: Tolerance
) -> FixedIntegrator:
    """One node per curve, at a given alpha: a sample of a mean over baselines and alphas.

    Expected gradients (Erion, Janizek, Sturmfels, Lundberg and Lee 2021); the caller draws both. There is
    no coarse rule: a sample's error is its standard error.
    """
    rules = [Rule(RANDOM, (alpha,), (1.0,), RANDOM_DEGREE) for alpha in alphas]
    return FixedIntegrator(curves, rules, n_targets, tolerance)
