"""A torch module as a function of named tensors: the inputs it is given, and outputs that are put in their place.

Knows one module on one device and its manifest. Knows no curves, targets or jobs.
"""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, ModelInfo, Tensors
from attributor.runtimes.layers import captured, replaced, submodule
from attributor.runtimes.recurrent import differentiable, recurrent_parts

#: Rows of the pass that finds a layer's shape: more than one, so that its first axis can be told to be the batch.
_PROBE_ROWS = 2

#: Of the example by which an embedding is tried, where lengths vary. Ours: any will do.
_SAMPLE_POSITIONS = 7

#: Of the variable inputs of an example; examples that agree in it have tensors of the same shapes everywhere.
Lengths = tuple[int, ...]


class Network:
    """The module, called with its inputs in the manifest's order: float32 (rows, *shape), token ids int64.

    Raises ValueError for a token input whose embedding is missing in the manifest, shared with another input, or not of
    shape (rows, positions, ...); UnknownLayer, UnsupportedByModel for one that is not in the module, not float or not
    called once.
    """

    def __init__(self, module: nn.Module, info: ModelInfo, device: torch.device) -> None:
        self.module = module.to(device)
        self.device = device
        self._recurrent = recurrent_parts(self.module)
        self.inputs = info.inputs
        self.gradients = info.gradients
        self._variable = [spec.name for spec in info.inputs if spec.variable]
        self._layer_shapes: dict[Hashable, tuple[int, ...]] = {}
        self._embeddings: dict[str, str] = {}
        self._tables: dict[str, nn.Module] = {}
        self._widths: dict[str, tuple[int, ...]] = {}
        tokens = [spec for spec in info.inputs if spec.kind is InputKind.TOKENS and spec.attributed]
        for spec in tokens:
            if spec.embedding is None or spec.embedding in self._embeddings.values():
                raise ValueError(f"Token input {spec.name!r} needs an embedding module of its own.")
            self._embeddings[spec.name] = spec.embedding
        for spec in tokens:
            self._find_embedding(spec, self._embeddings[spec.name])

    def run(
        self, arguments: Mapping[str, Tensor], replacements: Mapping[str, Tensor], names: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The outputs for inputs by name, with module outputs replaced by module name, and the outputs of `names`.

        Raises whatever the module raises, and what `replaced` and `captured` raise.
        """
        with differentiable(self._recurrent if torch.is_grad_enabled() else ()):
            return self._run(arguments, replacements, names)

    def _run(
        self, arguments: Mapping[str, Tensor], replacements: Mapping[str, Tensor], names: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        given = [arguments[spec.name] for spec in self.inputs]
        if not replacements and not names:
            outputs: Tensor = self.module(*given)
            return outputs, {}
        with ExitStack() as stack:
            for name, value in replacements.items():
                stack.enter_context(replaced(self.module, name, value))
            caught = stack.enter_context(captured(self.module, names)) if names else {}
            return self.module(*given), caught

    def lengths(self, example: Tensors) -> Lengths:
        """How long an example is, by variable input; empty where all shapes are fixed."""
        return tuple(len(example[name]) for name in self._variable)

    def embedding(self, name: str) -> str | None:
        """The name of the module that embeds an input; None for one that moves as it is."""
        return self._embeddings.get(name)

    def embedding_shape(self, name: str, positions: int) -> tuple[int, ...]:
        """The shape of a token input's embedding, without the batch axis."""
        return positions, *self._widths[name]

    def embedded(self, name: str, inputs: Tensors) -> Tensor:
        """A token input's embedding, shape (positions, ...); zero where there is no token."""
        ids = torch.tensor(inputs[name], dtype=torch.int64, device=self.device)
        with torch.no_grad():
            if name in self._tables:
                row = self._tables[name](ids.clamp(min=0)[None])[0]
            else:
                row = self._caught(self._embeddings[name], inputs, 1)[0]
        missing = (ids == NO_TOKEN).view(-1, *[1] * (row.dim() - 1))
        embedded: Tensor = row.masked_fill(missing, 0.0)
        return embedded

    def argument(self, spec: InputSpec, values: NDArray[np.generic]) -> Tensor:
        """An input as the module takes it, without the batch axis; in place of no token, the first."""
        if spec.kind is InputKind.TOKENS:
            return torch.tensor(values, dtype=torch.int64, device=self.device).clamp(min=0)
        if values.dtype == np.float32 and values.flags.writeable and self.device.type == "cpu":
            return torch.from_numpy(values)  # whoever keeps it, or gives it to a module, copies it
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def layer_shape(self, layer: str, example: Tensors) -> tuple[int, ...]:
        """The shape of a layer's output for one example, found by a pass the first time at each length.

        Raises UnknownLayer, and UnsupportedByModel for an output that is not float or not batch first.
        """
        key = layer, self.lengths(example)
        if key not in self._layer_shapes:
            submodule(self.module, layer)
            with torch.no_grad():
                self._layer_shapes[key] = tuple(self._caught(layer, example, _PROBE_ROWS).shape[1:])
        return self._layer_shapes[key]

    def _caught(self, layer: str, inputs: Tensors, n_rows: int) -> Tensor:
        """A module's output for so many equal rows."""
        arguments = {}
        for spec in self.inputs:
            row = self.argument(spec, inputs[spec.name])
            # A copy, also of one row: the module may write in place, and the row may be the example's own memory.
            arguments[spec.name] = row.expand(n_rows, *row.shape).clone(memory_format=torch.contiguous_format)
        _, caught = self.run(arguments, {}, [layer])
        return caught[layer]

    def _find_embedding(self, spec: InputSpec, name: str) -> None:
        module = submodule(self.module, name)
        inputs = {each.name: _sample(each) for each in self.inputs}
        with torch.no_grad():
            found = self._caught(name, inputs, 1)
            # To look an id up is cheaper than a pass, where the module is called with the ids as they are: a tensor in
            # the middle of a graph is not, nor an embedding whose ids are shifted before.
            called = _called(module, torch.from_numpy(inputs[spec.name]).to(self.device)[None])
        if called is not None and called.shape == found.shape and torch.equal(called, found):
            self._tables[spec.name] = module
        if found.dim() < 3 or found.shape[1] != len(inputs[spec.name]):
            raise ValueError(
                f"Module {name!r} gives shape {tuple(found.shape)} for {spec.name!r}; (rows, positions, ...) is needed."
            )
        self._widths[spec.name] = tuple(found.shape[2:])


def _sample(spec: InputSpec) -> NDArray[np.generic]:
    """Some example of an input: different ids, and ones, which leave nothing masked."""
    shape = (min(spec.shape[0], _SAMPLE_POSITIONS), *spec.shape[1:]) if spec.variable else spec.shape
    if spec.kind is InputKind.TOKENS and spec.attributed:
        return np.arange(np.prod(shape, dtype=int)).reshape(shape) % (spec.vocabulary or 1)
    return np.ones(shape, np.int64 if spec.kind is InputKind.TOKENS else np.float32) % (spec.vocabulary or 2)


def _called(module: nn.Module, ids: Tensor) -> Tensor | None:
    """What a module gives for ids; None where it does not take them."""
    try:
        found = module(ids)
    except Exception:  # whatever a module raises that is made for other arguments
        return None
    return found if isinstance(found, Tensor) else None
