"""The adaptive integrator: splits the panels whose exact residuals are largest until the tolerance holds.

Scores at a few points, which cost no gradient, show where each curve's nodes are wanted (`placing.py`). Each round
every panel is integrated by one polynomial through all nodes (`spectral.py`) or by the stencils with the smallest
residuals (`mesh.py`), for every target; if the panels' indicators together exceed a target's tolerance, the panels
that carry it are split (`choosing.py`): all at once, by the polynomial's next rule, where most of them do, else in the
middle. Nothing is wasted by a split: all weights are recomputed from all nodes, which stay. Several curves and several
targets share the budget: panels compete by their indicators in shares of the error that their target is allowed.

Where the attribution error has a tolerance too, it is asked for whenever completeness holds, and panels are split.
Where not all vectors may be kept, other panels are sealed to make room (`room.py`): they keep their weights.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from math import sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Asks, Awaited, Curve, Floats, Indices, checked, one_node_each
from attributor.core.choosing import for_completeness, for_vectors, rationed, why_stuck, within_allowance
from attributor.core.curves import add_scores, add_told, known, weights_of
from attributor.core.first_round import EVEN_ROUNDS, SHARE_LEFT, even_start, fewest_evaluations, first_asks, first_rule
from attributor.core.integrator import Check, Integral, Seal, StopReason, Tolerance, attributed
from attributor.core.panels import CurvePanels, Panels, fit_together, side_by_side
from attributor.core.placing import Scan, look_together
from attributor.core.room import sealed_for

#: Where more than this share of a curve's panels is to be split, all are, for the polynomial's next rule. Ours.
EXTENDED_SHARE = 0.5
#: Of the panels, one in so many is split at once (two at least): later rounds know more.
MOST_SPLITS_SHARE = 3
#: Of the most that may be kept, the share that is left alone as long as the worst panels are split first. It is for
#: finishing one part of the path after the other, where these are too many. Ours: a part takes some halvings.
SHARE_IN_RESERVE = 1 / 4

#: A round of one curve, as most rounds are: the first of the few rules that most jobs take are made once.
_round = lru_cache(maxsize=256)(one_node_each)


class AdaptiveIntegrator:
    """Integrates to a tolerance within a budget of evaluations: asks, of which one at a shared vertex counts once.

    With an attribution tolerance, whatever the reason to stop, the last word is a check of the final weights: an
    integral's `attribution_errors` are those of the weights it holds, also when the budget is spent.
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        n_targets: int,
        tolerance: Tolerance,
        max_evaluations: int,
        most_kept: int | None = None,
        *,
        seals: bool = True,
    ) -> None:
        """`most_kept`: nodes whose vectors may be kept at a time, None for any number; never taken to be less than the
        fewest first nodes. `seals`: whether panels may be sealed for that; else it stops there, for want of memory.

        Raises ValueError for a budget below `fewest_evaluations`.
        """
        fewest = fewest_evaluations(curves)
        if max_evaluations < fewest:
            raise ValueError(f"max_evaluations must be at least {fewest}: first nodes of {len(curves)} curves")
        self._tolerance = tolerance
        self._max_evaluations = max_evaluations
        self._most_kept = None if most_kept is None else max(most_kept, fewest)
        self._seals = seals
        self._reserve = 0 if most_kept is None or not seals else int(SHARE_IN_RESERVE * most_kept)
        self._seal: Seal | None = None
        self._n_dropped = 0
        self._targets = range(n_targets)
        self._all = tuple(curves)
        self._shares = [curve.weight for curve in curves]
        #: Until the first nodes are placed; the curves from then on.
        self._scans = [Scan() for _ in curves]
        self._curves: list[CurvePanels] = []
        self._wanted: list[Asks] = [first_asks(self._all)]
        self._awaited = Awaited()
        self._evaluations, self._even_rounds = 0, 0  # so far, and that are to come
        self._next_index = len(self._wanted[0].arrays.index)
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

    def without_a_look(self, rounds: int = 1) -> Self:
        """Of a single curve, before anything is asked: first gradients are spread evenly, not where scores show that
        they are needed; those of so many rounds are wanted at once. Raises ValueError for several curves."""
        rule, asks = even_start(self._all, self._tolerance, self._max_evaluations, self._most_kept, rounds)
        self._wanted, self._next_index = [asks], len(asks.arrays.index)
        self._curves, self._evaluations = [CurvePanels(self._shares[0], rule)], rule.n
        self._even_rounds = EVEN_ROUNDS - rounds
        return self

    @property
    def done(self) -> bool:
        """Whether the integrator has stopped."""
        return self._stop is not None

    def ask(self) -> Asks:
        """See Integrator."""
        wanted, self._wanted = self._wanted, []
        asks = wanted[0] if len(wanted) == 1 else Asks(chain.from_iterable(wanted))
        self._awaited.add(asks)
        return asks

    def tell(self, asks: Asks, scores: Floats, slopes: Floats) -> None:
        """See Integrator. No gradient is asked for at the ends of a curve: the panels there get open stencils."""
        if self.take_in(asks, scores, slopes):
            scans, curves = self.unseen()
            look_together(scans)
            fit_together(curves)
            self.go_on()

    def take_in(self, asks: Asks, scores: Floats, slopes: Floats) -> bool:
        """The first part of `tell`: note what is told; whether all of the round is known. Raises as `tell` does."""
        self._awaited.remove(asks)
        slopes = checked(asks, scores, slopes)
        if self._curves:
            add_told(self._curves, asks, scores, slopes)
        else:
            add_scores(self._scans, asks, scores)
        return not self._awaited and not self._wanted

    def unseen(self) -> tuple[list[Scan], list[CurvePanels]]:
        """The scans to be looked at, or the curves to be integrated, before it can `go_on`."""
        if not self._curves:
            return self._scans, []
        unfitted = [self._curves[number] for number in sorted(self._unfitted)]
        self._unfitted.clear()
        return [], unfitted

    def go_on(self) -> None:
        """The last part of `tell`: want more, or stop."""
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
        panels = self._panels()
        chosen = for_vectors(panels, ~np.array(fine))
        if not len(chosen):
            self._stop = StopReason.MEMORY if panels.sealed.any() else StopReason.RESOLUTION
        elif self._evaluations >= self._max_evaluations:
            self._stop = StopReason.MAX_EVALUATIONS
        else:
            last = chosen[self._at_once() :][::-1]
            if not self._split(chosen, lambda: (within_allowance(panels, last, self._limits), chosen)):
                self._stop = StopReason.MEMORY

    def seal(self) -> Seal | None:
        """See Integrator."""
        seal, self._seal = self._seal, None
        return seal

    def error(self) -> float | None:
        """Relative completeness error over the nodes known at the last round, the largest over the targets."""
        relative = [abs(r / gap) for r, gap in zip(self._residuals, self._gaps, strict=True) if gap]
        return max(relative, default=None)

    def weights_now(self) -> Mapping[int, float] | None:
        """See Integrator."""
        if not self._gaps:
            return None
        return {index: weight for curve in self._curves for index, weight in curve.weights(0).items()}

    def result(self) -> Integral:
        """See Integrator."""
        if self._stop is None or self._check is None:
            raise RuntimeError("not done: nodes are still to be told. This is a bug.")
        fine = attributed(self._tolerance, self._check, self._errors)
        return Integral(
            known=known(self._curves),
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

    def _place(self) -> None:
        """All scores are known: want more, or the first gradients."""
        for number, scan in enumerate(self._scans):
            self._want(number, tuple(scan.wanted), gradient=False)
        if self._wanted:
            return
        limits = len(self._scans), self._tolerance, self._max_evaluations, self._most_kept
        for number, (scan, share) in enumerate(zip(self._scans, self._shares, strict=True)):
            rule = first_rule(*limits, scan.placing)
            self._curves.append(CurvePanels(share, rule))
            index, alpha, scores = scan.ends
            self._curves[number].add(index, alpha, scores, np.full_like(scores, np.nan))
            self._want(number, rule.alphas, gradient=True)

    def _want(self, number: int, alphas: tuple[float, ...], *, gradient: bool) -> None:
        if not alphas:
            return
        self._wanted.append(_round(number, alphas, self._next_index, gradient=gradient))
        self._next_index += len(alphas)
        self._evaluations += gradient * len(alphas)
        self._unfitted.add(number)

    def _panels(self) -> Panels:
        return side_by_side([curve.panels for curve in self._curves])

    def _advance(self) -> None:
        """All wanted nodes are known: stop, or want the middles of the panels that carry the error."""
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
        elif not self._split(chosen, lambda: rationed(panels, self._limits)):
            self._end(StopReason.MEMORY)

    def _end(self, reason: StopReason) -> None:
        """Stop, or first have the attribution error told."""
        self._check = weights_of(self._curves, len(self._targets))
        if self._tolerance.attribution is None:
            self._stop = reason
        else:
            self._ending = reason

    def _at_once(self) -> int:
        """Panels that are split at once at most."""
        return max(2, sum(len(curve.alpha) - 1 for curve in self._curves) // MOST_SPLITS_SHARE)

    def _split(self, chosen: NDArray[np.intp], ration: Callable[[], tuple[Indices, Indices]]) -> bool:
        """Split panels, numbered over all curves and worst first, as far as the budget goes; False if there is no room
        for any, also after sealing. `ration`: the panels that may be sealed, those to be sealed first in front, and
        those to be split instead, where there is little room even so.

        A curve that wants most of its panels split gets the next rule of one polynomial, if the budget has it.
        """
        firsts = [0, *accumulate(len(curve.alpha) - 1 for curve in self._curves)]
        at_once, before = self._at_once(), self._evaluations
        tight = self._most_kept is not None and self._seals and at_once > self._room() - self._reserve
        if tight and (polynomials := [curve for curve in self._curves if curve.rule is not None]):
            for curve in polynomials:
                curve.end_polynomial()
            self._advance()
            return True
        for number, curve in enumerate(self._curves):
            own = (chosen >= firsts[number]) & (chosen < firsts[number + 1])
            panels = len(curve.alpha) - 1
            spare = min(self._max_evaluations - self._evaluations, self._room())
            most = self._even_rounds > 0 or np.count_nonzero(own) > EXTENDED_SHARE * panels
            if curve.extensible and most and panels <= spare:
                self._even_rounds -= 1
                chosen = chosen[~own]
                self._want(number, tuple(curve.extend()), gradient=True)
        at_once = min(at_once, self._max_evaluations - self._evaluations, len(chosen))
        if at_once > self._room() - self._reserve:
            chosen = self._make_room(chosen, at_once, *ration())
            at_once = min(at_once, self._room())
        halved: dict[int, list[float]] = {}
        for panel in sorted(chosen[:at_once].tolist()):
            number = bisect_right(firsts, panel) - 1
            halved.setdefault(number, []).append(self._curves[number].halve(panel - firsts[number]))
        for number, middles in halved.items():
            self._want(number, tuple(middles), gradient=True)
        return self._evaluations > before

    def _room(self) -> int:
        """Nodes that may be added before there are too many vectors."""
        if self._most_kept is None:
            return self._max_evaluations
        return self._most_kept - (self._evaluations - self._n_dropped)

    def _make_room(self, chosen: Indices, at_once: int, sealable: Indices, instead: Indices) -> Indices:
        """Seal panels, the first of those that may be, until there is much room again; what is to be split now."""
        if self._most_kept is None or not self._seals:
            return chosen
        if not len(instead):  # Something must stay that can be split.
            sealable = sealable[~np.isin(sealable, chosen)]
        needed = self._most_kept - int(SHARE_LEFT * self._most_kept) - self._room()
        self._seal = sealed_for(self._curves, sealable, max(1, needed))
        self._n_dropped += len(self._seal.dropped) if self._seal else 0
        free = ~np.concatenate([curve.settled for curve in self._curves])
        left, instead = chosen[free[chosen]], instead[free[instead]]
        enough = len(left) and at_once <= self._room() - self._reserve
        return left if enough or not len(instead) else instead[: max(1, self._room() // 2)]
