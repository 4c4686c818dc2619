"""Places a route's curves in its space: vertices shared where arrays are, layers' outputs found, bends made.

A layer's output at a vertex is found when a pass first needs it, with the others that this pass needs: a pass of its
own for each would make paths from many baselines cost more than the integral along them, and all at once might take
longer than a pass may. Knows the network, the spaces
and open routes; knows no batches and no targets.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.errors import UnsupportedByModel
from attributor.jobs.model import Tensors
from attributor.model_port import Blur, CurveSpec, Registered
from attributor.runtimes.curves import Bend, Curve, PathObject, blur_bend, registered_bend
from attributor.runtimes.network import Network
from attributor.runtimes.padding import lengthened_bend
from attributor.runtimes.routes import EXAMPLE, OpenRoute, VertexKey
from attributor.runtimes.space import PrefixSpace, input_values, run_at_inputs

Values = dict[str, Tensor]


class Placer:
    """Adds curves to open routes. `paths`: the bundle's path objects by name."""

    def __init__(self, network: Network, paths: Mapping[str, PathObject]) -> None:
        self._network = network
        self._paths = paths
        self._attributed = [spec.name for spec in network.inputs if spec.attributed]

    def add_curve(self, route: OpenRoute, spec: CurveSpec) -> int:
        """See GradientModel. Raises UnsupportedByModel for bends that cannot be; ValueError for another shape."""
        if spec.bends and route.space.layer is not None:
            raise UnsupportedByModel(
                "layer_ig's path runs straight in the layer's output. Choose the straight path, or conductance.",
                field="path",
            )
        unknown = spec.bends.keys() - set(self._attributed)
        if unknown:
            raise ValueError(f"No curve runs in {sorted(unknown)}. This is a bug.")
        if any(isinstance(bend, Blur) for bend in spec.bends.values()):
            curve = self._from_blurred(route, spec)
        else:
            start_key, end_key = self._keys(route, spec.start, spec.end)
            start, end = route.slot(start_key), route.slot(end_key)
            bends = self._registered(route, spec, start, end)
            curve = Curve(spec, start, end, start_key == EXAMPLE, end_key == EXAMPLE, bends)
        return route.add_curve(curve)

    def start(self, route: OpenRoute, curve: Curve) -> Tensors:
        """See GradientModel."""
        found = {}
        for spec in self._network.inputs:
            if not spec.attributed:
                found[spec.name] = route.spec.example[spec.name]
            elif isinstance(curve.spec.bends.get(spec.name), Blur):
                found[spec.name] = route.space.vertex(curve.start, spec.name).cpu().numpy()
            else:
                found[spec.name] = curve.spec.start[spec.name]
        return found

    def fill(self, curves: Iterable[tuple[OpenRoute, Curve]], most_rows: int) -> None:
        """Finds what is missing at the ends of some curves of one layer's space, in passes of at most `most_rows` rows.

        Raises whatever the module raises; what was found before then stays.
        """
        missing = list(
            dict.fromkeys(
                (route, slot) for route, curve in curves for slot in (curve.start, curve.end) if slot in route.unfilled
            )
        )
        for first in range(0, len(missing), most_rows):
            chunk = missing[first : first + most_rows]
            for (route, slot), values in zip(chunk, self._found(chunk), strict=True):
                route.fill(slot, values)

    def _found(self, missing: Sequence[tuple[OpenRoute, int]]) -> list[Values]:
        """The values at reserved vertices of one space."""
        places = [(route, route.unfilled[slot]) for route, slot in missing]
        space = places[0][0].space
        if isinstance(space, PrefixSpace):
            found = space.found([inputs for _, inputs in places])
            return [{name: rows[n] for name, rows in found.items()} for n in range(len(places))]
        if space.layer is None:
            raise RuntimeError("A vertex of the inputs has no values. This is a bug.")
        _, rows = self.layer_outputs(places, space.layer)
        return [{space.layer: row} for row in rows]

    def layer_outputs(self, places: Sequence[tuple[OpenRoute, Tensors]], layer: str) -> tuple[Tensor, Tensor]:
        """The network's outputs and the layer's at some inputs, by one pass; each route's unattributed inputs at its
        example."""
        leaves = [input_values(self._network, inputs) for _, inputs in places]
        held = {id(route): self._held(route) for route, _ in places}
        with torch.no_grad():
            outputs, caught = run_at_inputs(
                self._network, _stacked(leaves), _stacked([held[id(route)] for route, _ in places]), [layer]
            )
        return outputs, caught[layer]

    def outputs_with(self, route: OpenRoute, layer: str, value: Tensor) -> Tensor:
        """The network's outputs with the layer held at `value` (without the batch axis), all else at the example."""
        example = _stacked([input_values(self._network, route.spec.example)])
        with torch.no_grad():
            outputs, _ = run_at_inputs(
                self._network, example, _stacked([self._held(route)]), replacements={layer: value[None]}
            )
        return outputs

    def _held(self, route: OpenRoute) -> Values:
        """All inputs at the example, without the batch axis."""
        return {spec.name: self._network.argument(spec, route.spec.example[spec.name]) for spec in self._network.inputs}

    def _from_blurred(self, route: OpenRoute, spec: CurveSpec) -> Curve:
        """A curve whose start follows from its end in some inputs, and so is a vertex of its own."""
        blurs = {name: bend for name, bend in spec.bends.items() if isinstance(bend, Blur)}
        (end_key,) = self._keys(route, spec.end)
        end = route.slot(end_key)
        bends = {name: blur_bend(route.space.vertex(end, name), blur.sigma) for name, blur in blurs.items()}
        values = input_values(self._network, {**spec.start, **{name: spec.end[name] for name in blurs}})
        for name, bend in bends.items():
            values[name] = bend(torch.zeros(1, device=self._network.device))[0][0]
        start = route.place(values)
        registered = self._registered(route, spec, start, end)
        return Curve(spec, start, end, False, end_key == EXAMPLE, {**bends, **registered})

    def _registered(self, route: OpenRoute, spec: CurveSpec, start: int, end: int) -> dict[str, Bend]:
        bends = {}
        for name, bend in spec.bends.items():
            if not isinstance(bend, Registered):
                continue
            path = self._paths.get(bend.name)
            if path is None:
                raise UnsupportedByModel(
                    f"The model registers no path {bend.name!r}, only {sorted(self._paths)}.", field="path"
                )
            registered = registered_bend(path, route.vertex(start, name), route.vertex(end, name))
            positions = len(route.space.vertex(end, name))
            bends[name] = lengthened_bend(registered, positions)
        return bends

    def _keys(self, route: OpenRoute, *ends: Tensors) -> list[VertexKey]:
        """The vertices at some inputs, placed where they are new: one for the same arrays; of layers, reserved only."""
        keys = [self._key(route, end) for end in ends]
        for key, end in zip(keys, ends, strict=True):
            if route.has(key):
                continue
            if not route.space.found_later:
                route.place(input_values(self._network, end), key, end)
            else:
                route.reserve(key, end)
        return keys

    def _key(self, route: OpenRoute, end: Tensors) -> VertexKey:
        example = route.spec.example
        if all(end[name] is example[name] or _equal(end[name], example[name]) for name in self._attributed):
            return EXAMPLE
        return tuple(id(end[name]) for name in self._attributed)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """As `np.array_equal`, without what that does for other arguments: it is asked of every vertex of every input."""
    return one.shape == other.shape and bool((one == other).all())


def _stacked(rows: Sequence[Mapping[str, Tensor]]) -> Values:
    """Tensors of several rows, with a batch axis."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
