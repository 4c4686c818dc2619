"""The panels of one curve: its nodes, the fit of each target, and what splitting has taught about each panel.

Knows the mesh of a single curve; not other curves, tolerances or budgets.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh, spectral
from attributor.core.integrator import Told

#: Splits without a shrinking residual after which a panel is taken to hold a jump of F (a kink halves it each time).
JUMP_SPLITS = 6
#: A residual above this share of its parent's has not shrunk: a square root's shrinks to 0.71, a jump's stays at 1.
JUMP_SHRINKAGE = 0.9
#: Panels narrower than this are not split: float32 coefficients of the path would no longer tell its nodes apart.
NARROWEST_PANEL = 2.0**-20
#: Nodes, both ends included, of the largest rule of one polynomial that is extended: its tables grow as the square.
#: Ours: in practice kinks and jumps are cheaper to split around long before.
MOST_EXTENDED = 130

BY_ALPHA = attrgetter("node.alpha")


class Panels(NamedTuple):
    """What is known of panels, shape (targets, panels); all but the flags times their curves' weights.

    `size`: the absolute residual of a panel's two ends alone, zero where it is no more than rounding or a jump.
    `idle`: no split makes the indicator smaller: it is `at_rounding`, or `jumped`, or too `narrow` to be split.
    `width`, in local alphas, and `narrow` are of shape (1, panels).
    """

    indicator: mesh.Floats
    noise: mesh.Floats
    size: mesh.Floats
    idle: NDArray[np.bool_]
    at_rounding: NDArray[np.bool_]
    jumped: NDArray[np.bool_]
    width: mesh.Floats
    narrow: NDArray[np.bool_]


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
        self._fits: list[mesh.Fit] = []
        self._panels: Panels | None = None
        self._alpha = np.empty(0)
        #: Shape (targets, nodes); NaN for a slope that is None.
        self._score = self._slope = np.empty((0, 0))
        self._indicators: list[mesh.Floats] = []
        #: Of the panels last looked at, per target: the absolute residuals of their ends, and how many splits in a row
        #: have not shrunk them, the mark of a jump of F; and per panel, how many it has become since, 1 or 2.
        self._size = np.empty((0, 0))
        self._stuck = np.empty((0, 0), int)
        self._parts = np.empty(0, int)
        self.told: list[Told] = []  # ascending in alpha after each fit
        #: Per target, sums over the panels: of the residuals, of the indicators' squares, and of the scores' rises,
        #: taken absolute.
        self.residuals: list[float] = []
        self.squares: list[float] = []
        self.variations: list[float] = []
        #: Alpha of the first jump of any target's score.
        self.jump: float | None = None

    def add(self, told: Told) -> None:
        """Take a node."""
        self.told.append(told)

    def fit(self) -> None:
        """Integrate every panel for every target; every node wanted must have been told."""
        self.told.sort(key=BY_ALPHA)
        self._alpha = np.array([t.node.alpha for t in self.told])
        self._score = np.array([t.scores for t in self.told]).T
        self._slope = np.array([t.slopes for t in self.told], float).T
        self._fits = [self._fit(f, h) for f, h in zip(self._score, self._slope, strict=True)]
        self._indicators = [fit.indicator for fit in self._fits]
        self.residuals = [self._weight * sum(fit.residual.tolist()) for fit in self._fits]
        self.squares = [self._weight**2 * float(indicator @ indicator) for indicator in self._indicators]
        self.variations = (self._weight * np.abs(np.diff(self._score, axis=1)).sum(axis=1)).tolist()
        self._panels = None

    def _fit(self, score: mesh.Floats, slope: mesh.Floats) -> mesh.Fit:
        local = mesh.fit(self._alpha, score, slope)
        return local if self._rule is None else spectral.fit(self._rule, score, slope, local)

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
        width = (self._alpha[1:] - self._alpha[:-1])[None]
        narrow = width <= NARROWEST_PANEL
        self._parts = np.ones(width.shape[1], int)
        return Panels(
            indicator=self._weight * _rows(self._indicators),
            noise=self._weight * noise,
            size=self._weight * size * (above_rounding & ~jumped),
            idle=at_rounding | jumped | narrow,
            at_rounding=at_rounding,
            jumped=jumped,
            width=self._weight * width,
            narrow=narrow,
        )

    @property
    def extensible(self) -> bool:
        """Whether the nodes are still those of one polynomial, and few enough to take twice as many."""
        return self._rule is not None and self._rule.nested and len(self.told) <= MOST_EXTENDED

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

    def gap(self, target: int) -> float:
        """F(end) - F(start), times the curve's weight."""
        return self._weight * (self.told[-1].scores[target] - self.told[0].scores[target])

    def weights(self, target: int) -> dict[int, float]:
        """By node index, the curve's weight included."""
        return self._by_index(target, self.told, self._fits[target].weights)

    def coarse_weights(self, target: int) -> dict[int, float] | None:
        """The same rule on every other node; None where that leaves too few."""
        halved = None if self._rule is None else self._rule.every_other
        if halved is not None:
            return self._by_index(target, self.told[2:-1:2], halved.rows.sum(axis=0))
        kept = mesh.every_other(self._slope[target])
        if not len(kept):
            return None
        fit = mesh.fit(self._alpha[kept], self._score[target, kept], self._slope[target, kept])
        return self._by_index(target, [self.told[i] for i in kept], fit.weights)

    def _middle(self, panel: int) -> float:
        return (self.told[panel].node.alpha + self.told[panel + 1].node.alpha) / 2

    def _splits_without_gain(self, size: mesh.Floats, above_rounding: NDArray[np.bool_]) -> NDArray[np.int_]:
        """Per target and panel, one more than its parent had where the split has not shrunk its residual, else zero."""
        if not len(self._parts):
            return np.zeros(size.shape, int)
        parent = np.repeat(np.arange(len(self._parts)), self._parts)
        halved = self._parts[parent] == 2
        unshrunk = (size >= JUMP_SHRINKAGE * self._size[:, parent]) & above_rounding
        stuck: NDArray[np.int_] = (self._stuck[:, parent] + (unshrunk & halved)) * (unshrunk | ~halved)
        return stuck

    def _by_index(self, target: int, nodes: Sequence[Told], weights: mesh.Floats) -> dict[int, float]:
        """Without the open ends: zero times a vector that is not finite would be NaN."""
        return {
            t.node.index: w
            for t, w in zip(nodes, (self._weight * weights).tolist(), strict=True)
            if t.slopes[target] is not None
        }


def _rows(per_target: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Stacked; one target, by far the most frequent case, without a copy."""
    return per_target[0][None] if len(per_target) == 1 else np.array(per_target)
