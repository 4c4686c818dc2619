"""GradientModel on a torch module: the points of many routes, one forward pass and one backward pass per target.

Knows torch and one module on one device. Knows nothing of rules, jobs, bundles or who asks; never computes the
gradient of a parameter. The way through: `placing` puts curves into a `space`, `batch` says which node stands in which
row, `passes` runs the `network` and hands vectors to `routes`.
"""

import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from attributor.core.asks import Asks
from attributor.core.integrator import Seal
from attributor.errors import OutOfMemory, UnknownLayer, UnsupportedByModel
from attributor.jobs.explanation import Target
from attributor.jobs.fitting import WITHOUT_GRADIENTS
from attributor.jobs.lengths import output_at
from attributor.jobs.model import ModelInfo, Tensors
from attributor.model_port import CurveSpec, Evaluations, Observation, Points, RouteSpec, Stack, StackTold, joined_told
from attributor.runtimes.batch import Batch, joined, portions_between
from attributor.runtimes.curves import PathObject
from attributor.runtimes.cut import layer_is_cut
from attributor.runtimes.guarding import require_example
from attributor.runtimes.memory import give_back, in_halves, unless_full, with_room
from attributor.runtimes.passes import evaluate
from attributor.runtimes.placing import Placer
from attributor.runtimes.routes import OpenRoute, lane_of, pass_key
from attributor.runtimes.sizing import USUAL, PassKey, PassSizes, of_one_size
from attributor.runtimes.space import Space
from attributor.runtimes.spaces import Spaces
from attributor.runtimes.stack import evaluate_stack, halved, is_small
from attributor.runtimes.targets import check_target
from attributor.runtimes.transforms.choosing import Transformed

#: Points per pass. Within what was measured best on one CPU core for small nets: 200 to 800 (design.md, section 6).
DEFAULT_MAX_POINTS = 256


def configure_threads(n: int = 1) -> None:
    """Sets the threads of torch's CPU kernels in this process.

    One by default: worker processes share the cores, and threads that spin for each other slow all of them.
    """
    torch.set_num_threads(n)


