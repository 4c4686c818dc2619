"""The adaptive integrator: splits the panels whose exact residuals are largest until the tolerance holds.

Each round every panel is integrated by the stencil with the smallest residual (`mesh.py`), for every target; if the sum
of the panels' indicators exceeds a target's tolerance, the panels that carry it are split in the middle. Nothing is
wasted by a split: all weights are recomputed from all nodes, which stay. Several curves and several targets share the
budget: panels compete by their indicators in shares of the completeness error that their target is allowed.

Where the attribution error has a tolerance too, it is asked for whenever completeness holds, and panels are split for
it until it holds as well.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh
from attributor.core.integrator import (
    Ask,
    Check,
    Curve,
    Integral,
    Node,
    StopReason,
    Tolerance,
    attributed,
    checked,
    laid_out,
)
from attributor.core.panels import CurvePanels, Panels, side_by_side

#: Evenly spaced first nodes of a single curve, both ends among them. Ours: with 5, panels whose residual is small by
#: luck stay unseen; 9 halve the worst errors of the vector at hardly any cost. Figures in ARCHITECTURE.md, decision 3.
FIRST_NODES = 9
#: First nodes of each curve, by the most curves that get so many. Ours: two curves of 5 have the 8 panels of one of 9,
#: and luck in one curve of four is diluted by the others; of more curves, 3 is the fewest with a choice of stencils.
FIRST_NODES_OF_EACH = ((1, FIRST_NODES), (4, 5))
FEWEST_FIRST_NODES = 3
#: Share of the tolerance that the panels left alone in a round may use up; the split ones need the rest.
UNSPLIT_SHARE = 0.5
#: Indicators are compared in so many steps per factor of two: 1 % apart, far above float32 rounding. Ours.
TIES_PER_OCTAVE = 64
#: Of the panels, one in so many is split at once (two at least): later rounds know more.
MOST_SPLITS_SHARE = 3
#: Stands for an allowed error of zero where shares of it are compared: below any residual that counts.
LEAST_LIMIT = 1e-100
#: The least positive float: a share of zero has a logarithm too.
TINIEST = float(np.finfo(float).tiny)


def fewest_evaluations(curves: Sequence[Curve]) -> int:
    """Evaluations that the first nodes of these curves take: the least budget that AdaptiveIntegrator accepts."""
    return len(_first_asks(tuple(curves)))


def _first_asks(curves: tuple[Curve, ...]) -> tuple[Ask, ...]:
    nodes = next((n for most, n in FIRST_NODES_OF_EACH if len(curves) <= most), FEWEST_FIRST_NODES)
    return laid_out(curves, (tuple(i / (nodes - 1) for i in range(nodes)),) * len(curves))


class AdaptiveIntegrator:
    """Integrates to a tolerance within a budget of evaluations: asks, of which one at a shared vertex counts once.

    With an attribution tolerance, whatever the reason to stop, the last word is a check of the final weights: an
    integral's `attribution_errors` are those of the weights it holds, also when the budget is spent.
    """

    def __init__(self, curves: Sequence[Curve], n_targets: int, tolerance: Tolerance, max_evaluations: int) -> None:
        wanted = _first_asks(tuple(curves))
        if max_evaluations < len(wanted):
            raise ValueError(
                f"max_evaluations must be at least {len(wanted)}: so many first nodes has a path of {len(curves)} "
                f"{'curve' if len(curves) == 1 else 'curves'}"
            )
        self._tolerance = tolerance
        self._max_evaluations = max_evaluations
        self._targets = range(n_targets)
        self._curves = [CurvePanels(curve.weight) for curve in curves]
        self._wanted: list[Ask] = list(wanted)
        self._pending = {ask.nodes[0].index: ask for ask in wanted}
        self._next_index = sum(len(ask.nodes) for ask in wanted)
        self._evaluations = len(wanted)
        self._unfitted = set(range(len(curves)))
        self._residuals: list[float] = []
        self._gaps: tuple[float, ...] = ()
        self._limits: tuple[float, ...] = ()
        self._met: list[bool] = []
        #: Why it stops, once the check that may be due is answered; its weights, and what the last check found.
        self._ending: StopReason | None = None
        self._check: Check | None = None
        self._errors: tuple[float | None, ...] | None = None
        self._stop: StopReason | None = None

    @property
    def done(self) -> bool:
        """Whether the integrator has stopped."""
        return self._stop is not None

    def ask(self) -> tuple[Ask, ...]:
        """See Integrator."""
        wanted, self._wanted = tuple(self._wanted), []
        return wanted

    def tell(self, ask: Ask, scores: Sequence[float], slopes: Sequence[Sequence[float]] | None) -> None:
        """See Integrator. A slope may be non-finite at an end of a curve: the panel there gets an open stencil."""
        for told in checked(self._pending.pop(ask.nodes[0].index), scores, slopes):
            self._curves[told.node.curve].add(told)
        if not self._pending:
            self._advance()

    def check(self) -> Check | None:
        """The weights it would stop with, where an attribution tolerance must confirm them."""
        return None if self._ending is None or self.done else self._check

    def tell_errors(self, errors: Sequence[float | None]) -> None:
        """See Integrator. Stops, or splits for the sake of the targets whose attribution error is too large."""
        if self._check is None or self._ending is None:
            raise RuntimeError("no check was wanted. This is a bug.")
        self._errors = tuple(errors)
        ending, self._ending = self._ending, None
        fine = attributed(self._tolerance, self._check, self._errors)
        if ending is not StopReason.TOLERANCE or all(fine):
            self._stop = ending
            return
        chosen = _choose_for_vectors(self._panels(), ~np.array(fine))
        if not len(chosen):
            self._stop = StopReason.RESOLUTION
        elif self._evaluations >= self._max_evaluations:
            self._stop = StopReason.MAX_EVALUATIONS
        else:
            self._split(chosen)

    def error(self) -> float | None:
        """Relative completeness error over the nodes known at the last round, the largest over the targets."""
        relative = [abs(r / gap) for r, gap in zip(self._residuals, self._gaps, strict=True) if gap]
        return max(relative, default=None)

    def result(self) -> Integral:
        """See Integrator."""
        if self._stop is None or self._check is None:
            raise RuntimeError("not done: nodes are still to be told. This is a bug.")
        fine = attributed(self._tolerance, self._check, self._errors)
        return Integral(
            nodes=tuple(told for curve in self._curves for told in curve.told),
            weights=self._check.weights,
            coarse_weights=self._check.coarse_weights,
            stop_reason=self._stop,
            converged=tuple([met and ok for met, ok in zip(self._met, fine, strict=True)]),
            gaps=self._gaps,
            limits=self._limits,
            discontinuous_at=next(((i, curve.jump) for i, curve in enumerate(self._curves) if curve.jump), None),
            open_ends=tuple((i, alpha) for i, curve in enumerate(self._curves) for alpha in curve.open_ends()),
            attribution_errors=self._errors,
        )

    def _panels(self) -> Panels:
        return side_by_side([curve.panels for curve in self._curves])

    def _advance(self) -> None:
        """All wanted nodes are known: stop, or want the middles of the panels that carry the error."""
        for number in self._unfitted:
            self._curves[number].fit()
        self._unfitted.clear()
        if not self._gaps:  # The ends of all curves are among the first nodes.
            self._gaps = tuple([sum([curve.gap(target) for curve in self._curves]) for target in self._targets])
            self._limits = tuple([self._tolerance.limit(gap) for gap in self._gaps])
        self._residuals = [sum([curve.residuals[target] for curve in self._curves]) for target in self._targets]
        indicators = [sum([curve.indicators[target] for curve in self._curves]) for target in self._targets]
        self._met = [
            indicator <= limit and abs(residual) <= limit
            for indicator, residual, limit in zip(indicators, self._residuals, self._limits, strict=True)
        ]
        if all(self._met):
            self._end(StopReason.TOLERANCE)
            return
        panels = self._panels()
        chosen = _choose(panels, self._limits, indicators, self._met)
        if not len(chosen):
            self._end(_why_stuck(panels, ~np.array(self._met)))
        elif self._evaluations >= self._max_evaluations:
            self._end(StopReason.MAX_EVALUATIONS)
        else:
            self._split(chosen)

    def _end(self, reason: StopReason) -> None:
        """Stop, or first have the attribution error told."""
        self._check = self._weights()
        if self._tolerance.attribution is None:
            self._stop = reason
        else:
            self._ending = reason

    def _weights(self) -> Check:
        weights, coarse_weights = [], []
        for target in self._targets:
            whole: dict[int, float] = {}
            coarse: dict[int, float] | None = {}
            for curve in self._curves:
                whole |= curve.weights(target)
                of_curve = curve.coarse_weights(target)
                coarse = None if coarse is None or of_curve is None else coarse | of_curve
            weights.append(whole)
            coarse_weights.append(coarse)
        return Check(tuple(weights), tuple(coarse_weights))

    def _split(self, chosen: NDArray[np.intp]) -> None:
        """Want the middles of panels, numbered over all curves and worst first, as far as the budget goes."""
        firsts = [0, *accumulate(len(curve.told) - 1 for curve in self._curves)]
        for panel in sorted(chosen[: self._max_evaluations - self._evaluations].tolist()):
            number = bisect_right(firsts, panel) - 1
            alpha = self._curves[number].halve(panel - firsts[number])
            ask = Ask((Node(self._next_index, number, alpha),), gradient=True)
            self._pending[self._next_index] = ask
            self._wanted.append(ask)
            self._unfitted.add(number)
            self._next_index += 1
            self._evaluations += 1


def _choose(panels: Panels, limits: Sequence[float], totals: Sequence[float], met: Sequence[bool]) -> NDArray[np.intp]:
    """Panels to split for completeness, worst first: the fewest such that the others together stay below a share of the
    limit, for each target that is not met yet. None where no split can bring any of them within its limit.

    Per target: `limits`, `totals` of the indicators, and whether the target is `met`.
    """
    open_to_splits = np.where(panels.idle, 0.0, panels.indicator)
    within_reach = [sum(row) for row in open_to_splits.tolist()]
    # Jumps and noise alone may exceed the limit: then the rest is brought within it, and no more is spent.
    wanting = [
        target
        for target, (total, reach, limit) in enumerate(zip(totals, within_reach, limits, strict=True))
        if not met[target] and not (total - reach > limit and reach <= limit)
    ]
    if not wanting:
        return np.empty(0, np.intp)
    share = open_to_splits[wanting] / np.array([[max(limits[target], LEAST_LIMIT)] for target in wanting])
    order = _worst_first(share.max(axis=0))
    left_over = share.sum(axis=1, keepdims=True) - share[:, order].cumsum(axis=1)
    enough = int(np.count_nonzero(left_over.max(axis=0) > UNSPLIT_SHARE)) + 1
    return order[:enough]


def _choose_for_vectors(panels: Panels, wrong: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Panels to split for the attribution error of the targets that are `wrong`, worst first.

    Where vectors turn, slopes mostly turn too, and the trapezoid's residual shows where. It need not: along a linear
    score all residuals vanish whatever the gradients do, and only an even refinement finds out. So a panel counts by
    its share of the residuals (of the worst target) and by its share of the path. Ours.
    """
    size = panels.size[wrong]
    total = size.sum(axis=1, keepdims=True)
    share = np.divide(size, total, out=np.zeros_like(size), where=total > 0).max(axis=0)
    width = panels.width[0] / panels.width.sum()
    return _worst_first(np.where(panels.narrow[0], 0.0, share + width))


def _worst_first(share: mesh.Floats) -> NDArray[np.intp]:
    """The panels with the largest shares, descending, as many as are split at once; none with a share of zero."""
    # Nearly equal ones are ties, which a stable sort leaves to the left: rounding must not choose between mirrors.
    rank = np.rint(np.log2(np.maximum(share, TINIEST)) * -TIES_PER_OCTAVE)
    order = np.argsort(rank, kind="stable")[: max(2, len(share) // MOST_SPLITS_SHARE)]
    return order[share[order] > 0]


def _why_stuck(panels: Panels, unmet: NDArray[np.bool_]) -> StopReason:
    if panels.jumped[unmet].any():
        return StopReason.DISCONTINUITY
    too_narrow = (panels.narrow & ~panels.at_rounding)[unmet].any()
    return StopReason.RESOLUTION if too_narrow else StopReason.FLOAT_NOISE
