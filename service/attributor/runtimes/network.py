"""A torch module as a function of named tensors: the inputs it is given, and outputs that are put in their place.

Knows one module on one device and its manifest. Knows no curves, targets or jobs.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, ModelInfo, Tensors
from attributor.runtimes.layers import captured, replaced, submodule

#: Rows of the pass that finds a layer's shape: more than one, so that its first axis can be told to be the batch.
_PROBE_ROWS = 2


class Network:
    """The module, called with its inputs in the manifest's order: float32 (rows, *shape), token ids int64.

    Raises ValueError for a token input whose embedding is missing in the manifest, shared with another input, or not a
    float tensor (rows, positions, ...); UnknownLayer for one that is not in the module.
    """

    def __init__(self, module: nn.Module, info: ModelInfo, device: torch.device) -> None:
        self.module = module.to(device)
        self.device = device
        self.inputs = info.inputs
        self._layer_shapes: dict[str, tuple[int, ...]] = {}
        self._embeddings: dict[str, tuple[str, nn.Module]] = {}
        self.embedding_shapes: dict[str, tuple[int, ...]] = {}
        for spec in info.inputs:
            if spec.kind is InputKind.TOKENS and spec.attributed:
                self._find_embedding(spec)

    def run(
        self, arguments: Mapping[str, Tensor], replacements: Mapping[str, Tensor], names: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The outputs for inputs by name, with module outputs replaced by module name, and the outputs of `names`.

        Raises whatever the module raises, and what `replaced` and `captured` raise.
        """
        given = [arguments[spec.name] for spec in self.inputs]
        if not replacements and not names:
            outputs: Tensor = self.module(*given)
            return outputs, {}
        with ExitStack() as stack:
            for name, value in replacements.items():
                stack.enter_context(replaced(self.module, name, value))
            caught = stack.enter_context(captured(self.module, names)) if names else {}
            return self.module(*given), caught

    def embedding(self, name: str) -> str:
        """The name of the module that embeds a token input."""
        return self._embeddings[name][0]

    def embedded(self, name: str, ids: NDArray[np.int64]) -> Tensor:
        """A token input's embedding, shape (positions, ...); zero where there is no token."""
        given = torch.tensor(ids, dtype=torch.int64, device=self.device)
        with torch.no_grad():
            rows = self._embeddings[name][1](given.clamp(min=0)[None])[0]
        missing = (given == NO_TOKEN).view(-1, *[1] * (rows.dim() - 1))
        embedded: Tensor = rows.masked_fill(missing, 0.0)
        return embedded

    def argument(self, spec: InputSpec, values: NDArray[np.generic]) -> Tensor:
        """An input as the module takes it, without the batch axis; in place of no token, the first."""
        if spec.kind is InputKind.TOKENS:
            return torch.tensor(values, dtype=torch.int64, device=self.device).clamp(min=0)
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def layer_shape(self, layer: str, example: Tensors) -> tuple[int, ...]:
        """The shape of a layer's output for one example, found by a pass the first time.

        Raises UnknownLayer, and UnsupportedByModel for an output that is not float or not batch first.
        """
        if layer not in self._layer_shapes:
            submodule(self.module, layer)
            arguments = {}
            for spec in self.inputs:
                row = self.argument(spec, example[spec.name])
                arguments[spec.name] = row.expand(_PROBE_ROWS, *row.shape).contiguous()
            with torch.no_grad():
                _, caught = self.run(arguments, {}, [layer])
            self._layer_shapes[layer] = tuple(caught[layer].shape[1:])
        return self._layer_shapes[layer]

    def _find_embedding(self, spec: InputSpec) -> None:
        if spec.embedding is None or any(spec.embedding == used for used, _ in self._embeddings.values()):
            raise ValueError(f"Token input {spec.name!r} needs an embedding module of its own.")
        self._embeddings[spec.name] = (spec.embedding, submodule(self.module, spec.embedding))
        found = self.embedded(spec.name, np.zeros(spec.shape, np.int64))
        if not found.is_floating_point() or found.dim() < 2 or found.shape[0] != spec.shape[0]:
            raise ValueError(
                f"Module {spec.embedding!r} gives {found.dtype} of shape {tuple(found.shape)} for "
                f"{spec.name!r}; a float tensor (positions, ...) is needed."
            )
        self.embedding_shapes[spec.name] = tuple(found.shape)
