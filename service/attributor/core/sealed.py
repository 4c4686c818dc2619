"""The panels of one curve whose weights are final, because not all vectors may be kept. Pure arrays.

A sealed panel's weighted vectors are summed up elsewhere and those that no open panel needs are forgotten, so no rule
may reach into it any more: the open panels beside it are integrated by the nodes of their own run alone. What is known
of it as a number, its residual and indicator, counts on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh
from attributor.core.asks import Floats, Indices

#: Nodes with a slope of a run that is sealed, at least: on fewer the coarse rule would be the rule, and hide its error.
FEWEST_SEALED_NODES = 3


class Sealed:
    """What is final of one curve: `panels`, shape (panels,), whether a panel is; `residual` and `indicator`, shape
    (targets, panels), of those that are; `weights` and `coarse`, shape (targets, nodes), what the sealed panels add to
    the nodes' weights in the rule and the coarse one, the curve's share included."""

    def __init__(self, n_targets: int, n_nodes: int) -> None:
        self.panels = np.zeros(n_nodes - 1, bool)
        self.residual = np.zeros((n_targets, n_nodes - 1))
        self.indicator = self.residual.copy()
        self.weights = np.zeros((n_targets, n_nodes))
        self.coarse = self.weights.copy()

    def add(self, panels: NDArray[np.bool_], fits: list[mesh.Fit], weights: Floats, coarse: Floats) -> None:
        """More panels, with the fit of each target that is final for them. The weights are added one to one, as they
        are where the vectors are summed up: a node that is dropped has exactly the weight of its sums."""
        for target, fit in enumerate(fits):
            self.residual[target, panels] = fit.residual[panels]
            self.indicator[target, panels] = fit.indicator[panels]
        self.panels = self.panels | panels
        self.weights = self.weights + weights
        self.coarse = self.coarse + coarse

    def spread(self, parts: Indices, order: Indices) -> None:
        """Nodes were added: each panel has become so many `parts`; `order` sorts the old nodes, the new ones behind."""
        parent = np.repeat(np.arange(len(parts)), parts)
        self.panels = self.panels[parent]
        self.residual, self.indicator = self.residual[:, parent], self.indicator[:, parent]
        more = ((0, 0), (0, len(order) - self.weights.shape[1]))
        self.weights, self.coarse = np.pad(self.weights, more)[:, order], np.pad(self.coarse, more)[:, order]


def fit_all(finals: Sequence[tuple[Sealed, int]], alpha: Floats, score: Floats, slope: Floats) -> mesh.Fit:
    """As `mesh.fit_all`, of curves of which some panels are sealed, and a target of each. The weights are those of the
    open panels alone."""
    sealed = np.array([final.panels for final, _ in finals])
    fit = mesh.fit_all(alpha, score, slope, sealed)
    residual = np.array([final.residual[target] for final, target in finals])
    indicator = np.array([final.indicator[target] for final, target in finals])
    return mesh.Fit(
        fit.weights,
        np.where(sealed, residual, fit.residual),
        fit.trapezoid_residual,
        fit.noise,
        np.where(sealed, indicator, fit.indicator),
    )


def dropped(sealed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which nodes no open panel touches; none of the curve's ends, which have no vector."""
    inner = sealed[:-1] & sealed[1:]
    return np.concatenate([[False], inner, [False]])


def runs(panels: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The maximal runs of those marked: the first panel, and the first that is not in it, which are its end nodes."""
    edges = np.flatnonzero(np.diff(panels.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def long_enough(panels: NDArray[np.bool_], slope: Floats) -> NDArray[np.bool_]:
    """The panels of those runs that have enough nodes to be sealed. `slope`: of one target, (nodes,)."""
    kept = np.zeros_like(panels)
    for first, last in runs(panels):
        kept[first:last] = np.count_nonzero(np.isfinite(slope[first : last + 1])) >= FEWEST_SEALED_NODES
    return kept


def coarse_weights(alpha: Floats, score: Floats, slope: Floats, panels: NDArray[np.bool_]) -> Floats:
    """Weights of the coarse rule over the marked panels, run by run, on every other node of each run; shape (nodes,).

    A run of two nodes has no coarser rule than its own: it is wanted split, mostly, and then it has.
    """
    stretches = runs(panels)
    if not stretches:  # All of one curve of several is sealed.
        return np.zeros(len(alpha))
    of_runs = [first + _coarse_nodes(slope[first : last + 1]) for first, last in stretches]
    kept = np.unique(np.concatenate([[0], *of_runs, [len(alpha) - 1]])).astype(np.intp)
    marked = np.zeros(len(kept) - 1, bool)
    for first, last in stretches:
        marked[np.searchsorted(kept, first) : np.searchsorted(kept, last)] = True
    weights = np.zeros(len(alpha))
    # The other nodes' slopes are not used, the ends' but for whether they are there.
    weights[kept] = mesh.fit(alpha[kept], score[kept], slope[kept], ~marked).weights
    return weights


def _coarse_nodes(slope: Floats) -> Indices:
    enough = np.count_nonzero(np.isfinite(slope)) >= FEWEST_SEALED_NODES
    return mesh.every_other(slope) if enough else np.arange(len(slope))