class TorchModel:
    """A loaded module behind the GradientModel port; one thread at a time.

    `module` is called with its inputs in the manifest's order, each float32 (rows, *shape) or, for tokens, int64
    (rows, positions); returns (rows, *output shape); and is in eval mode. `paths`: the bundle's path objects by name.
    Where a path runs through a token input's embedding, the module is given the example's ids. Raises as Network does.
    """

    def __init__(
        self,
        module: nn.Module,
        info: ModelInfo,
        device: str = "cpu",
        sizes: PassSizes | int = DEFAULT_MAX_POINTS,
        paths: Mapping[str, PathObject] | None = None,
        transformed: Transformed | None = None,
    ) -> None:
        """`sizes`: of passes, as measured, or a number for all. `transformed`: what passes run on, where no layer is
        asked for."""
        self._output = info.output
        self._sizes = of_one_size(sizes) if isinstance(sizes, int) else sizes
        self._spaces = Spaces(module, info, torch.device(device), transformed)
        self._network = self._spaces.plain
        self._placer = Placer(self._network, paths or {})
        self._routes: dict[str, OpenRoute] = {}
        self._small = is_small(module, info)
        # Vectors behind a prefix are gradients there; a stack's are products at the input.
        self._stacks = self._small and (transformed is None or transformed.prefix is None)

    @property
    def looks(self) -> bool:
        """See GradientModel."""
        return not self._small

    @property
    def stacks(self) -> bool:
        """See GradientModel."""
        return self._stacks

    @property
    def max_points(self) -> int:
        """See GradientModel."""
        return self._sizes.largest

    def pass_points(self, lane: Hashable) -> int:
        """See GradientModel."""
        return self._sizes.points(pass_key(lane))

    def lane(self, spec: RouteSpec) -> Hashable:
        """See GradientModel."""
        return lane_of(spec, self._spaces.lengths(spec))

    def open(self, route: str, spec: RouteSpec) -> None:
        """See GradientModel. The first route with a layer runs the model, to find the shape of its output.

        Raises InvalidInput, InvalidShape for an example that is not as declared; UnknownLayer, UnsupportedByModel;
        ValueError for an output or a rank that the model does not have.
        """
        if route in self._routes:
            raise RuntimeError(f"Route {route!r} is already open. This is a bug.")
        if not spec.targets:
            raise ValueError(f"Route {route!r} has no target. This is a bug.")
        require_example(self._network.inputs, spec.example)
        output = output_at(self._output, self._network.inputs, spec.example)
        for target in spec.targets:
            check_target(target, output)
        for observed in spec.observed or ():
            self._check_observed(observed, spec.example)
        self._routes[route] = OpenRoute(route, spec, self._spaces.space(spec))

    def add_curve(self, route: str, spec: CurveSpec) -> int:
        """See GradientModel. Raises UnsupportedByModel for bends that cannot be; ValueError for another shape."""
        return self._placer.add_curve(self._route(route), spec)

    def start(self, route: str, curve: int) -> Tensors:
        """See GradientModel."""
        opened = self._route(route)
        return self._placer.start(opened, opened.curve(curve))

    def vector_bytes(self, route: str) -> int:
        """See GradientModel."""
        return self._route(route).vector_bytes

    def vertex_bytes(self, route: str) -> int:
        """See GradientModel."""
        return self._route(route).vertex_bytes

    def evaluate(self, points: Sequence[Points]) -> list[Evaluations]:
        """See GradientModel. Raises RuntimeError for a route that is not open, and for points of several lanes or of
        both kinds; UnsupportedByModel for a gradient of a model that has none."""
        if not points:
            return []
        if not self._network.gradients and any(each.asks[0].gradient for each in points):
            raise UnsupportedByModel(
                f"this model cannot be differentiated; choose one of {', '.join(sorted(WITHOUT_GRADIENTS))}",
                field="method",
            )
        key = pass_key(self._route(points[0].route).lane)
        n_points = sum(len(each.asks) for each in points)
        if (found := unless_full(lambda: self._pass(points, key))) is not None:
            return found
        return self._in_halves(points, n_points, key)

    def evaluate_stack(self, stack: Stack) -> StackTold:
        """See GradientModel. Raises InvalidInput, InvalidShape for an example that is not as declared; ValueError for
        an output or a rank that the model does not have; RuntimeError for a model that does not stack."""
        if not self._stacks:
            raise RuntimeError("This model takes no stacks. This is a bug.")
        first = {name: rows[0] for name, rows in stack.examples.items()}
        for each in (first, stack.start):
            require_example(self._network.inputs, each)
        check_target(stack.target, output_at(self._output, self._network.inputs, first))
        return self._stack_pass(stack, self._spaces.space(RouteSpec(first, (stack.target,))))

    def _stack_pass(self, stack: Stack, space: Space) -> StackTold:
        began_s = time.perf_counter()
        if (told := unless_full(lambda: evaluate_stack(space, stack, self._output))) is not None:
            # Without the start, which no plan counts: a pass that was planned full must not seem to be more than that.
            self._sizes.note(USUAL, stack.n_points - 1, time.perf_counter() - began_s)
            return told
        give_back()
        if len(halves := halved(stack)) == 1:
            raise OutOfMemory("One path of this input takes more memory than the device has left.")
        most = self._sizes.most(USUAL)
        self._sizes.halve(USUAL, stack.n_points)
        try:
            return joined_told([self._stack_pass(half, space) for half in halves])
        except OutOfMemory:
            self._sizes.restore(USUAL, most)  # one path that fits no pass says nothing of others
            raise

    def take_over(self, route: str, asks: Asks, told: StackTold, row: int) -> Evaluations:
        """See GradientModel."""
        opened = self._route(route)
        opened.resolve(told.outputs[row], self._output)
        nodes = asks.arrays
        scores = told.scores[row]
        slopes = np.full((len(nodes.index), 1), np.nan)
        slopes[2:, 0] = told.slopes[row]
        for name, vectors in told.vectors.by_input.items():
            own = torch.from_numpy(vectors[row].copy())  # as a view would keep all
            opened.vectors.keep((0, name), nodes.index[2:], own.to(self._network.device))
        return Evaluations(np.array([scores[-1], *scores[:-1]])[:, None], slopes, np.full(len(asks), told.tops[row]))

    def _pass(self, points: Sequence[Points], key: PassKey) -> list[Evaluations]:
        batch = Batch(points, [self._route(each.route) for each in points])
        if batch.space.found_later:
            curves = [(route, curve) for n, route in enumerate(batch.routes) for curve in batch.curves(n)]
            self._placer.fill(curves, self._sizes.points(key))
        began_s = time.perf_counter()
        found = evaluate(batch, self._output)
        if batch.gradients_wanted or not self._network.gradients:  # sizes are for the passes that cost most
            self._sizes.note(key, batch.n_rows, time.perf_counter() - began_s, batch.n_targets)
        return found

    def _in_halves(self, points: Sequence[Points], n_points: int, key: PassKey) -> list[Evaluations]:
        """After a pass that did not fit the memory: its points in smaller passes."""
        self._forget(points)
        give_back()
        most = self._sizes.most(key)
        self._sizes.halve(key, n_points)
        parts: list[list[Evaluations]] = [[] for _ in points]

        def some(first: int, last: int) -> list[None]:
            numbers, cut = portions_between(points, first, last)
            for number, found in zip(numbers, self._pass(cut, key), strict=True):
                parts[number].append(found)
            return [None] * (last - first)

        try:
            in_halves(n_points, some, lambda size: self._sizes.halve(key, size))
        except BaseException as error:
            if isinstance(error, OutOfMemory):  # one point that fits no pass says nothing of others
                self._sizes.restore(key, most)
            self._forget(points)
            raise
        return [joined(each) for each in parts]

    def _forget(self, points: Sequence[Points]) -> None:
        """Drop what a pass that failed may have kept: its points are evaluated again, and must not count twice."""
        for each in points:
            self._route(each.route).vectors.drop(each.asks.arrays.index)

    def targets(self, route: str) -> tuple[Target, ...]:
        """See GradientModel. Raises RuntimeError before the example was evaluated."""
        return self._route(route).targets

    def outputs(self, route: str) -> NDArray[np.float32]:
        """See GradientModel. Raises RuntimeError before the example was evaluated."""
        return self._route(route).outputs

    def attributions(
        self, route: str, target: int, weights: Mapping[int, float], *, coarse: bool = False
    ) -> Mapping[str, NDArray[np.float64]]:
        """See GradientModel. Raises RuntimeError for a node of weight other than 0 evaluated without its gradient."""
        opened = self._route(route)

        def summed() -> Mapping[str, NDArray[np.float64]]:
            sums = opened.vectors.sums(target, weights, coarse=coarse)
            return opened.space.attributed(sums, opened.spec.example, opened.origin)

        return with_room(summed)

    def seal(self, route: str, seal: Seal) -> None:
        """See GradientModel."""
        vectors = self._route(route).vectors
        with_room(lambda: vectors.add(seal))
        with_room(lambda: vectors.drop(np.array(seal.dropped, np.intp)))

    def observations(self, route: str) -> Sequence[Observation]:
        """See GradientModel."""
        return tuple(self._route(route).observations)

    def layer_is_cut(self, route: str, baseline: Tensors) -> bool:
        """See GradientModel and `cut`. Raises RuntimeError for a route without a layer."""
        return layer_is_cut(self._placer, self._route(route), baseline, self._output)

    def close(self, route: str) -> None:
        """See GradientModel."""
        closed = self._route(route)
        closed.release()
        del self._routes[route]
        if closed.space.layer is not None or self._network.lengths(closed.spec.example):
            self._spaces.keep_only({other.space for other in self._routes.values()})

    def _route(self, name: str) -> OpenRoute:
        opened = self._routes.get(name)
        if opened is None:
            raise RuntimeError(f"Route {name!r} is not open. This is a bug.")
        return opened

    def _check_observed(self, layer: str, example: Tensors) -> None:
        try:
            self._network.layer_shape(layer, example)
        except (UnknownLayer, UnsupportedByModel) as error:
            raise type(error)(error.detail, field="saturation.layers") from None
