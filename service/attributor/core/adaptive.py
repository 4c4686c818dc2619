"""The adaptive integrator: splits the panels whose exact residuals are largest until the tolerance holds.

Each round every panel is integrated by the stencil with the smallest residual (`mesh.py`); if the sum of the panels'
indicators exceeds the tolerance, the panels that carry it are split in the middle. Nothing is wasted by a split: all
weights are recomputed from all nodes, which stay.
"""

import bisect
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh
from attributor.core.integrator import Integral, Node, StopReason, Told, Tolerance, checked

#: Evenly spaced first nodes, both ends among them. Ours: with 5, panels whose residual is small by luck stay unseen;
#: 9 halve the worst errors of the vector at hardly any cost. Figures in ARCHITECTURE.md, decision 3.
FIRST_NODES = 9
#: Splits without a shrinking residual after which a panel is taken to hold a jump of F (a kink halves it each time).
JUMP_SPLITS = 6
#: A residual above this share of its parent's has not shrunk: a square root's shrinks to 0.71, a jump's stays at 1.
JUMP_SHRINKAGE = 0.9
#: Panels narrower than this are not split: float32 coefficients of the path would no longer tell its nodes apart.
NARROWEST_PANEL = 2.0**-20
#: Share of the tolerance that the panels left alone in a round may use up; the split ones need the rest.
UNSPLIT_SHARE = 0.5
#: Indicators are compared in so many steps per factor of two: 1 % apart, far above float32 rounding. Ours.
TIES_PER_OCTAVE = 64

#: Its two ends, as alphas.
Panel = tuple[float, float]


