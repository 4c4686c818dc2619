"""What is known of one open route: its vertices and curves, its targets, its outputs at the example, its vectors.

Knows torch tensors; runs no model.
"""

from collections.abc import Hashable, Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attributor.core.asks import Indices
from attributor.jobs.explanation import Precision, Target
from attributor.jobs.model import OutputSpec, Tensors
from attributor.model_port import Observation, RouteSpec
from attributor.runtimes.curves import Curve
from attributor.runtimes.network import Lengths
from attributor.runtimes.sizing import PassKey
from attributor.runtimes.space import Space
from attributor.runtimes.targets import resolved_target
from attributor.runtimes.vectors import Vectors

#: Arrays by identity, so that a vertex where curves meet is placed once; EXAMPLE is that of the route's example.
VertexKey = tuple[int, ...]
EXAMPLE: VertexKey = ()

_FLOAT_BYTES = 4


def lane_of(spec: RouteSpec, lengths: Lengths) -> Hashable:
    """What routes must agree in to share a pass: the layer, what is attributed to it, the layers observed, how long the
    examples are, the precision, and whether they are one straight path."""
    return spec.layer, spec.observed or (), lengths, spec.precision, spec.straight


def pass_key(lane: Hashable) -> PassKey:
    """What the passes of a lane are sized by: how long the examples are, what is attributed to a layer if to any,
    whether layers are observed, and the precision."""
    if not isinstance(lane, tuple):
        raise TypeError("not a lane of this runtime. This is a bug.")
    layer, observed, lengths, precision, _ = lane
    kind = layer and (layer.name, layer.quantity), bool(observed), precision
    return PassKey(lengths, None if kind == (None, False, Precision.FLOAT32) else kind)


class OpenRoute:
    """One route. Its vectors (float32, on the device) are kept per target, node and name of an input or layer."""

    def __init__(self, name: str, spec: RouteSpec, space: Space) -> None:
        """Raises ValueError for an example of another shape."""
        self.name = name
        self.spec = spec
        self.lane = lane_of(spec, space.lengths)
        self.space = space
        #: Of the example, where lengths vary; all inputs that vary have equally many.
        self.positions = next(iter(space.network.lengths(spec.example)), None)
        self.held = space.hold(spec.example)
        self.curves: list[Curve] = []
        self.has_plain = self.has_bends = False
        #: Where a straight path begins.
        self.origin: Tensors | None = None
        self._slots_of_curves: tuple[Indices, Indices] | None = None
        self.observations: list[Observation] = []
        #: Per observed layer, its output at the example, flat, float64.
        self.references: dict[str, Tensor] = {}
        #: By slot, the inputs at vertices whose values are not found yet.
        self.unfilled: dict[int, Tensors] = {}
        self._vertices: dict[VertexKey, tuple[int, Tensors]] = {}
        self._slots: list[int] = []
        self._resolved: tuple[Target, ...] | None = None
        self._outputs: NDArray[np.float32] | None = None
        self.vectors = Vectors(name)

    @property
    def is_resolved(self) -> bool:
        """Whether the example was evaluated."""
        return self._resolved is not None

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets with their terms. Raises RuntimeError before the example was evaluated."""
        if self._resolved is None:
            raise self._not_evaluated()
        return self._resolved

    @property
    def outputs(self) -> NDArray[np.float32]:
        """The outputs at the example. Raises RuntimeError before it was evaluated."""
        if self._outputs is None:
            raise self._not_evaluated()
        return self._outputs

    @property
    def vector_bytes(self) -> int:
        """What the vectors of one node take, float32, all targets together."""
        layer = self.spec.layer
        if layer is not None:
            size = prod(self.space.network.layer_shape(layer.name, self.spec.example))
        else:
            size = sum(leaf.shape[0] if leaf.summed else prod(leaf.shape) for leaf in self.space.leaves)
        return size * len(self.spec.targets) * _FLOAT_BYTES

    @property
    def vertex_bytes(self) -> int:
        """What one vertex takes, float32."""
        return sum(prod(leaf.shape) for leaf in self.space.leaves) * _FLOAT_BYTES

    def resolve(self, outputs: NDArray[np.float32], form: OutputSpec) -> None:
        """Takes the outputs at the example, which decide what the targets are; of a sequence, as far as it goes."""
        if form.positions is not None:
            outputs = outputs[: self.positions]
        self._outputs = outputs
        self._resolved = tuple(resolved_target(target, form, outputs) for target in self.spec.targets)

    def add_curve(self, curve: Curve) -> int:
        """Its number."""
        self.curves.append(curve)
        self._slots_of_curves = None
        if self.spec.straight:
            if self.curves[1:] or curve.bends or curve.spec.plain or not curve.ends_at_example:
                raise RuntimeError(f"Route {self.name!r} is not one straight path. This is a bug.")
            self.origin = curve.spec.start
        self.has_plain |= curve.spec.plain
        self.has_bends |= bool(curve.bends)
        return len(self.curves) - 1

    @property
    def vertices(self) -> tuple[Indices, Indices]:
        """Per curve, the slots of its start and its end."""
        if self._slots_of_curves is None:
            starts, ends = [curve.start for curve in self.curves], [curve.end for curve in self.curves]
            self._slots_of_curves = np.array(starts, np.intp), np.array(ends, np.intp)
        return self._slots_of_curves

    @property
    def plain(self) -> NDArray[np.bool_]:
        """Per curve, whether the vector kept is the gradient itself."""
        return np.array([curve.spec.plain for curve in self.curves])

    def curve(self, number: int) -> Curve:
        """Raises RuntimeError for one that was not added."""
        if not 0 <= number < len(self.curves):
            raise RuntimeError(f"Route {self.name!r} has no curve {number}. This is a bug.")
        return self.curves[number]

    def has(self, key: VertexKey) -> bool:
        """Whether the vertex is placed."""
        return key in self._vertices

    def slot(self, key: VertexKey) -> int:
        """The slot of a placed vertex."""
        return self._vertices[key][0]

    def place(self, values: Mapping[str, Tensor], key: VertexKey | None = None, arrays: Tensors | None = None) -> int:
        """Places a vertex; returns its slot. `arrays` are kept under `key`, as ids of what is gone come back."""
        slot = self.space.vertices.add(self.space.filled(values, self.positions))
        self._slots.append(slot)
        if key is not None:
            self._vertices[key] = (slot, arrays or {})
        return slot

    def reserve(self, key: VertexKey, arrays: Tensors) -> int:
        """Places a vertex whose values are found later, by `fill`; returns its slot."""
        slot = self.space.vertices.reserve()
        self._slots.append(slot)
        self._vertices[key] = (slot, arrays)
        self.unfilled[slot] = arrays
        return slot

    def fill(self, slot: int, values: Mapping[str, Tensor]) -> None:
        """Gives a reserved vertex its values."""
        self.space.vertices.put(slot, values)
        del self.unfilled[slot]

    def vertex(self, slot: int, name: str) -> Tensor:
        """A copy of one leaf of a vertex, as long as the example."""
        return self.space.trimmed({name: self.space.vertex(slot, name)[None]}, self.positions)[name][0]

    def release(self) -> None:
        """Frees all slots."""
        for slot in self._slots:
            self.space.vertices.remove(slot)
        self.space.release(self.held)

    def _not_evaluated(self) -> RuntimeError:
        return RuntimeError(f"Route {self.name!r} was not evaluated at its example. This is a bug.")
