"""The panels of one curve: its nodes, the fit of each target, and what splitting has taught about each panel.

Knows the mesh of a single curve; not other curves, tolerances or budgets.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh, sealed, spectral
from attributor.core.asks import Indices
from attributor.core.sealed import Sealed, coarse_weights, dropped, long_enough

#: Splits without a shrinking residual after which a panel is taken to hold a jump of F (a kink halves it each time).
JUMP_SPLITS = 6
#: A residual above this share of its parent's has not shrunk: a square root's shrinks to 0.71, a jump's stays at 1.
JUMP_SHRINKAGE = 0.9
#: Panels narrower than this are not split: float32 coefficients of the path would no longer tell its nodes apart.
NARROWEST_PANEL = 2.0**-20
#: Nodes, both ends included, of the largest rule of one polynomial that is extended: its tables grow as the square.
#: Ours: in practice kinks and jumps are cheaper to split around long before.
MOST_EXTENDED = 130


class Panels(NamedTuple):
    """What is known of panels, shape (targets, panels); all but the flags times their curves' weights.

    `size`: the absolute residual of a panel's two ends alone, zero where it is no more than rounding or a jump.
    `idle`: no split makes the indicator smaller: it is `at_rounding`, or `jumped`, or too `narrow` to be split, or
    there is none any more, as it is `sealed`. `width`, in local alphas, `narrow` and `sealed` are of shape (1, panels).
    """

    indicator: mesh.Floats
    noise: mesh.Floats
    size: mesh.Floats
    idle: NDArray[np.bool_]
    at_rounding: NDArray[np.bool_]
    jumped: NDArray[np.bool_]
    width: mesh.Floats
    narrow: NDArray[np.bool_]
    sealed: NDArray[np.bool_]


class Final(NamedTuple):
    """What sealing some panels of a curve makes final: per target, by node index, the weights that they add, in the
    rule and in the coarse one; the nodes whose vectors are not needed any more."""

    weights: list[dict[int, float]]
    coarse_weights: list[dict[int, float]]
    dropped: list[int]


def side_by_side(parts: Sequence[Panels]) -> Panels:
    """The panels of several curves in one."""
    if len(parts) == 1:
        return parts[0]
    return Panels(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


class CurvePanels:
    """One curve's nodes and panels: `add` what was told, then `fit`; look at the `panels`, `halve` some, and so on."""

    def __init__(self, weight: float, rule: spectral.Rule | None = None) -> None:
        self._weight = weight
        #: As long as the nodes are this one's.
        self._rule = rule
        self._sealed: Sealed | None = None
        self._fits: list[mesh.Fit] = []
        self._panels: Panels | None = None
        #: Nodes told since the last fit: indexes and alphas (nodes,), scores and slopes (nodes, targets).
        self._new: list[tuple[Indices, mesh.Floats, mesh.Floats, mesh.Floats]] = []
        #: All nodes at the last fit, ascending in alpha; scores and slopes of shape (targets, nodes), NaN for a slope
        #: that there is not.
        self.index: Indices = np.empty(0, np.intp)
        self.alpha = np.empty(0)
        self.score = self.slope = np.empty((0, 0))
        #: Of the panels last looked at, per target: the absolute residuals of their ends, and how many splits in a row
        #: have not shrunk them, the mark of a jump of F; and per panel, how many it has become since, 1 or 2.
        self._size = np.empty((0, 0))
        self._stuck = np.empty((0, 0), int)
        self._parts = np.empty(0, int)
        #: Per target, sums over the panels: of the residuals, of the indicators' squares, and of the scores' rises,
        #: taken absolute.
        self.residuals: list[float] = []
        self.squares: list[float] = []
        self.variations: list[float] = []
        #: Alpha of the first jump of any target's score.
        self.jump: float | None = None

    def add(self, index: Indices, alpha: mesh.Floats, scores: mesh.Floats, slopes: mesh.Floats) -> None:
        """Take nodes: their indexes and alphas (nodes,), scores and slopes (nodes, targets)."""
        self._new.append((index, alpha, scores, slopes))

    def fit(self) -> None:
        """`fit_together` for one curve."""
        fit_together([self])

    def take_in(self) -> None:
        """Put the nodes told since the last fit among the others, if there are any."""
        if not self._new:
            return
        if len(self.alpha):
            self._new.insert(0, (self.index, self.alpha, self.score.T, self.slope.T))
        index, alpha, score, slope = (np.concatenate(parts) for parts in zip(*self._new, strict=True))
        self._new.clear()
        order = alpha.argsort(kind="stable")
        self.index, self.alpha = index[order], alpha[order]
        self.score, self.slope = score[order].T, slope[order].T
        if self._sealed:
            self._sealed.spread(self._parts, order)

    def fitted(self, fits: list[mesh.Fit], sums: Sequence[tuple[float, float, float]]) -> None:
        """Note the fits of all targets and the sums over their panels: of the residuals, of the indicators' squares,
        and of the scores' rises, taken absolute."""
        self._fits = fits
        weight = self._weight
        self.residuals = [weight * residual for residual, _, _ in sums]
        self.squares = [weight**2 * square for _, square, _ in sums]
        self.variations = [weight * variation for _, _, variation in sums]
        self._panels = None

    @property
    def rule(self) -> spectral.Rule | None:
        """That of the one polynomial through all nodes, as long as they are its."""
        return self._rule

    @property
    def sealed(self) -> Sealed | None:
        """What is final; None as long as nothing is."""
        return self._sealed

    @property
    def panels(self) -> Panels:
        """The panels of the last fit, judged by what became of the ones that were halved before it."""
        if self._panels is None:
            self._panels = self._judged()
        return self._panels

    def _judged(self) -> Panels:
        size = np.abs(_rows([fit.trapezoid_residual for fit in self._fits]))
        noise = _rows([fit.noise for fit in self._fits])
        above_rounding = size > noise
        self._stuck = self._splits_without_gain(size, above_rounding)
        self._size = size
        jumped = self._stuck >= JUMP_SPLITS
        self.jump = self._middle(int(jumped.any(axis=0).argmax())) if jumped.any() else None
        at_rounding = _rows([fit.at_rounding for fit in self._fits])
        width = (self.alpha[1:] - self.alpha[:-1])[None]
        narrow = width <= NARROWEST_PANEL
        final = self._sealed.panels[None] if self._sealed else np.zeros(width.shape, bool)
        self._parts = np.ones(width.shape[1], int)
        return Panels(
            indicator=self._weight * _rows([fit.indicator for fit in self._fits]),
            noise=self._weight * noise,
            size=self._weight * size * (above_rounding & ~jumped),
            idle=at_rounding | jumped | narrow | final if self._sealed else at_rounding | jumped | narrow,
            at_rounding=at_rounding,
            jumped=jumped,
            width=self._weight * width,
            narrow=narrow,
            sealed=final,
        )

    @property
    def extensible(self) -> bool:
        """Whether the nodes are still those of one polynomial, and few enough to take twice as many."""
        return self._rule is not None and self._rule.nested and len(self.alpha) <= MOST_EXTENDED

    def extend(self) -> list[float]:
        """Note that every panel is split: where the nodes are wanted now that make the next rule of one polynomial."""
        if self._rule is None:
            raise RuntimeError("no polynomial goes through all nodes any more. This is a bug.")
        self._parts[:] = 2
        self._rule = self._rule.next
        return list(self._rule.alphas[::2])

    def halve(self, panel: int) -> float:
        """Note that a panel is split, by its number: its middle, where a node is wanted now. Ends the polynomial."""
        self._rule = None
        self._parts[panel] = 2
        return self._middle(panel)

    @property
    def final_panels(self) -> NDArray[np.bool_]:
        """Whether each panel is sealed."""
        return np.zeros(len(self.alpha) - 1, bool) if self._sealed is None else self._sealed.panels

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Whether each panel is sealed, or wanted split already."""
        return np.asarray(self.final_panels | (self._parts != 1))

    def end_polynomial(self) -> None:
        """Integrate by stencils from now on, panel by panel: of a polynomial's panels none is right by itself, their
        errors cancel."""
        if self._rule is not None:
            self._rule = None
            self.fit()

    def sealable(self, panels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those of some panels, shape (panels,), that can be sealed now, all together; none of a polynomial's."""
        if self._rule is not None:
            return np.zeros_like(panels)
        return long_enough(panels & ~self.settled, self.slope[0])

    def droppable(self, panels: NDArray[np.bool_]) -> int:
        """How many vectors are not needed any more once these panels are sealed."""
        before = self.final_panels
        return int(np.count_nonzero(dropped(before | panels)) - np.count_nonzero(dropped(before)))

    def seal(self, panels: NDArray[np.bool_]) -> Final:
        """Make panels that are `sealable` final, with their weights in the last fit; the others are integrated anew,
        without a look at nodes beyond those of their runs."""
        targets = range(len(self.slope))
        known = self._sealed or Sealed(len(targets), len(self.alpha))
        gone = ~dropped(known.panels)
        weights = np.array([self._weight * self._rows_of(target)[panels].sum(axis=0) for target in targets])
        each = zip(self.score, self.slope, strict=True)
        coarse = np.array([self._weight * coarse_weights(self.alpha, *of_one, panels) for of_one in each])
        known.add(panels, self._fits, weights, coarse)
        gone &= dropped(known.panels)
        self._sealed = known
        self.fit()
        return Final(
            [self._nonzero(of_target) for of_target in weights],
            [self._nonzero(of_target) for of_target in coarse],
            self.index[gone].tolist(),
        )

    def _rows_of(self, target: int) -> mesh.Floats:
        """What the weights of the last fit are made of: those of each panel, shape (panels, nodes)."""
        return mesh.panel_rows(self.alpha, self.score[target], self.slope[target], self.final_panels)

    def _nonzero(self, weights: mesh.Floats) -> dict[int, float]:
        there = weights != 0
        return dict(zip(self.index[there].tolist(), weights[there].tolist(), strict=True))

    def gap(self, target: int) -> float:
        """F(end) - F(start), times the curve's weight."""
        return self._weight * float(self.score[target, -1] - self.score[target, 0])

    def weights(self, target: int) -> dict[int, float]:
        """By node index, the curve's weight included."""
        final = None if self._sealed is None else self._sealed.weights[target]
        return self._by_index(target, slice(None), self._fits[target].weights, final)

    def coarse_weights(self, target: int) -> dict[int, float] | None:
        """The same rule on every other node; None where that leaves too few."""
        if self._sealed is not None:
            mesh_of = self.alpha, self.score[target], self.slope[target]
            weights = coarse_weights(*mesh_of, ~self._sealed.panels)
            return self._by_index(target, slice(None), weights, self._sealed.coarse[target])
        halved = None if self._rule is None else self._rule.every_other
        if halved is not None:
            return self._by_index(target, slice(2, -1, 2), halved.weights)
        kept = mesh.every_other(self.slope[target])
        if not len(kept):
            return None
        fit = mesh.fit(self.alpha[kept], self.score[target, kept], self.slope[target, kept])
        return self._by_index(target, kept, fit.weights)

    def _middle(self, panel: int) -> float:
        return float(self.alpha[panel] + self.alpha[panel + 1]) / 2

    def _splits_without_gain(self, size: mesh.Floats, above_rounding: NDArray[np.bool_]) -> NDArray[np.int_]:
        """Per target and panel, one more than its parent had where the split has not shrunk its residual, else zero."""
        if not len(self._parts):
            return np.zeros(size.shape, int)
        parent = np.repeat(np.arange(len(self._parts)), self._parts)
        halved = self._parts[parent] == 2
        unshrunk = (size >= JUMP_SHRINKAGE * self._size[:, parent]) & above_rounding
        stuck: NDArray[np.int_] = (self._stuck[:, parent] + (unshrunk & halved)) * (unshrunk | ~halved)
        return stuck

    def _by_index(
        self, target: int, nodes: slice | Indices, weights: mesh.Floats, final: mesh.Floats | None = None
    ) -> dict[int, float]:
        """Without the open ends: zero times a vector that is not finite would be NaN."""
        usable = np.isfinite(self.slope[target, nodes])
        of_all = self._weight * weights if final is None else final + self._weight * weights
        indexes, own = self.index[nodes][usable], of_all[usable]
        return dict(zip(indexes.tolist(), own.tolist(), strict=True))


