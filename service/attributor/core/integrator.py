"""What an integrator is: asked for nodes, told two scalars per node, it answers with a weight per node.

It holds no tensor, calls no model and reads no clock, so nodes of many integrations can share one pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Protocol

from attributor.core.rules import Rule, every_other
from attributor.errors import NonFiniteGradient, NonFiniteScore


class StopReason(StrEnum):
    """Why an integrator wants no more nodes."""

    TOLERANCE = "tolerance"
    FIXED_RULE = "fixed_rule"
    MAX_EVALUATIONS = "max_evaluations"
    DISCONTINUITY = "discontinuity"
    FLOAT_NOISE = "float_noise"
    RESOLUTION = "resolution"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The completeness error allowed: the larger of `relative` * |F(1) - F(0)| and `absolute` (units of the score)."""

    relative: float
    absolute: float

    def limit(self, gap: float) -> float:
        """The error allowed at a score difference of `gap`."""
        return max(self.relative * abs(gap), self.absolute)


@dataclass(frozen=True, slots=True)
class Node:
    """A point of the path at which the integrator wants the score and, if `gradient`, the slope."""

    index: int
    alpha: float
    gradient: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A node with what was told of it; `slope` None where none was asked for or it was not finite."""

    index: int
    alpha: float
    score: float
    slope: float | None


@dataclass(frozen=True, slots=True)
class Integral:
    """An integration that ended. `nodes` ascend in alpha; `weights` by node index.

    A node without a slope has none. `coarse_weights`: the same rule on every other node, for the attribution error;
    None with too few nodes.
    `discontinuous_at`: the alpha of a jump in F, `open_ends` the ends at which the gradient was not finite.
    """

    nodes: tuple[Told, ...]
    weights: Mapping[int, float]
    coarse_weights: Mapping[int, float] | None
    stop_reason: StopReason
    converged: bool
    discontinuous_at: float | None = None
    open_ends: tuple[float, ...] = ()


class Integrator(Protocol):
    """`ask` for nodes, `tell` each, until `done`; then `result`."""

    @property
    def done(self) -> bool:
        """Whether `result` is there."""

    def ask(self) -> tuple[Node, ...]:
        """The nodes wanted now, each handed out once; alpha 1 comes first. Empty while told ones are awaited."""

    def tell(self, index: int, score: float, slope: float | None) -> None:
        """The score and the slope at a node, once. Raises NonFiniteScore, NonFiniteGradient with the alpha, and
        KeyError for a node that is not awaited (a bug)."""

    def error(self) -> float | None:
        """Relative completeness error as far as it is known."""

    def result(self) -> Integral:
        """The weights. Raises RuntimeError before `done`."""


def checked(node: Node, score: float, slope: float | None, *, open_end_allowed: bool) -> Told:
    """What was told, with a non-finite slope at an end of the path turned into None where that is allowed.

    Raises NonFiniteScore and NonFiniteGradient, naming the alpha.
    """
    if not isfinite(score):
        raise NonFiniteScore(f"the model's score is {score} at alpha = {node.alpha:g} of the path")
    if node.gradient and (slope is None or not isfinite(slope)):
        if not (open_end_allowed and node.alpha in (0.0, 1.0)):
            instead = (
                ""
                if 0.0 < node.alpha < 1.0
                else "; rules that leave the ends out, and the adaptive one, can do without"
            )
            raise NonFiniteGradient(f"the gradient is not finite at alpha = {node.alpha:g} of the path{instead}")
        slope = None
    return Told(node.index, node.alpha, score, slope if node.gradient else None)


class FixedIntegrator:
    """A fixed rule, with the scores at both ends so that its completeness error is known."""

    def __init__(self, rule: Rule, tolerance: Tolerance) -> None:
        self._rule = rule
        self._tolerance = tolerance
        ends = [Node(len(rule.nodes) + i, end, False) for i, end in enumerate((1.0, 0.0)) if end not in rule.nodes]
        nodes = [Node(i, alpha, True) for i, alpha in enumerate(rule.nodes)]
        # Alpha 1 first: the predicted class is resolved there.
        self._wanted = sorted((*ends, *nodes), key=lambda node: node.alpha != 1.0)
        self._pending = {node.index: node for node in self._wanted}
        self._told: dict[int, Told] = {}
        self._residual = self._gap = 0.0

    @property
    def done(self) -> bool:
        """Whether every node was told."""
        return not self._pending

    def ask(self) -> tuple[Node, ...]:
        """All nodes, the first time."""
        wanted, self._wanted = tuple(self._wanted), []
        return wanted

    def tell(self, index: int, score: float, slope: float | None) -> None:
        """See Integrator."""
        self._told[index] = checked(self._pending.pop(index), score, slope, open_end_allowed=False)
        if self.done:
            scores = {told.alpha: told.score for told in self._told.values()}
            self._gap = scores[1.0] - scores[0.0]
            slopes = (self._told[i].slope or 0.0 for i in range(len(self._rule.nodes)))
            self._residual = sum(w * h for w, h in zip(self._rule.weights, slopes, strict=True)) - self._gap

    def error(self) -> float | None:
        """None until every node was told: a part of a fixed rule says nothing."""
        return abs(self._residual / self._gap) if self.done and self._gap else None

    def result(self) -> Integral:
        """See Integrator; converged if the rule happens to meet the tolerance."""
        if not self.done:
            raise RuntimeError("not done: nodes are still to be told. This is a bug.")
        coarse = every_other(self._rule)
        return Integral(
            nodes=tuple(sorted(self._told.values(), key=lambda told: told.alpha)),
            weights=dict(enumerate(self._rule.weights)),
            coarse_weights=dict(enumerate(coarse)) if coarse else None,
            stop_reason=StopReason.FIXED_RULE,
            converged=abs(self._residual) <= self._tolerance.limit(self._gap),
        )
