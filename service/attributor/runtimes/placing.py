"""Places a route's curves in its space: vertices shared where arrays are, layers' outputs found, bends made.

Knows the network, the spaces and open routes; knows no batches and no targets.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from attributor.errors import UnsupportedByModel
from attributor.jobs.model import Tensors
from attributor.ports import Blur, CurveSpec, Registered
from attributor.runtimes.curves import Bend, Curve, PathObject, blur_bend, registered_bend
from attributor.runtimes.routes import EXAMPLE, OpenRoute, VertexKey
from attributor.runtimes.space import Space, input_values

Values = dict[str, Tensor]


class Placer:
    """Adds curves to open routes. `inputs` is the space of the inputs, `paths` the bundle's path objects by name."""

    def __init__(self, inputs: Space, paths: Mapping[str, PathObject]) -> None:
        self._inputs = inputs
        self._paths = paths
        self._attributed = [spec.name for spec in inputs.network.inputs if spec.attributed]

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
            bends = self._registered(route.space, spec, start, end)
            curve = Curve(spec, start, end, start_key == EXAMPLE, end_key == EXAMPLE, bends)
        route.curves.append(curve)
        return len(route.curves) - 1

    def start(self, route: OpenRoute, curve: Curve) -> Tensors:
        """See GradientModel."""
        found = {}
        for spec in self._inputs.network.inputs:
            if not spec.attributed:
                found[spec.name] = route.spec.example[spec.name]
            elif isinstance(curve.spec.bends.get(spec.name), Blur):
                found[spec.name] = route.space.vertex(curve.start, spec.name).cpu().numpy()
            else:
                found[spec.name] = curve.spec.start[spec.name]
        return found

    def layer_outputs(self, route: OpenRoute, ends: Sequence[Tensors], layer: str) -> tuple[Tensor, Tensor]:
        """The network's outputs and the layer's at some inputs, by one pass; unattributed inputs at the example."""
        values = [input_values(self._inputs.network, end) for end in ends]
        stacked = {name: torch.stack([value[name] for value in values]) for name in values[0]}
        with torch.no_grad():
            outputs, caught = self._inputs.run(stacked, self.held(route, len(ends)), [layer])
        return outputs, caught[layer]

    def outputs_with(self, route: OpenRoute, layer: str, value: Tensor) -> Tensor:
        """The network's outputs with the layer held at `value` (without the batch axis), all else at the example."""
        example = {name: leaf[None] for name, leaf in input_values(self._inputs.network, route.spec.example).items()}
        with torch.no_grad():
            outputs, _ = self._inputs.run(example, self.held(route, 1), replacements={layer: value[None]})
        return outputs

    def held(self, route: OpenRoute, n_rows: int) -> Values:
        """All inputs at the example, in some rows."""
        network = self._inputs.network
        rows = {spec.name: network.argument(spec, route.spec.example[spec.name]) for spec in network.inputs}
        return {name: row.expand(n_rows, *row.shape).contiguous() for name, row in rows.items()}

    def _from_blurred(self, route: OpenRoute, spec: CurveSpec) -> Curve:
        """A curve whose start follows from its end in some inputs, and so is a vertex of its own."""
        blurs = {name: bend for name, bend in spec.bends.items() if isinstance(bend, Blur)}
        (end_key,) = self._keys(route, spec.end)
        end = route.slot(end_key)
        bends = {name: blur_bend(route.space.vertex(end, name), blur.sigma) for name, blur in blurs.items()}
        values = input_values(self._inputs.network, {**spec.start, **{name: spec.end[name] for name in blurs}})
        for name, bend in bends.items():
            values[name] = bend(torch.zeros(1, device=self._inputs.network.device))[0][0]
        start = route.place(values)
        registered = self._registered(route.space, spec, start, end)
        return Curve(spec, start, end, False, end_key == EXAMPLE, {**bends, **registered})

    def _registered(self, space: Space, spec: CurveSpec, start: int, end: int) -> dict[str, Bend]:
        bends = {}
        for name, bend in spec.bends.items():
            if not isinstance(bend, Registered):
                continue
            path = self._paths.get(bend.name)
            if path is None:
                raise UnsupportedByModel(
                    f"The model registers no path {bend.name!r}, only {sorted(self._paths)}.", field="path"
                )
            bends[name] = registered_bend(path, space.vertex(start, name), space.vertex(end, name))
        return bends

    def _keys(self, route: OpenRoute, *ends: Tensors) -> list[VertexKey]:
        """The vertices at some inputs, placed where they are new: one for the same arrays, one pass for layers."""
        keys = [self._key(route, end) for end in ends]
        new = {key: end for key, end in zip(keys, ends, strict=True) if not route.has(key)}
        if new and route.space.layer is not None:
            _, found = self.layer_outputs(route, list(new.values()), route.space.layer)
            values = [{route.space.layer: row} for row in found]
        else:
            values = [input_values(self._inputs.network, end) for end in new.values()]
        for (key, end), leaves in zip(new.items(), values, strict=True):
            route.place(leaves, key, end)
        return keys

    def _key(self, route: OpenRoute, end: Tensors) -> VertexKey:
        example = route.spec.example
        if all(end[name] is example[name] or np.array_equal(end[name], example[name]) for name in self._attributed):
            return EXAMPLE
        return tuple(id(end[name]) for name in self._attributed)
