"""Which space a route's curves run in, and on which form of the model: as it is, or with what makes passes cheaper.

Where a layer is attributed or observed, the module is run as its bundle made it, for its layers' outputs are asked for
by name. Everything else runs on the transformed module; of a single straight path, what the affine prefix computes is
taken out of it. Knows networks and spaces; knows no batches.
"""

from collections.abc import Collection, Hashable

import torch
from torch import nn

from attributor.jobs.explanation import Quantity
from attributor.jobs.model import ModelInfo, Tensors
from attributor.ports import RouteSpec
from attributor.runtimes.network import Lengths, Network
from attributor.runtimes.space import PrefixSpace, Space, input_space, layer_space
from attributor.runtimes.transforms.choosing import Transformed


class Spaces:
    """The spaces in use. `plain`: the network as its bundle made it."""

    def __init__(
        self, module: nn.Module, info: ModelInfo, device: torch.device, transformed: Transformed | None
    ) -> None:
        self.plain = Network(module, info, device)
        self._fast = self.plain
        self._prefix = None
        if transformed is not None and transformed.applied:
            self._fast = Network(transformed.module, info, device)
            self._prefix = transformed.prefix
        #: By form, layer (None: curves run in the inputs) and the lengths of examples.
        self._known: dict[tuple[Hashable, ...], Space] = {}

    def lengths(self, example: Tensors) -> Lengths:
        """See Network."""
        return self.plain.lengths(example)

    def form(self, spec: RouteSpec) -> str:
        """What a route runs on: `plain`, `fast`, or `prefix`."""
        if spec.layer is not None or spec.observed is not None:
            return "plain"
        return "prefix" if spec.straight and self._prefix is not None else "fast"

    def space(self, spec: RouteSpec) -> Space:
        """Where the route's curves run. Raises UnknownLayer, UnsupportedByModel."""
        layer = None
        if spec.layer is not None:
            self.plain.layer_shape(spec.layer.name, spec.example)
            layer = spec.layer.name if spec.layer.quantity is Quantity.LAYER_IG else None
        form = self.form(spec)
        key = form, layer, self.lengths(spec.example)
        if key not in self._known:
            self._known[key] = self._made(form, layer, spec.example)
        return self._known[key]

    def keep_only(self, used: Collection[Space]) -> None:
        """Let go what no route uses, but the spaces that all routes come back to."""
        self._known = {
            key: space for key, space in self._known.items() if (key[1] is None and not key[2]) or space in used
        }

    def _made(self, form: str, layer: str | None, example: Tensors) -> Space:
        if layer is not None:
            return layer_space(self.plain, layer, example)
        if form == "prefix" and self._prefix is not None:
            return PrefixSpace(self._fast, self._prefix, example)
        return input_space(self.plain if form == "plain" else self._fast, example)
