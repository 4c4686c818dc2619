"""Which nodes of which routes stand in which rows of a pass. Holds no tensor."""

from collections.abc import Sequence

from attributor.core.integrator import Node
from attributor.jobs.explanation import Quantity
from attributor.ports import Point
from attributor.runtimes.curves import Curve
from attributor.runtimes.routes import OpenRoute

#: Numbers of rows or nodes, ascending. A range is all of them, so that the usual batch is not picked from.
Numbers = Sequence[int]


class Batch:
    """The nodes of some points: first the first node of each, then the further ones of those that want a gradient.

    `point_of`, `routes`, `curves`: per node. A node's row is its point's; for conductance, which needs a derivative of
    the layer along every curve, every node has a row of its own. Raises RuntimeError for routes of several lanes.
    """

    def __init__(self, points: Sequence[Point], routes: Sequence[OpenRoute]) -> None:
        self.points = points
        self.nodes: list[Node] = [point.ask.nodes[0] for point in points]
        further = [
            (number, node)
            for number, point in enumerate(points)
            if len(point.ask.nodes) > 1 and point.ask.gradient
            for node in point.ask.nodes[1:]
        ]
        self.point_of: Numbers = range(len(points))
        self.routes = list(routes)
        if further:
            self.point_of = [*range(len(points)), *(number for number, _ in further)]
            self.nodes.extend(node for _, node in further)
            self.routes.extend(routes[number] for number, _ in further)
        self.curves: list[Curve] = [
            route.curve(node.curve) for route, node in zip(self.routes, self.nodes, strict=True)
        ]
        distinct = tuple(dict.fromkeys(routes))
        first = distinct[0]
        if any(route.lane != first.lane for route in distinct):
            raise RuntimeError("Points of several lanes are in one pass. This is a bug.")
        self.space, self.layer, self.observed = first.space, first.spec.layer, first.spec.observed or ()
        counts = {len(route.spec.targets) for route in distinct}
        self.n_targets, self._targets_in_all = max(counts), min(counts)
        wishes = [point.ask.gradient for point in points]
        self.gradients_wanted, self._all_gradients = any(wishes), all(wishes)
        every_node = self.layer is not None and self.layer.quantity is Quantity.CONDUCTANCE
        self.n_rows = len(self.nodes) if every_node else len(points)
        self._row_of: Numbers = range(len(self.nodes)) if every_node else self.point_of

    def rows_with(self, target: int) -> Numbers:
        """The rows of routes that have this target."""
        if target < self._targets_in_all:
            return range(self.n_rows)
        return [row for row in range(self.n_rows) if len(self.routes[row].spec.targets) > target]

    def nodes_with(self, target: int) -> Numbers:
        """The nodes of such routes of which a gradient is wanted."""
        if self._all_gradients and target < self._targets_in_all:
            return range(len(self.nodes))
        return [
            node
            for node, (point, route) in enumerate(zip(self.point_of, self.routes, strict=True))
            if self.points[point].ask.gradient and len(route.spec.targets) > target
        ]

    def rows_of(self, nodes: Numbers) -> Numbers:
        """The row of each node."""
        if isinstance(nodes, range):
            return self._row_of
        return [self._row_of[node] for node in nodes]

    def places(self, nodes: Numbers, rows: Numbers) -> Numbers:
        """Where, among `rows`, those of the nodes stand; each once."""
        wanted = self.rows_of(nodes)
        if isinstance(wanted, range):
            return wanted
        place_of = {row: place for place, row in enumerate(rows)}
        return [place_of[row] for row in dict.fromkeys(wanted)]
