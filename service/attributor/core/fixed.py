"""Integrators whose nodes are settled beforehand: a fixed rule, or random nodes. They hold no tensor."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from attributor.core.integrator import (
    Ask,
    Check,
    Curve,
    Integral,
    StopReason,
    Told,
    Tolerance,
    attributed,
    checked,
    laid_out,
)
from attributor.core.rules import Rule, every_other
from attributor.errors import NonFiniteGradient

#: The name of a rule of one random node, and the degree up to which it is exact: constants.
RANDOM, RANDOM_DEGREE = "random", 0


class FixedIntegrator:
    """A fixed rule on every curve, or one each, with the scores at the curves' ends so that the errors are known."""

    def __init__(
        self, curves: Sequence[Curve], rule: Rule | Sequence[Rule], n_targets: int, tolerance: Tolerance
    ) -> None:
        self._curves = tuple(curves)
        self._rules = (rule,) * len(self._curves) if isinstance(rule, Rule) else tuple(rule)
        self._n_targets = n_targets
        self._tolerance = tolerance
        self._wanted = laid_out(self._curves, tuple(rule.nodes for rule in self._rules))
        self._pending = {ask.nodes[0].index: ask for ask in self._wanted}
        self._told: list[list[Told]] = [[] for _ in self._curves]
        self._gaps: tuple[float, ...] = ()
        self._variations: tuple[float, ...] = ()
        self._residuals: tuple[float, ...] = ()
        self._check: Check | None = None
        self._errors: tuple[float | None, ...] | None = None

    @property
    def done(self) -> bool:
        """Whether every node was told, and the attribution errors where a tolerance asks for them."""
        return self._check is not None and (self._tolerance.attribution is None or self._errors is not None)

    def ask(self) -> tuple[Ask, ...]:
        """All points, the first time."""
        wanted, self._wanted = self._wanted, ()
        return wanted

    def tell(self, ask: Ask, scores: Sequence[float], slopes: Sequence[Sequence[float]] | None) -> None:
        """See Integrator. A gradient must be finite wherever the rule has a node."""
        for told in checked(self._pending.pop(ask.nodes[0].index), scores, slopes):
            at_end = told.node.alpha in (0.0, 1.0)
            self._told[told.node.curve].append(self._at_end(told) if at_end else told)
        if not self._pending:
            self._sum_up()

    def check(self) -> Check | None:
        """One comparison at the end, where the tolerance asks for it."""
        return None if self.done else self._check

    def tell_errors(self, errors: Sequence[float | None]) -> None:
        """See Integrator."""
        self._errors = tuple(errors)

    def error(self) -> float | None:
        """None until every node was told: a part of a fixed rule says nothing."""
        relative = [abs(r / gap) for r, gap in zip(self._residuals, self._gaps, strict=True) if gap]
        return max(relative, default=None)

    def result(self) -> Integral:
        """See Integrator; converged where the rule happens to meet the tolerance."""
        if self._check is None or not self.done:
            raise RuntimeError("not done: nodes are still to be told. This is a bug.")
        limits = tuple(map(self._tolerance.limit, self._gaps, self._variations))
        fine = attributed(self._tolerance, self._check, self._errors)
        return Integral(
            nodes=tuple(told for curve in self._told for told in curve),
            weights=self._check.weights,
            coarse_weights=self._check.coarse_weights,
            stop_reason=StopReason.FIXED_RULE,
            converged=tuple(abs(r) <= limit and ok for r, limit, ok in zip(self._residuals, limits, fine, strict=True)),
            gaps=self._gaps,
            limits=limits,
            attribution_errors=self._errors,
            variations=self._variations,
        )

    def _at_end(self, told: Told) -> Told:
        """Without its slopes where the rule has no node there: it may be another curve that wanted the gradient."""
        node = told.node
        if node.alpha not in self._rules[node.curve].nodes:
            return Told(node, told.scores, (None,) * self._n_targets)
        if None in told.slopes:
            raise NonFiniteGradient(
                f"the gradient is not finite at alpha = {node.alpha:g} of the path; rules that leave the ends out, "
                "and the adaptive one, can do without"
            )
        return told

    def _sum_up(self) -> None:
        for curve in self._told:
            curve.sort(key=lambda told: told.node.alpha)
        weights = self._by_index([rule.weights for rule in self._rules])
        coarse = [every_other(rule) for rule in self._rules]
        coarse_weights = self._by_index([w for w in coarse if w]) if all(coarse) else None
        self._check = Check((weights,) * self._n_targets, (coarse_weights,) * self._n_targets)
        targets = range(self._n_targets)
        scores = [[[told.scores[t] for told in curve] for curve in self._told] for t in targets]
        self._gaps = tuple(self._over_curves([its[-1] - its[0] for its in of_target]) for of_target in scores)
        self._variations = tuple(
            self._over_curves([sum(abs(b - a) for a, b in pairwise(its)) for its in of_target]) for of_target in scores
        )
        slopes = {told.node.index: told.slopes for curve in self._told for told in curve}
        self._residuals = tuple(
            sum(weight * (slopes[index][t] or 0.0) for index, weight in weights.items()) - self._gaps[t]
            for t in targets
        )

    def _over_curves(self, of_each: Sequence[float]) -> float:
        """The sum over the curves, each times its share."""
        return sum(curve.weight * value for curve, value in zip(self._curves, of_each, strict=True))

    def _by_index(self, weights: Sequence[Sequence[float]]) -> Mapping[int, float]:
        """A weight per node of each curve's rule, times the curve's share, by node index."""
        found = {}
        for curve, rule, told, its in zip(self._curves, self._rules, self._told, weights, strict=True):
            indices = {t.node.alpha: t.node.index for t in told}
            found.update({indices[a]: curve.weight * w for a, w in zip(rule.nodes, its, strict=True)})
        return found


def random_integrator(
    curves: Sequence[Curve], alphas: Sequence[float], n_targets: int, tolerance: Tolerance
) -> FixedIntegrator:
    """One node per curve, at a given alpha: a sample of a mean over baselines and alphas.

    Expected gradients (Erion, Janizek, Sturmfels, Lundberg and Lee 2021); the caller draws both. There is
    no coarse rule: a sample's error is its standard error.
    """
    rules = [Rule(RANDOM, (alpha,), (1.0,), RANDOM_DEGREE) for alpha in alphas]
    return FixedIntegrator(curves, rules, n_targets, tolerance)
