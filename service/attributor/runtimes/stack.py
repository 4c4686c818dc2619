"""Many alike straight paths in one pass: points, scores and vectors as one stack of tensors. Knows one space of inputs
without layers, lengths or embeddings; no routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from attributor.core.asks import Floats, Indices
from attributor.jobs.explanation import Target
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputSpec
from attributor.model_port import Stack, StackTold
from attributor.runtimes.memory import with_room
from attributor.runtimes.passes import gradients_of
from attributor.runtimes.space import Space
from attributor.runtimes.targets import resolved_target, target_scores

#: Parameters times places (pixels of the largest picture, positions of the longest sequence) up to which a model is
#: small: about as many multiplications per point, unless weights are used again and again. By the model alone, not by
#: the machine, as answers hang on it.
#: Ours: the nets of 6,000 (a table) and of 14,000 * 64 (pictures of 8x8) gain; ARCHITECTURE.md, decision 55.
MOST_MULTIPLICATIONS = 1 << 22
#: Numbers of an input of a small model, at most: so that no pass over a stack holds much.
MOST_NUMBERS = 1 << 12


def is_small(module: nn.Module, info: ModelInfo) -> bool:
    """Whether the model is small, and can be differentiated for inputs that are numbers of one shape."""
    if not info.gradients or info.output.positions is not None:
        return False
    plain = all(each.attributed and not each.variable and each.kind is not InputKind.TOKENS for each in info.inputs)
    numbers = sum(prod(each.shape) for each in info.inputs)
    size = sum(each.numel() for each in (*module.parameters(), *module.buffers()))
    return plain and numbers <= MOST_NUMBERS and size * max(map(_places, info.inputs)) <= MOST_MULTIPLICATIONS


def _places(declared: InputSpec) -> int:
    """At how many places a weight may be used."""
    if declared.kind is InputKind.IMAGE:
        return prod(declared.shape[1:])
    return 1 if declared.kind is InputKind.TABULAR else prod(declared.shape)


@dataclass(frozen=True, slots=True, eq=False)
class KeptVectors:
    """Port StackVectors: per input, shape (rows, nodes, *input shape), float32."""

    by_input: Mapping[str, Tensor]

    def sums(self, rows: Indices, weights: Floats) -> Mapping[str, Floats]:
        """See the port. Raises OutOfMemory."""
        return with_room(lambda: self._sums(rows, weights))

    def _sums(self, rows: Indices, weights: Floats) -> Mapping[str, Floats]:
        found = {}
        for name, kept in self.by_input.items():
            device = kept.device
            own = kept if len(rows) == len(kept) else kept.index_select(0, torch.from_numpy(rows).to(device))
            flat = own.reshape(len(own), len(weights.T), -1).double()
            total = torch.from_numpy(weights).to(device)[..., None, :] @ flat
            found[name] = total.reshape(len(own), *kept.shape[2:]).cpu().numpy()
        return found

    def row(self, row: int) -> dict[str, Tensor]:
        """Copies of one row's, as a view would keep all."""
        return {name: kept[row].clone() for name, kept in self.by_input.items()}


def kept_by(told: StackTold) -> KeptVectors:
    """The vectors of what this runtime has told."""
    if not isinstance(told.vectors, KeptVectors):
        raise TypeError("these vectors are of another runtime. This is a bug.")
    return told.vectors


def halved(stack: Stack) -> list[Stack]:
    """The stack in two parts; a single row as it is."""
    half = stack.n_rows // 2
    parts = [slice(0, half), slice(half, None)] if half else [slice(None)]
    return [replace(stack, examples={name: rows[part] for name, rows in stack.examples.items()}) for part in parts]


def joined_told(parts: Sequence[StackTold]) -> StackTold:
    """What was told of a stack in parts."""
    kept = [kept_by(part).by_input for part in parts]
    return StackTold(
        scores=np.concatenate([part.scores for part in parts]),
        slopes=np.concatenate([part.slopes for part in parts]),
        resolved=tuple(target for part in parts for target in part.resolved),
        tops=np.concatenate([part.tops for part in parts]),
        outputs=np.concatenate([part.outputs for part in parts]),
        vectors=KeptVectors({name: torch.cat([each[name] for each in kept]) for name in kept[0]}),
    )


def evaluate_stack(space: Space, stack: Stack, output: OutputSpec) -> StackTold:
    """See GradientModel."""
    device = space.network.device
    alphas = torch.tensor([0.0, *stack.alphas, 1.0], dtype=torch.float32, device=device)
    n_points = len(alphas)
    points, changes = {}, {}
    for name, examples in stack.examples.items():
        end = torch.from_numpy(examples).to(device)
        start = torch.from_numpy(np.ascontiguousarray(stack.start[name])).to(device)
        changes[name] = change = (end - start)[:, None]
        place = start + alphas.view(-1, *[1] * start.dim()) * change
        place[:, -1] = end  # exactly; rounding may miss it
        points[name] = place.flatten(0, 1).requires_grad_()
    with torch.enable_grad():
        outputs, _ = space.run(points, {})
        by_row = outputs.detach().float().view(-1, n_points, outputs.shape[1])
        at_example = by_row[:, -1].cpu().numpy()
        resolved = _resolved(stack.target, output, at_example)
        scores = target_scores(outputs, resolved, output.kind, [n_points] * len(resolved)).view(-1, n_points)
        sources = list(points.values())
        gradients = gradients_of(scores[:, 1:-1].sum(), sources)
    vectors, slopes = {}, torch.zeros_like(scores[:, 1:-1])
    for (name, change), gradient in zip(changes.items(), gradients, strict=True):
        vectors[name] = own = gradient.view(-1, n_points, *gradient.shape[1:])[:, 1:-1] * change
        slopes = slopes + own.flatten(2).sum(2, dtype=torch.float64)
    return StackTold(
        scores=scores.detach().cpu().numpy(),
        slopes=slopes.detach().cpu().numpy(),
        resolved=resolved,
        tops=at_example.argmax(axis=1),
        outputs=at_example,
        vectors=KeptVectors(vectors),
    )


def _resolved(target: Target, output: OutputSpec, at_example: np.ndarray) -> tuple[Target, ...]:
    """Per row; those that are equal are one object."""
    if target.terms:
        return (resolved_target(target, output, at_example[0]),) * len(at_example)
    ranked = np.argsort(-at_example, axis=1, kind="stable")[:, target.rank].tolist()
    known: dict[int, Target] = {}
    for row, index in enumerate(ranked):
        if index not in known:
            known[index] = resolved_target(target, output, at_example[row])
    return tuple([known[index] for index in ranked])
