"""Where curves run: the attributed inputs (for tokens, their embeddings), or the output of one layer.

A vertex is a point of that space; what does not move along a curve is held at the route's example. Knows the network
and slots; knows no targets and no batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.core.asks import Indices
from attributor.jobs.model import InputKind, InputSpec, Tensors
from attributor.runtimes.curves import Curve, straight
from attributor.runtimes.guarding import require_fit
from attributor.runtimes.network import Network
from attributor.runtimes.padding import filling, lengthened
from attributor.runtimes.slots import Form, Slots
from attributor.runtimes.transforms.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor that curves move. `name`: of the input or layer, under which it is attributed. `summed`: a token's
    embedding, attributed as one. `pulled_back`: of a prefix; vectors are gradients, not products."""

    name: str
    shape: tuple[int, ...]
    summed: bool = False
    pulled_back: bool = False


class Space:
    """Vertices and held inputs in slots, and the network as a function of the leaves.

    All tensors are of the shapes that `example` gives them: where lengths vary, each has a space of its own, or each
    bucket of lengths (see `padding`), whose shorter examples are filled up.
    """

    def __init__(self, network: Network, leaves: Sequence[Leaf], example: Tensors, layer: str | None = None) -> None:
        self.network = network
        self.leaves = tuple(leaves)
        self.layer = layer
        self.lengths = network.lengths(example)
        self._variable = frozenset(spec.name for spec in network.inputs if spec.variable and layer is None)
        self.vertices = Slots({leaf.name: Form(leaf.shape) for leaf in leaves}, network.device)
        moved = {leaf.name for leaf in leaves if network.embedding(leaf.name) is None}
        self._held_inputs = [spec for spec in network.inputs if layer is not None or spec.name not in moved]
        self._held_forms = {spec.name: Form(example[spec.name].shape, _dtype(spec)) for spec in self._held_inputs}
        self._held = Slots(self._held_forms, network.device)

    @property
    def found_later(self) -> bool:
        """Whether vertices are found by a pass, when they are first needed."""
        return self.layer is not None

    def attributed(
        self, sums: Mapping[str, NDArray[np.float64]], example: Tensors, origin: Tensors | None
    ) -> Mapping[str, NDArray[np.float64]]:
        """Attributions, from sums of vectors, of the path from `origin` to the example."""
        return sums

    def hold(self, example: Tensors) -> int | None:
        """Places the inputs that stay at the example; their slot, None where all inputs move. ValueError by shape."""
        if not self._held_inputs:
            return None
        return self._held.add({spec.name: self._held_value(spec, example) for spec in self._held_inputs})

    def _held_value(self, spec: InputSpec, example: Tensors) -> Tensor:
        value = self.network.argument(spec, example[spec.name])
        if not spec.variable:
            return value
        return lengthened(value, self._held_forms[spec.name].shape[0], filling(spec))

    def filled(self, values: Mapping[str, Tensor], positions: int | None) -> dict[str, Tensor]:
        """Leaves at an example of so many positions, as long as the space has them. ValueError for another length."""
        found = {}
        for leaf in self.leaves:
            value = values[leaf.name]
            if leaf.name in self._variable:
                if len(value) != positions:
                    raise ValueError(f"{leaf.name!r} must have {positions} positions. This is a bug.")
                value = lengthened(value, leaf.shape[0])
            found[leaf.name] = value
        return found

    def trimmed(self, tensors: Mapping[str, Tensor], positions: int | None) -> dict[str, Tensor]:
        """Tensors by input, rows first, without what comes after so many positions."""
        if not self._variable:
            return dict(tensors)
        return {
            name: each[:, :positions].contiguous() if name in self._variable else each for name, each in tensors.items()
        }

    def release(self, held: int | None) -> None:
        """Frees a slot of `hold`."""
        if held is not None:
            self._held.remove(held)

    def vertex(self, slot: int, name: str) -> Tensor:
        """A copy of one leaf of a vertex."""
        return self.vertices.gather(name, torch.tensor([slot], device=self.network.device))[0]

    def points(
        self, vertices: tuple[Indices, Indices], alphas: NDArray[np.float32], bent: Mapping[Curve, Indices]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """gamma(alpha) and gamma' per node and leaf, float32 (nodes, *shape); exactly the vertices at alpha 0 and 1.

        `vertices`: the slots of each node's curve; `bent`: the nodes on curves that do not run straight.
        """
        device = self.network.device
        starts, ends = (torch.from_numpy(slots).to(device) for slots in vertices)
        alpha = torch.from_numpy(alphas).to(device)
        at_end = bool((alphas == 1).any())
        points, derivatives = {}, {}
        for leaf in self.leaves:
            start, end = self.vertices.gather(leaf.name, starts), self.vertices.gather(leaf.name, ends)
            points[leaf.name], derivatives[leaf.name] = straight(start, end, alpha, at_end=at_end)
        for curve, nodes in bent.items():
            at = torch.from_numpy(nodes).to(device)
            inside = ((alpha[at] != 0) & (alpha[at] != 1)).nonzero().squeeze(1)
            for name, bend in curve.bends.items():
                place, derivative = bend(alpha[at])
                points[name][at[inside]] = place[inside].float()
                derivatives[name][at] = derivative.float()
        return points, derivatives

    def held_at(self, slots: Sequence[int | None], offsets: Sequence[int]) -> dict[str, Tensor]:
        """The held inputs of these slots of `hold`, each for the rows from its offset to the next."""
        if not self._held_inputs:
            return {}
        at = torch.from_numpy(np.repeat(np.array(slots), np.diff(offsets))).to(self.network.device)
        return {spec.name: self._held.gather(spec.name, at) for spec in self._held_inputs}

    def run(
        self, leaves: Mapping[str, Tensor], held: Mapping[str, Tensor], names: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The network's outputs, and those of its modules `names`. Raises whatever the module raises."""
        if self.layer is not None:
            return self.network.run(held, leaves, names)
        return run_at_inputs(self.network, leaves, held, names)


class PrefixSpace(Space):
    """Curves in what an affine prefix of the module makes of its one attributed input. Vectors are gradients by it; the
    weighted sum of them is pulled back to the input, and multiplied by gamma' there."""

    def __init__(self, network: Network, prefix: Prefix, example: Tensors) -> None:
        name = network.inputs[prefix.place].name
        super().__init__(network, [Leaf(name, prefix.shape, pulled_back=True)], example)
        self._prefix = prefix
        self._name = name

    @property
    def found_later(self) -> bool:
        """See Space."""
        return True

    def found(self, rows: Sequence[Tensors]) -> dict[str, Tensor]:
        """The vertices at some inputs, shape (rows, *shape), by one pass of the prefix."""
        spec = self.network.inputs[self._prefix.place]
        with torch.no_grad():
            return {
                self._name: self._prefix(torch.stack([self.network.argument(spec, row[self._name]) for row in rows]))
            }

    def run(
        self, leaves: Mapping[str, Tensor], held: Mapping[str, Tensor], names: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See Space; `names` are none, as layers are asked of the whole module."""
        others = [held[spec.name] for spec in self.network.inputs if spec.name != self._name]
        return self._prefix.outputs(leaves[self._name], others), {}

    def attributed(
        self, sums: Mapping[str, NDArray[np.float64]], example: Tensors, origin: Tensors | None
    ) -> Mapping[str, NDArray[np.float64]]:
        """See Space."""
        if origin is None:
            raise RuntimeError("A straight path has no curve. This is a bug.")
        by_z = torch.from_numpy(sums[self._name]).float().to(self.network.device)
        by_x = self._prefix.pull_back(by_z[None])[0].double().cpu().numpy()
        return {self._name: by_x * (example[self._name].astype(np.float64) - origin[self._name])}


def input_space(network: Network, example: Tensors) -> Space:
    """Curves in the attributed inputs."""
    leaves = []
    for spec in network.inputs:
        if not spec.attributed:
            continue
        shape = example[spec.name].shape
        if network.embedding(spec.name) is None:
            leaves.append(Leaf(spec.name, shape))
        else:
            leaves.append(Leaf(spec.name, network.embedding_shape(spec.name, len(example[spec.name])), summed=True))
    return Space(network, leaves, example)


def layer_space(network: Network, layer: str, example: Tensors) -> Space:
    """Curves in a layer's output. Raises UnknownLayer, UnsupportedByModel."""
    return Space(network, [Leaf(layer, network.layer_shape(layer, example))], example, layer)


def run_at_inputs(
    network: Network,
    leaves: Mapping[str, Tensor],
    held: Mapping[str, Tensor],
    names: Sequence[str] = (),
    replacements: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's outputs at leaves of the input space, and those of its modules `names`; a replacement goes before
    an embedding that is a leaf."""
    arguments, replaced = dict(held), {}
    for name, leaf in leaves.items():
        embedding = network.embedding(name)
        if embedding is None:
            arguments[name] = leaf
        else:
            replaced[embedding] = leaf
    return network.run(arguments, {**replaced, **(replacements or {})}, names)


def input_values(network: Network, tensors: Tensors) -> dict[str, Tensor]:
    """The leaves of the input space at an input.

    Raises InvalidInput, InvalidShape for what no input has.
    """
    values = {}
    for spec in network.inputs:
        if not spec.attributed:
            continue
        require_fit(spec, tensors[spec.name])
        if network.embedding(spec.name) is not None:
            values[spec.name] = network.embedded(spec.name, tensors)
        else:
            values[spec.name] = network.argument(spec, tensors[spec.name])
    return values


def _dtype(spec: InputSpec) -> torch.dtype:
    return torch.int64 if spec.kind is InputKind.TOKENS else torch.float32
