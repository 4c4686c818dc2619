"""Which nodes of which routes stand in which rows of a pass: arrays, no tensor.

Points come in portions, each of one route. What is the same for all points of a portion is looked up once for it.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Asks, Indices
from attributor.jobs.explanation import Quantity
from attributor.model_port import Evaluations, Points
from attributor.runtimes.curves import Curve
from attributor.runtimes.routes import OpenRoute

#: Numbers of rows or nodes, ascending; None: all of them, so that the usual batch is not picked from.
Numbers = Indices | None


class Batch:
    """The nodes of some points, portion by portion, in the order of their asks.

    `rows_by_portion`, `nodes_by_portion`: where each portion's asks and nodes begin, and the end. A node's row is its
    ask's; for conductance, which needs a derivative of the layer along every curve, every node has a row of its own.
    Raises RuntimeError for routes of several lanes, or points of both kinds.
    """

    def __init__(self, points: Sequence[Points], routes: Sequence[OpenRoute]) -> None:
        self.points = points
        self.routes = routes
        first = routes[0]
        if any(route.lane != first.lane for route in routes):
            raise RuntimeError("Points of several lanes are in one pass. This is a bug.")
        self.gradients_wanted = points[0].asks[0].gradient
        if any(len(each.asks.kinds) > 1 or each.asks[0].gradient is not self.gradients_wanted for each in points):
            raise RuntimeError("Points with and without gradients are in one pass. This is a bug.")
        self.space, self.layer, self.observed = first.space, first.spec.layer, first.spec.observed or ()
        self.precision = first.spec.precision
        #: Of the longest example, where lengths vary.
        self.positions = None if first.positions is None else max(route.positions or 0 for route in routes)
        self._arrays = [each.asks.arrays for each in points]
        self.points_by_portion = _offsets([len(each.asks) for each in points])
        self.nodes_by_portion = _offsets([len(arrays.index) for arrays in self._arrays])
        self.n_points, self.n_nodes = self.points_by_portion[-1], self.nodes_by_portion[-1]
        every_node = self.layer is not None and self.layer.quantity is Quantity.CONDUCTANCE and self.gradients_wanted
        #: Whether there is a row per node, although some asks have several.
        self.row_per_node = every_node and self.n_nodes > self.n_points
        self.n_rows = self.n_nodes if self.row_per_node else self.n_points
        self.rows_by_portion = self.nodes_by_portion if self.row_per_node else self.points_by_portion
        counts = {len(route.spec.targets) for route in routes}
        self.n_targets, self._targets_in_all = max(counts), min(counts)

    @cached_property
    def alphas(self) -> NDArray[np.float32]:
        """Per node."""
        return np.concatenate([arrays.alpha for arrays in self._arrays]).astype(np.float32)

    @cached_property
    def vertices(self) -> tuple[Indices, Indices]:
        """Per node, the slots of its curve's start and end."""
        starts, ends = [], []
        for route, arrays in zip(self.routes, self._arrays, strict=True):
            own_starts, own_ends = route.vertices
            route.curve(int(arrays.curve.max()))  # raises for one that was not added
            starts.append(own_starts[arrays.curve])
            ends.append(own_ends[arrays.curve])
        return np.concatenate(starts), np.concatenate(ends)

    @cached_property
    def plain(self) -> NDArray[np.bool_] | None:
        """Per node, whether its vector is the gradient itself; None if none is."""
        if not any(route.has_plain for route in self.routes):
            return None
        return np.concatenate([route.plain[a.curve] for route, a in zip(self.routes, self._arrays, strict=True)])

    @cached_property
    def bent(self) -> dict[Curve, Indices]:
        """The nodes on curves that bend, by curve."""
        found: dict[Curve, Indices] = {}
        for first, route, arrays in zip(self.nodes_by_portion[:-1], self.routes, self._arrays, strict=True):
            if route.has_bends:
                for number in np.unique(arrays.curve).tolist():
                    nodes = first + np.flatnonzero(arrays.curve == number)
                    curve = route.curve(number)
                    found[curve] = np.concatenate([found[curve], nodes]) if curve in found else nodes
        return {curve: nodes for curve, nodes in found.items() if curve.bends}

    @cached_property
    def node_of_row(self) -> Numbers:
        """Per row, its first node; None: nodes and rows are the same."""
        return None if self.n_rows == self.n_nodes else self.first_nodes

    @cached_property
    def row_of_node(self) -> Numbers:
        """Per node; None: nodes and rows are the same."""
        if self.n_rows == self.n_nodes:
            return None
        return np.concatenate(
            [first + arrays.point for first, arrays in zip(self.points_by_portion[:-1], self._arrays, strict=True)]
        )

    @property
    def first_nodes(self) -> Indices:
        """Per ask, its first node."""
        return np.concatenate(
            [
                first + np.searchsorted(arrays.point, np.arange(len(each.asks)))
                for first, arrays, each in zip(self.nodes_by_portion[:-1], self._arrays, self.points, strict=True)
            ]
        )

    def indexes(self, portion: int) -> Indices:
        """The numbers of a portion's nodes in their route."""
        return self._arrays[portion].index

    def curves(self, portion: int) -> list[Curve]:
        """Those that a portion's nodes are on."""
        return [self.routes[portion].curve(n) for n in dict.fromkeys(self._arrays[portion].curve.tolist())]

    def first_is_example(self, portion: int) -> bool:
        """Whether the portion's first point is at its route's example."""
        node = self.points[portion].asks[0].nodes[0]
        return self.routes[portion].curve(node.curve).is_example(node.alpha)

    def portions_with(self, target: int) -> list[int] | None:
        """The portions whose routes have this target; None: all."""
        if target < self._targets_in_all:
            return None
        return [n for n, route in enumerate(self.routes) if len(route.spec.targets) > target]


def spans(offsets: Sequence[int], portions: Sequence[int] | None) -> Numbers:
    """The numbers from each portion's offset to the next; None: all."""
    if portions is None:
        return None
    return np.concatenate([np.arange(offsets[n], offsets[n + 1]) for n in portions])


def _offsets(counts: Sequence[int]) -> list[int]:
    found = [0]
    for count in counts:
        found.append(found[-1] + count)
    return found


def portions_between(points: Sequence[Points], first: int, last: int) -> tuple[list[int], list[Points]]:
    """The asks from number `first` to before `last`, counted over all portions: which portions, and what is left of
    them."""
    numbers, cut = [], []
    begins = 0
    for number, each in enumerate(points):
        inside = slice(max(0, first - begins), max(0, last - begins))
        if own := each.asks[inside]:
            numbers.append(number)
            cut.append(Points(each.route, Asks(own)))
        begins += len(each.asks)
    return numbers, cut


def joined(parts: Sequence[Evaluations]) -> Evaluations:
    """What was told of a portion in parts."""
    return Evaluations(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.slopes for part in parts]),
        np.concatenate([part.tops for part in parts]),
    )
