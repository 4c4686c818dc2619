"""Straight paths on a device: their ends in shared tensors, their points in one gather, their vectors per node.

gamma(alpha) = x' + alpha * (x - x'), so gamma' = x - x' (Sundararajan, Taly, Yan 2017, equation 1). Knows no model.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.jobs.job import Target
from attributor.runtimes.targets import ClassTarget

#: Paths that fit before the tensors of ends grow; they double. Ours: a worker rarely holds more jobs at once.
_FIRST_SLOTS = 64


class PathEnds:
    """The ends of all open paths: two float32 tensors (slots, *shape), so that points need one gather, no loop."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self._device = device
        self._baselines = torch.zeros((_FIRST_SLOTS, *shape), device=device)
        self._examples = torch.zeros_like(self._baselines)
        self._free = list(range(_FIRST_SLOTS))

    def add(self, baseline: NDArray[np.float32], example: NDArray[np.float32]) -> int:
        """Copies a path's ends to the device; returns their slot. Raises ValueError for another shape."""
        shape = tuple(self._examples.shape[1:])
        if baseline.shape != shape or example.shape != shape:
            raise ValueError(f"The ends of a path must have shape {shape}. This is a bug.")
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._baselines[slot] = torch.tensor(baseline)
        self._examples[slot] = torch.tensor(example)
        return slot

    def remove(self, slot: int) -> None:
        """Frees a slot."""
        self._free.append(slot)

    def points(self, slots: Sequence[int], alphas: Sequence[float]) -> tuple[Tensor, Tensor]:
        """gamma(alpha) and gamma' per row, both float32 (rows, *shape); exactly x' at alpha 0 and x at alpha 1.

        A multiplication and an addition, not lerp: fused arithmetic may round by the place in the batch.
        """
        rows = torch.tensor(slots, device=self._device)
        baseline, example = self._baselines.index_select(0, rows), self._examples.index_select(0, rows)
        alpha = torch.tensor(alphas, dtype=torch.float32, device=self._device).view(-1, *[1] * (example.dim() - 1))
        delta = example - baseline
        return torch.where(alpha == 1, example, baseline + alpha * delta), delta

    def _grow(self) -> None:
        n_slots = len(self._examples)
        self._free.extend(range(n_slots, 2 * n_slots))
        self._baselines = torch.cat([self._baselines, torch.zeros_like(self._baselines)])
        self._examples = torch.cat([self._examples, torch.zeros_like(self._examples)])


class OpenPath:
    """What is known of one open path: its target, its outputs at x, and gradient * gamma' per node (float32)."""

    def __init__(self, name: str, slot: int, target: Target) -> None:
        self.slot = slot
        self._name = name
        self._target = target
        self._outputs: NDArray[np.float32] | None = None
        self._vectors: dict[int, Tensor] = {}

    @property
    def outputs(self) -> NDArray[np.float32]:
        """The logits at alpha 1. Raises RuntimeError before that point was evaluated."""
        if self._outputs is None:
            raise RuntimeError(f"Path {self._name!r} was not evaluated at alpha 1. This is a bug.")
        return self._outputs

    @property
    def predicted_class(self) -> int:
        """The class of the largest logit at alpha 1; the first of equals."""
        return int(self.outputs.argmax())

    @property
    def class_target(self) -> ClassTarget:
        """The target with its class; one left open is the predicted class, and stays it."""
        given = self._target.class_index
        return (self.predicted_class if given is None else given), self._target.scale

    def record_outputs(self, logits: NDArray[np.float32]) -> None:
        """Takes the logits at alpha 1; the first ones count, so that the target stays."""
        if self._outputs is None:
            self._outputs = logits

    def keep(self, nodes: Sequence[int], vectors: Tensor) -> None:
        """Stores gradient * gamma' of the path's nodes, shape (nodes, *shape)."""
        self._vectors.update(zip(nodes, vectors, strict=True))

    def weighted_sum(self, weights: Mapping[int, float]) -> NDArray[np.float64]:
        """Sum of weight * vector in float64. Weight 0 drops a node, also one whose vector is not finite."""
        used = {node: weight for node, weight in weights.items() if weight != 0}
        missing = used.keys() - self._vectors.keys()
        if missing or not used:
            raise RuntimeError(f"Path {self._name!r} has no vectors at nodes {sorted(missing)}. This is a bug.")
        vectors = torch.stack([self._vectors[node] for node in used]).double()
        factors = torch.tensor(list(used.values()), dtype=torch.float64, device=vectors.device)
        total: NDArray[np.float64] = torch.tensordot(factors, vectors, 1).cpu().numpy()
        return total
