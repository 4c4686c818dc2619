"""Which space a route's curves run in, and on which form of the model: as it is, or with what makes passes cheaper.

Where a layer is attributed or observed, the module is run as its bundle made it, for its layers' outputs are asked for
by name. Everything else runs on the transformed module; of a single straight path, what the affine prefix computes is
taken out of it; and examples are filled up to the next bucket of lengths, where the model was shown not to see that.
Knows networks and spaces; knows no batches.
"""

from collections.abc import Collection, Hashable

import torch
from torch import nn

from attributor.jobs.explanation import Precision, Quantity
from attributor.jobs.model import ModelInfo, Tensors
from attributor.model_port import RouteSpec
from attributor.runtimes.network import Lengths, Network
from attributor.runtimes.space import PrefixSpace, Space, input_space, layer_space
from attributor.runtimes.transforms.choosing import Transformed
from attributor.runtimes.transforms.prefix import Prefix

#: Forms of a model: as its bundle made it, transformed, and transformed for passes in bfloat16.
PLAIN, FAST, NARROW = "plain", "fast", "narrow"


class Spaces:
    """The spaces in use. `plain`: the network as its bundle made it."""

    def __init__(
        self, module: nn.Module, info: ModelInfo, device: torch.device, transformed: Transformed | None
    ) -> None:
        self.plain = Network(module, info, device)
        self._networks = {PLAIN: self.plain, FAST: self.plain, NARROW: self.plain}
        self._prefixes: dict[str, Prefix | None] = {}
        self._buckets = None if transformed is None else transformed.buckets
        if transformed is not None and transformed.applied:
            self._networks |= {
                FAST: Network(transformed.module, info, device),
                NARROW: Network(transformed.narrow, info, device),
            }
            self._prefixes = {FAST: transformed.prefix, NARROW: transformed.narrow_prefix}
        #: By form, layer (None: curves run in the inputs) and the lengths that examples have in a pass.
        self._known: dict[tuple[Hashable, ...], Space] = {}

    def lengths(self, spec: RouteSpec) -> Lengths:
        """How long the route's example is in a pass, by variable input. Where layers are asked for, as long as it is,
        since their outputs are."""
        exact = self.plain.lengths(spec.example)
        if self._buckets is None or _form(spec) == PLAIN:
            return exact
        return tuple(self._buckets.room(length) for length in exact)

    def space(self, spec: RouteSpec) -> Space:
        """Where the route's curves run. Raises UnknownLayer, UnsupportedByModel."""
        layer = None
        if spec.layer is not None:
            self.plain.layer_shape(spec.layer.name, spec.example)
            layer = spec.layer.name if spec.layer.quantity is Quantity.LAYER_IG else None
        form = _form(spec)
        prefix = self._prefixes.get(form) if spec.straight else None
        key = (form, prefix is not None), layer, self.lengths(spec)
        if key not in self._known:
            example = spec.example
            if self._buckets is not None and form != PLAIN:
                example = self._buckets.filled(self.plain.inputs, example)
            self._known[key] = self._made(form, prefix, layer, example)
        return self._known[key]

    def keep_only(self, used: Collection[Space]) -> None:
        """Let go what no route uses, but the spaces that all routes come back to."""
        self._known = {
            key: space for key, space in self._known.items() if (key[1] is None and not key[2]) or space in used
        }

    def _made(self, form: str, prefix: Prefix | None, layer: str | None, example: Tensors) -> Space:
        if layer is not None:
            return layer_space(self.plain, layer, example)
        if prefix is not None:
            return PrefixSpace(self._networks[form], prefix, example)
        return input_space(self._networks[form], example)


def _form(spec: RouteSpec) -> str:
    """What a route runs on."""
    if spec.layer is not None or spec.observed is not None:
        return PLAIN
    return FAST if spec.precision is Precision.FLOAT32 else NARROW
