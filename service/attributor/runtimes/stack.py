"""Many alike straight paths in one pass: points, scores and vectors as one stack of tensors. Knows one space of inputs
without layers, lengths or embeddings; no routes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from attributor.core.asks import Floats
from attributor.core.stack import StackVectors
from attributor.jobs.explanation import Target
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputSpec
from attributor.model_port import Stack, StackTold
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


def halved(stack: Stack) -> list[Stack]:
    """The stack in two parts; a single row as it is."""
    half = stack.n_rows // 2
    parts = [slice(0, half), slice(half, None)] if half else [slice(None)]
    return [replace(stack, examples={name: rows[part] for name, rows in stack.examples.items()}) for part in parts]


def evaluate_stack(space: Space, stack: Stack, output: OutputSpec) -> StackTold:
    """See GradientModel. All but the model's own work is numpy's, whose calls take a tenth of the time of torch's:
    these take longer than a small model, where there are few rows."""
    device = space.network.device
    alphas = _with_example(stack.alphas)
    n_rows, n_points = stack.n_rows, len(alphas)
    points, changes = {}, {}
    for name, examples in stack.examples.items():
        start = stack.start[name]
        changes[name] = change = (examples - start)[:, None]
        places = np.empty((n_rows * n_points + 1, *start.shape), np.float32)
        places[-1] = start  # which all rows share
        rows = places[:-1].reshape(n_rows, n_points, *start.shape)
        np.multiply(alphas.reshape(-1, *[1] * start.ndim), change, out=rows)
        rows += start
        rows[:, -1] = examples  # exactly; rounding may miss it
        points[name] = torch.from_numpy(places).to(device).requires_grad_()
    with torch.enable_grad():
        outputs, _ = space.run(points, {})
        at_example = outputs.detach()[n_points - 1 :: n_points].float().cpu().numpy()
        resolved = _resolved(stack.target, output, at_example)
        asked = {id(target): target for target in resolved}
        if len(asked) > 1:
            outputs = torch.cat([outputs[:-1], outputs[-1:].expand(len(asked), *outputs.shape[1:])])
        counts = [n_points] * n_rows + [1] * len(asked)
        scored = target_scores(outputs, [*resolved, *asked.values()], output.kind, counts)
        # Of the ends too: to leave them out takes longer than their part of the pass.
        gradients = gradients_of(scored.sum(), list(points.values()))
    scores = _by_row(scored.detach().cpu().numpy(), n_points, resolved, asked)
    vectors, slopes = {}, np.zeros((n_rows, n_points - 1))
    with np.errstate(all="ignore"):  # what is not finite is told as it is
        for (name, change), gradient in zip(changes.items(), gradients, strict=True):
            by_row = gradient.cpu().numpy()[:-1].reshape(n_rows, n_points, *change.shape[2:])
            vectors[name] = own = by_row[:, :-1] * change
            slopes += own.reshape(*own.shape[:2], -1).sum(axis=2, dtype=np.float64)
    return StackTold(
        scores=scores,
        slopes=slopes,
        resolved=resolved,
        tops=at_example.argmax(axis=1),
        outputs=at_example,
        vectors=StackVectors(vectors),
    )


@lru_cache(maxsize=64)
def _with_example(alphas: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array([*alphas, 1.0], np.float32)


def _by_row(scored: Floats, n_points: int, resolved: Sequence[Target], asked: Iterable[int]) -> Floats:
    """Scores at both ends and between, shape (rows, n_points + 1): of all rows' points, then of the start in each of
    the targets `asked`, by identity."""
    at_start = dict(zip(asked, scored[len(resolved) * n_points :].tolist(), strict=True))
    scores = np.empty((len(resolved), n_points + 1))
    scores[:, 0] = [at_start[id(target)] for target in resolved]
    scores[:, 1:] = scored[: len(resolved) * n_points].reshape(-1, n_points)
    return scores


def _resolved(target: Target, output: OutputSpec, at_example: NDArray[np.float32]) -> tuple[Target, ...]:
    """Per row; those that are equal are one object."""
    if target.terms:
        return (resolved_target(target, output, at_example[0]),) * len(at_example)
    ranked = np.argsort(-at_example, axis=1, kind="stable")[:, target.rank].tolist()
    known: dict[int, Target] = {}
    for row, index in enumerate(ranked):
        if index not in known:
            known[index] = resolved_target(target, output, at_example[row])
    return tuple([known[index] for index in ranked])
