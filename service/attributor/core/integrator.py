"""What an integrator is: asked for nodes, told a score and slopes per node, it answers with a weight per node.

It holds no tensor, calls no model and reads no clock, so nodes of many integrations can share one pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Protocol

import numpy as np

from attributor.core.asks import Asks, Floats, Known, Told


class StopReason(StrEnum):
    """Why an integrator wants no more nodes."""

    TOLERANCE = "tolerance"
    FIXED_RULE = "fixed_rule"
    MAX_EVALUATIONS = "max_evaluations"
    DISCONTINUITY = "discontinuity"
    FLOAT_NOISE = "float_noise"
    RESOLUTION = "resolution"
    MEMORY = "memory"


#: A score difference below this share of the score's variation along the path is a small one: the relative tolerance
#: is then one of this share of the variation. Ours: it governs 9 of the 310 inputs we tuned on; they lie below 0.05,
#: and all others but one above 0.2. Seven of the 9 are inception's, and without it spent budgets of 500 in vain.
SMALL_GAP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The completeness error allowed: `relative` * |F(x) - F(x')|, or `absolute` (units of the score) if that is more.

    Where the score goes up and down and ends about where it began, the difference is small against `variation`, the
    sum of |dF| over the known scores of the path, and says nothing of how well it can be integrated: then
    `relative` * SMALL_GAP_SHARE * variation is allowed, in whatever units the score has.

    `attribution`: the attribution error allowed, relative; None: any. `relative` None: any completeness error, so that
    the attribution error alone decides.
    """

    relative: float | None
    absolute: float
    attribution: float | None = None

    def limit(self, gap: float, variation: float = 0.0) -> float:
        """The completeness error allowed at a score difference of `gap`."""
        if self.relative is None:
            return inf
        return max(self.relative * abs(gap), self.absolute, self.relative * SMALL_GAP_SHARE * variation)

    def limits(self, gaps: Floats, variations: Floats) -> Floats:
        """`limit` of each."""
        if self.relative is None:
            return np.full_like(gaps, inf)
        relative = np.maximum(self.relative * np.abs(gaps), self.relative * SMALL_GAP_SHARE * variations)
        return np.maximum(relative, self.absolute)


@dataclass(frozen=True, slots=True)
class Integral:
    """An integration that ended. Weights: one mapping per target, by node index.

    Curves' shares are in the weights already. A node without a slope has none. `coarse_weights`: the same rule on every
    other node of each curve, for the attribution error; None per target with too few nodes.
    `gaps`: per target, F(x) - F(x') in the mean over the baselines; `limits`: the completeness error allowed there;
    `variations`: sum of |dF| between neighbouring nodes, in the same mean.
    `discontinuous_at`: curve and alpha of a jump in F.
    `attribution_errors`: per target, where they decided.
    """

    known: Known
    weights: tuple[Mapping[int, float], ...]
    coarse_weights: tuple[Mapping[int, float] | None, ...]
    stop_reason: StopReason
    converged: tuple[bool, ...]
    gaps: tuple[float, ...]
    limits: tuple[float, ...]
    discontinuous_at: tuple[int, float] | None = None
    attribution_errors: tuple[float | None, ...] | None = None
    variations: tuple[float, ...] = ()

    @property
    def nodes(self) -> tuple[Told, ...]:
        """All nodes, by curve, then alpha."""
        return self.known.one_by_one()


@dataclass(frozen=True, slots=True)
class Check:
    """Two sets of weights per target whose sums of vectors are to be compared: ||A - A_coarse||_1 / ||A||_1."""

    weights: tuple[Mapping[int, float], ...]
    coarse_weights: tuple[Mapping[int, float] | None, ...]


@dataclass(frozen=True, slots=True)
class Seal:
    """Panels whose weights are final. Per target and node index, what they add to the weights of the rule and of the
    coarse one (None: there is none): these sums of vectors are to be taken now. `dropped`: nodes that no open panel
    touches, whose vectors are not needed any more."""

    weights: tuple[Mapping[int, float], ...]
    coarse_weights: tuple[Mapping[int, float] | None, ...]
    dropped: tuple[int, ...]


class Integrator(Protocol):
    """`ask` for evaluations, `tell` each, until `done`; then `result`. Answers a `check` where one is wanted."""

    @property
    def done(self) -> bool:
        """Whether `result` is there."""

    def ask(self) -> Asks:
        """The evaluations wanted now, each handed out once; the one at EXAMPLE comes first. Empty while told ones are
        awaited."""

    def tell(self, asks: Asks, scores: Floats, slopes: Floats) -> None:
        """The scores at asked points, shape (asks, targets), and the slopes at their nodes, shape (nodes, targets);
        slopes that were not asked for are not looked at.

        Raises NonFiniteScore, NonFiniteGradient with the alpha, and KeyError for what is not awaited (a bug).
        """

    def check(self) -> Check | None:
        """The comparison of vectors that is wanted before it can go on, if any; then `tell_errors`."""

    def tell_errors(self, errors: Sequence[float | None]) -> None:
        """The attribution error per target, for the last `check`; None where undefined."""

    def seal(self) -> Seal | None:
        """What is to be summed up and forgotten now, so that no more vectors are kept than allowed; each once."""

    def error(self) -> float | None:
        """Relative completeness error as far as it is known, the largest over the targets."""

    def weights_now(self) -> Mapping[int, float] | None:
        """The weights of the first target as of the last round, for an estimate; None before there are any."""

    def result(self) -> Integral:
        """The weights. Raises RuntimeError before `done`."""


def attributed(tolerance: Tolerance, check: Check, errors: Sequence[float | None] | None) -> tuple[bool, ...]:
    """Per target, whether its attribution error is allowed. `errors` None: they were not asked for.

    An error is undefined where all attributions are exactly zero, which is as right as can be, or where too few nodes
    make no coarse rule, which proves nothing.
    """
    if tolerance.attribution is None or errors is None:
        return (tolerance.attribution is None,) * len(check.weights)
    return tuple(
        coarse is not None if error is None else error <= tolerance.attribution
        for error, coarse in zip(errors, check.coarse_weights, strict=True)
    )
