"""A GradientModel on plain numpy functions, strict about the port, and a driver for the engine's procedures."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from attributor.core.asks import Ask, Asks, Node
from attributor.core.integrator import Seal
from attributor.engine.route import Route
from attributor.jobs.explanation import Target, Term
from attributor.jobs.model import Tensors
from attributor.model_port import CurveSpec, Evaluations, Points, RouteSpec
from doubles import joined

Function = Callable[[Mapping[str, np.ndarray]], np.ndarray]


class FunctionModel:
    """Outputs (n,) of `outputs`; targets are class `rank`, read as it stands; `gradient` is that of the first target.

    `visited`: every input evaluated, in order. `most_curves`: the most that were held at once.
    """

    def __init__(self, outputs: Function, gradient: Callable | None = None, max_points: int = 8) -> None:
        self._outputs, self._gradient, self.max_points = outputs, gradient, max_points
        self._routes: dict[str, RouteSpec] = {}
        self._curves: dict[str, list[CurveSpec]] = {}
        self._resolved: dict[str, tuple[Target, ...]] = {}
        self._vectors: dict[tuple[str, int], Tensors] = {}
        self._seen: set[tuple[str, int]] = set()
        self.visited: list[Tensors] = []
        self.gradients = 0
        self.most_curves = 0

    looks, stacks = True, False

    def pass_points(self, lane: int) -> int:
        return self.max_points

    def lane(self, spec: RouteSpec) -> int:
        return 0

    def open(self, route: str, spec: RouteSpec) -> None:
        assert route not in self._routes, "opened twice"
        self._routes[route], self._curves[route] = spec, []

    def vertex_bytes(self, route: str) -> int:
        return sum(values.nbytes for values in self._routes[route].example.values())

    def add_curve(self, route: str, spec: CurveSpec) -> int:
        self._curves[route].append(spec)
        self.most_curves = max(self.most_curves, sum(map(len, self._curves.values())))
        return len(self._curves[route]) - 1

    def vector_bytes(self, route: str) -> int:
        return sum(values.nbytes for values in self._routes[route].example.values())

    def evaluate(self, points: Sequence[Points]) -> list[Evaluations]:
        assert sum(len(each.asks) for each in points) <= self.max_points
        assert len({ask.gradient for each in points for ask in each.asks}) == 1
        return [joined([self._one(each.route, ask) for ask in each.asks]) for each in points]

    def _one(self, route: str, ask: Ask) -> Evaluations:
        (node,) = ask.nodes
        assert (route, node.index) not in self._seen, "a node's number is used once"
        self._seen.add((route, node.index))
        inputs = self._at(route, node)
        outputs = self._outputs({name: values.astype(np.float64) for name, values in inputs.items()})
        self._resolve(route, inputs, outputs)
        self.visited.append(inputs)
        scores = [
            float(sum(outputs[term.index] * term.weight for term in target.terms)) for target in self._resolved[route]
        ]
        slopes = np.full((1, len(scores)), np.nan)
        if ask.gradient:
            slopes[:] = 0.0
            self._keep(route, node, inputs)
        return Evaluations(np.array([scores]), slopes, np.array([np.argmax(outputs)]))

    def _resolve(self, route: str, inputs: Tensors, outputs: np.ndarray) -> None:
        spec = self._routes[route]
        if route in self._resolved:
            return
        at_example = all(np.array_equal(inputs[name], spec.example[name]) for name in spec.example)
        assert at_example, "the first point of a route must be at the example"
        order = np.argsort(-outputs, kind="stable")
        self._resolved[route] = tuple(
            target if target.terms else replace(target, terms=(Term(int(order[target.rank])),))
            for target in spec.targets
        )

    def _at(self, route: str, node: Node) -> Tensors:
        curve = self._curves[route][node.curve]
        if curve.start is curve.end:
            return curve.end
        return {
            n: (curve.start[n] + node.alpha * (end - curve.start[n])).astype(end.dtype) for n, end in curve.end.items()
        }

    def _keep(self, route: str, node: Node, inputs: Tensors) -> None:
        curve = self._curves[route][node.curve]
        assert curve.plain, "only plain points are served here"
        assert self._gradient
        self.gradients += 1
        self._vectors[route, node.index] = self._gradient(inputs)

    def targets(self, route: str) -> tuple[Target, ...]:
        return self._resolved[route]

    def attributions(self, route: str, target: int, weights: Mapping[int, float], *, coarse: bool = False) -> Tensors:
        assert (target, coarse) == (0, False)
        ((index, weight),) = weights.items()
        return {name: weight * values for name, values in self._vectors[route, index].items()}

    def seal(self, route: str, seal: Seal) -> None:
        assert not seal.weights
        for node in seal.dropped:
            del self._vectors[route, node]

    def close(self, route: str) -> None:
        del self._routes[route], self._curves[route]
        self._resolved.pop(route, None)
        self._seen = {key for key in self._seen if key[0] != route}
        self._vectors = {key: value for key, value in self._vectors.items() if key[0] != route}

    def route(self, example: Tensors, *targets: Target) -> Route:
        """An open route of this model."""
        return Route("job/0/walk", self, RouteSpec(example, targets or (Target(terms=(Term(0),)),))).open()


def drive(model: FunctionModel, steps: Generator) -> object:
    """Serve a procedure to its end, as the engine does, in passes that fit."""
    try:
        wishes = next(steps)
        while True:
            assert wishes
            wishes = steps.send([_served(model, each) for each in wishes])
    except StopIteration as stop:
        return stop.value


def _served(model: FunctionModel, points: Points) -> Evaluations:
    assert points.asks
    firsts = range(0, len(points.asks), model.max_points)
    parts = [Points(points.route, Asks(points.asks[first : first + model.max_points])) for first in firsts]
    return joined([model.evaluate([part])[0] for part in parts])


def x(*values: float) -> Tensors:
    """One input named x, float32."""
    return {"x": np.array(values, dtype=np.float32)}