class AdaptiveIntegrator:
    """Integrates to a tolerance within a budget of evaluations (gradient nodes), at least FIRST_NODES of them."""

    def __init__(self, tolerance: Tolerance, max_evaluations: int) -> None:
        if max_evaluations < FIRST_NODES:
            raise ValueError(f"max_evaluations must be at least {FIRST_NODES}")
        self._tolerance = tolerance
        self._max_evaluations = max_evaluations
        self._pending: dict[int, Node] = {}
        self._wanted: list[Node] = []
        self._told: list[Told] = []  # ascending in alpha
        self._count = 0
        #: Per panel, how many splits in a row have not shrunk its residual; for the halves of the last round's splits,
        #: the residual and the count of the panel that they came from.
        self._stuck: dict[Panel, int] = {}
        self._parents: dict[Panel, tuple[float, int]] = {}
        self._jumps: list[float] = []
        self._fit: mesh.Fit | None = None
        self._stop: StopReason | None = None
        # Alpha 1 first: the predicted class is resolved there.
        self._want(1.0, *(i / (FIRST_NODES - 1) for i in range(FIRST_NODES - 1)))

    @property
    def done(self) -> bool:
        """Whether the integrator has stopped."""
        return self._stop is not None

    def ask(self) -> tuple[Node, ...]:
        """See Integrator."""
        wanted, self._wanted = tuple(self._wanted), []
        return wanted

    def tell(self, index: int, score: float, slope: float | None) -> None:
        """See Integrator. A non-finite slope at alpha 0 or 1 is allowed: that panel gets an open stencil."""
        told = checked(self._pending.pop(index), score, slope, open_end_allowed=True)
        bisect.insort(self._told, told, key=lambda t: t.alpha)
        if not self._pending:
            self._advance()

    def error(self) -> float | None:
        """Relative completeness error over the nodes known at the last round."""
        if self._fit is None:
            return None
        gap = self._told[-1].score - self._told[0].score
        return abs(float(self._fit.residual.sum()) / gap) if gap else None

    def result(self) -> Integral:
        """See Integrator."""
        if self._stop is None or self._fit is None:
            raise RuntimeError("not done: nodes are still to be told. This is a bug.")
        ends = (self._told[0], self._told[-1])
        return Integral(
            nodes=tuple(self._told),
            weights=_by_index(self._told, self._fit.weights),
            coarse_weights=self._coarse_weights(),
            stop_reason=self._stop,
            converged=self._stop is StopReason.TOLERANCE,
            discontinuous_at=self._jumps[0] if self._jumps else None,
            open_ends=tuple(t.alpha for t in ends if t.slope is None),
        )

    def _want(self, *alphas: float) -> None:
        for alpha in alphas:
            node = Node(self._count, alpha, True)
            self._count += 1
            self._pending[node.index] = node
            self._wanted.append(node)

    def _arrays(self) -> tuple[mesh.Floats, mesh.Floats, mesh.Floats]:
        alpha = np.array([t.alpha for t in self._told])
        score = np.array([t.score for t in self._told])
        slope = np.array([np.nan if t.slope is None else t.slope for t in self._told])
        return alpha, score, slope

    def _coarse_weights(self) -> Mapping[int, float] | None:
        alpha, score, slope = self._arrays()
        kept = mesh.every_other(alpha, slope)
        if not len(kept):
            return None
        weights = mesh.fit(alpha[kept], score[kept], slope[kept]).weights
        return _by_index([self._told[i] for i in kept], weights)

    def _advance(self) -> None:
        """All wanted nodes are known: stop, or want the middles of the panels that carry the error."""
        alpha, score, slope = self._arrays()
        self._fit = fit = mesh.fit(alpha, score, slope)
        limit = self._tolerance.limit(float(score[-1] - score[0]))
        if fit.indicator.sum() <= limit and abs(fit.residual.sum()) <= limit:
            self._stop = StopReason.TOLERANCE
            return
        panels = list(zip(alpha[:-1].tolist(), alpha[1:].tolist(), strict=True))
        self._count_splits_without_gain(panels, fit)
        jumped = np.array([self._stuck[panel] >= JUMP_SPLITS for panel in panels])
        self._jumps = [(a + b) / 2 for (a, b), jump in zip(panels, jumped, strict=True) if jump]
        splittable = ~fit.at_rounding & ~jumped & (np.diff(alpha) > NARROWEST_PANEL)
        chosen = _choose(np.where(splittable, fit.indicator, 0.0), limit)
        # Jumps and noise alone may exceed the limit: then the rest is brought within it, and no more is spent.
        hopeless = fit.indicator[~splittable].sum() > limit and fit.indicator[splittable].sum() <= limit
        if hopeless or not len(chosen):
            self._stop = self._why_stuck(bool(np.any(~splittable & ~jumped & ~fit.at_rounding)))
        elif len(self._told) >= self._max_evaluations:
            self._stop = StopReason.MAX_EVALUATIONS
        else:
            chosen = chosen[: self._max_evaluations - len(self._told)]
            self._split([(panels[i], float(fit.trapezoid_residual[i])) for i in sorted(chosen)])

    def _why_stuck(self, too_narrow: bool) -> StopReason:
        if self._jumps:
            return StopReason.DISCONTINUITY
        return StopReason.RESOLUTION if too_narrow else StopReason.FLOAT_NOISE

    def _split(self, chosen: list[tuple[Panel, float]]) -> None:
        """Want the middle of each chosen panel, and remember its residual for its halves."""
        self._parents = {}
        for panel, residual in chosen:
            a, b = panel
            middle = (a + b) / 2
            self._want(middle)
            self._parents[a, middle] = self._parents[middle, b] = (residual, self._stuck[panel])

    def _count_splits_without_gain(self, panels: list[Panel], fit: mesh.Fit) -> None:
        """Keep, per panel, how many splits in a row have not shrunk its residual: the mark of a jump of F."""
        stuck = {}
        for panel, residual in zip(panels, fit.trapezoid_residual, strict=True):
            if panel in self._parents:
                before, splits = self._parents[panel]
                stuck[panel] = splits + 1 if abs(residual) >= JUMP_SHRINKAGE * abs(before) else 0
            else:
                stuck[panel] = self._stuck.get(panel, 0)
        self._stuck = stuck


def _by_index(nodes: Sequence[Told], weights: mesh.Floats) -> dict[int, float]:
    """Weights by node index, without the open ends: zero times a vector that is not finite would be NaN."""
    return {t.index: float(w) for t, w in zip(nodes, weights, strict=True) if t.slope is not None}


def _choose(indicator: NDArray[np.float64], limit: float) -> NDArray[np.intp]:
    """The fewest panels to split, largest first, such that the others together stay below a share of the limit.

    At most a third of the panels at once (two at least): later rounds know more.
    """
    # Nearly equal ones are ties, which a stable sort leaves to the left: rounding must not choose between mirrors.
    rank = np.round(np.log2(np.maximum(indicator, np.finfo(float).tiny)) * TIES_PER_OCTAVE)
    order = np.argsort(-rank, kind="stable")
    left_over = indicator.sum() - np.cumsum(indicator[order])
    enough = int(np.searchsorted(-left_over, -UNSPLIT_SHARE * limit)) + 1
    most = max(2, len(indicator) // 3)
    chosen = order[: min(enough, most)]
    return chosen[indicator[chosen] > 0]