def fit_together(curves: Sequence[CurvePanels]) -> None:
    """Integrate every panel of some curves for every target, those with as many nodes in one; every node wanted must
    have been told."""
    alike: dict[tuple[int, bytes, bool, bool], list[tuple[CurvePanels, int]]] = {}
    for curve in curves:
        curve.take_in()
        for target, slope in enumerate(curve.slope):
            key = len(curve.alpha), np.isfinite(slope).tobytes(), curve.rule is not None, curve.sealed is not None
            alike.setdefault(key, []).append((curve, target))
    found: dict[tuple[int, int], tuple[mesh.Fit, tuple[float, float, float]]] = {}
    for rows in alike.values():
        for (curve, target), fit, sums in zip(rows, *_fit_alike(rows), strict=True):
            found[id(curve), target] = fit, sums
    for curve in curves:
        own = [found[id(curve), target] for target in range(len(curve.slope))]
        curve.fitted([fit for fit, _ in own], [sums for _, sums in own])


def _fit_alike(rows: list[tuple[CurvePanels, int]]) -> tuple[list[mesh.Fit], list[tuple[float, float, float]]]:
    """Of curves and targets with as many nodes, the same ones with slopes: the fits, and sums over their panels."""
    alpha = np.array([curve.alpha for curve, _ in rows])
    score = np.array([curve.score[target] for curve, target in rows])
    slope = np.array([curve.slope[target] for curve, target in rows])
    if rows[0][0].sealed is None:
        fit = mesh.fit_all(alpha, score, slope)
    else:
        finals = [(curve.sealed, target) for curve, target in rows if curve.sealed is not None]
        fit = sealed.fit_all(finals, alpha, score, slope)
    rules = [curve.rule for curve, _ in rows if curve.rule is not None]
    if rules:
        fit = spectral.fit_all(rules, score, slope, fit)
    sums = (
        fit.residual.sum(axis=1).tolist(),
        (fit.indicator**2).sum(axis=1).tolist(),
        np.abs(score[:, 1:] - score[:, :-1]).sum(axis=1).tolist(),
    )
    return [fit.of(number) for number in range(len(rows))], list(zip(*sums, strict=True))


def _rows(per_target: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Stacked; one target, by far the most frequent case, without a copy."""
    return per_target[0][None] if len(per_target) == 1 else np.array(per_target)
