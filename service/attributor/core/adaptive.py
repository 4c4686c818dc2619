"""The adaptive integrator: splits the panels whose exact residuals are largest until the tolerance holds.

Scores at a few points, which cost no gradient, show where each curve's nodes are wanted (`placing.py`). Each round
every panel is integrated by one polynomial through all nodes (`spectral.py`) or by the stencils with the smallest
residuals (`mesh.py`), for every target; if the panels' indicators together exceed a target's tolerance, the panels
that carry it are split (`choosing.py`): all at once, by the polynomial's next rule, where most of them do, else in the
middle. Nothing is wasted by a split: all weights are recomputed from all nodes, which stay. Several curves and several
targets share the budget: panels compete by their indicators in shares of the error that their target is allowed.

Where the attribution error has a tolerance too, it is asked for whenever completeness holds, and panels are split for
it until it holds as well.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from math import log10, sqrt

import numpy as np
from numpy.typing import NDArray

from attributor.core import spectral
from attributor.core.choosing import for_completeness, for_vectors, why_stuck
from attributor.core.integrator import (
    Ask,
    Check,
    Curve,
    Integral,
    Node,
    StopReason,
    Told,
    Tolerance,
    attributed,
    checked,
    laid_out,
)
from attributor.core.panels import CurvePanels, Panels, side_by_side
from attributor.core.placing import Scan, first_scan

#: First nodes of a single curve at the loosest tolerance, 5 %. Odd numbers, so that the panels between them pair up and
#: every other node makes a rule too. Ours: 7 leave half of the transformer's inputs above 5 %; ARCHITECTURE.md, 13.
FIRST_NODES, LOOSEST = 9, 0.05
#: More of them per factor of ten in the tolerance: 15 at 1 %, 23 at 0.1 %. The error of such a rule on a smooth score
#: falls by a factor per node (Trefethen 2008), so they grow as the logarithm. Ours: 15 meet 1 % on most inputs.
NODES_PER_DECADE = 8.6
TIGHTEST = 1e-6
#: The share of them that each curve gets, by the most curves that get so many. Ours: two curves of 5 have about the
#: panels of one of 9, and luck in one curve of four is diluted by the others.
SHARES_OF_EACH = ((1, 1.0), (4, 5 / 9))
SMALLEST_SHARE = 1 / 3
#: A smaller budget has too few nodes for any choice of stencils, and none for a coarse rule either.
FEWEST_FIRST_NODES = 2
#: Where more than this share of a curve's panels is to be split, all are, for the polynomial's next rule. Ours.
EXTENDED_SHARE = 0.5
#: Of the panels, one in so many is split at once (two at least): later rounds know more.
MOST_SPLITS_SHARE = 3


def fewest_evaluations(curves: Sequence[Curve]) -> int:
    """Evaluations that the first nodes of these curves take: the least budget that AdaptiveIntegrator accepts."""
    return FEWEST_FIRST_NODES * len(curves)


def first_nodes(n_curves: int, tolerance: Tolerance, max_evaluations: int) -> int:
    """Gradients that each of so many curves begins with."""
    asked = [t for t in (tolerance.relative, tolerance.attribution) if t is not None]
    tight = min(max(asked[0], TIGHTEST), LOOSEST) if asked else LOOSEST
    share = next((share for most, share in SHARES_OF_EACH if n_curves <= most), SMALLEST_SHARE)
    wanted = share * (FIRST_NODES + NODES_PER_DECADE * log10(LOOSEST / tight))
    odd = 2 * round((wanted - 1) / 2) + 1
    return max(FEWEST_FIRST_NODES, min(odd, max_evaluations // n_curves))


@lru_cache(maxsize=64)
def _first_asks(curves: tuple[Curve, ...]) -> tuple[Ask, ...]:
    """Scores only."""
    asks = laid_out(curves, (first_scan(len(curves)),) * len(curves))
    return tuple(replace(ask, gradient=False) for ask in asks)


class AdaptiveIntegrator:
    """Integrates to a tolerance within a budget of evaluations: asks, of which one at a shared vertex counts once.

    With an attribution tolerance, whatever the reason to stop, the last word is a check of the final weights: an
    integral's `attribution_errors` are those of the weights it holds, also when the budget is spent.
    """

    def __init__(self, curves: Sequence[Curve], n_targets: int, tolerance: Tolerance, max_evaluations: int) -> None:
        fewest = fewest_evaluations(curves)
        if max_evaluations < fewest:
            raise ValueError(
                f"max_evaluations must be at least {fewest}: so many first nodes has a path of {len(curves)} "
                f"{'curve' if len(curves) == 1 else 'curves'}"
            )
        self._tolerance = tolerance
        self._max_evaluations = max_evaluations
        self._targets = range(n_targets)
        self._shares = [curve.weight for curve in curves]
        self._ends: list[list[Told]] = [[] for _ in curves]
        #: Until the first nodes are placed; the curves from then on.
        self._scans = [Scan() for _ in curves]
        self._curves: list[CurvePanels] = []
        self._wanted: list[Ask] = list(_first_asks(tuple(curves)))
        self._pending = {ask.nodes[0].index: ask for ask in self._wanted}
        self._next_index = sum(len(ask.nodes) for ask in self._wanted)
        self._evaluations = 0
        self._unfitted = set(range(len(curves)))
        self._residuals: list[float] = []
        self._gaps: tuple[float, ...] = ()
        self._variations: tuple[float, ...] = ()
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
        """See Integrator. No gradient is asked for at the ends of a curve: the panels there get open stencils."""
        for told in checked(self._pending.pop(ask.nodes[0].index), scores, slopes):
            if self._curves:
                self._curves[told.node.curve].add(told)
            else:
                self._scan(told)
        if self._pending:
            return
        if self._curves:
            self._advance()
        else:
            self._place()

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
        chosen = for_vectors(self._panels(), ~np.array(fine))
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
            attribution_errors=self._errors,
            variations=self._variations,
        )

    def _scan(self, told: Told) -> None:
        self._scans[told.node.curve].add(told.node.alpha, told.scores)
        if told.node.alpha in (0.0, 1.0):
            self._ends[told.node.curve].append(told)

    def _place(self) -> None:
        """All scores are known: want more, or the first gradients."""
        for number, scan in enumerate(self._scans):
            for alpha in scan.wanted():
                self._want(number, alpha, gradient=False)
        if self._wanted:
            return
        n = first_nodes(len(self._scans), self._tolerance, self._max_evaluations)
        nested = n * len(self._scans) < self._max_evaluations
        for number, (scan, share, ends) in enumerate(zip(self._scans, self._shares, self._ends, strict=True)):
            rule = spectral.rule(n, scan.placing(), nested=nested)
            self._curves.append(CurvePanels(share, rule))
            for told in ends:
                self._curves[number].add(told)
            for alpha in rule.alphas:
                self._want(number, alpha, gradient=True)

    def _want(self, number: int, alpha: float, *, gradient: bool) -> None:
        ask = Ask((Node(self._next_index, number, alpha),), gradient)
        self._pending[self._next_index] = ask
        self._wanted.append(ask)
        self._next_index += 1
        self._evaluations += gradient
        self._unfitted.add(number)

    def _panels(self) -> Panels:
        return side_by_side([curve.panels for curve in self._curves])

    def _advance(self) -> None:
        """All wanted nodes are known: stop, or want the middles of the panels that carry the error."""
        for number in self._unfitted:
            self._curves[number].fit()
        self._unfitted.clear()
        if not self._gaps:  # The ends of all curves are among the first nodes.
            self._gaps = tuple([sum([curve.gap(target) for curve in self._curves]) for target in self._targets])
        self._variations = tuple(
            [sum([curve.variations[target] for curve in self._curves]) for target in self._targets]
        )
        self._limits = tuple(map(self._tolerance.limit, self._gaps, self._variations))
        self._residuals = [sum([curve.residuals[target] for curve in self._curves]) for target in self._targets]
        indicators = [sqrt(sum([curve.squares[target] for curve in self._curves])) for target in self._targets]
        self._met = [
            indicator <= limit and abs(residual) <= limit
            for indicator, residual, limit in zip(indicators, self._residuals, self._limits, strict=True)
        ]
        if all(self._met):
            self._end(StopReason.TOLERANCE)
            return
        panels = self._panels()
        chosen = for_completeness(panels, self._limits, indicators, self._met)
        if not len(chosen):
            self._end(why_stuck(panels, ~np.array(self._met)))
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
        """Split panels, numbered over all curves and worst first, as far as the budget goes.

        A curve that wants most of its panels split gets the next rule of one polynomial, if the budget has it.
        """
        firsts = [0, *accumulate(len(curve.told) - 1 for curve in self._curves)]
        at_once = max(2, firsts[-1] // MOST_SPLITS_SHARE)
        for number, curve in enumerate(self._curves):
            own = (chosen >= firsts[number]) & (chosen < firsts[number + 1])
            panels = len(curve.told) - 1
            spare = self._max_evaluations - self._evaluations
            if curve.extensible and np.count_nonzero(own) > EXTENDED_SHARE * panels and panels <= spare:
                chosen = chosen[~own]
                for alpha in curve.extend():
                    self._want(number, alpha, gradient=True)
        at_once = min(at_once, self._max_evaluations - self._evaluations)
        for panel in sorted(chosen[:at_once].tolist()):
            number = bisect_right(firsts, panel) - 1
            self._want(number, self._curves[number].halve(panel - firsts[number]), gradient=True)
