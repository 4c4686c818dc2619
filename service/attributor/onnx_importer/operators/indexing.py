"""Elements picked out of tensors, and put into them, by indices."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded, current, size_of_values

#: ONNX's names of scatter's reductions, and torch's.
_REDUCTIONS = {"none": None, "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Slice", versions=(1, 10, 11, 13), attributes="axes ends starts", host=(1, 2, 3, 4))
def slice_(node: Node) -> Function:
    """Ranges along axes, with steps; limits are cut to the size, negative ones count from the end."""
    given = (node.integers("starts"), node.integers("ends"), node.integers("axes"))

    def run(x: Tensor, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Tensor:
        firsts = list(given[0] or ()) if starts is None else starts.tolist()
        lasts = list(given[1] or ()) if ends is None else ends.tolist()
        named = axes.tolist() if axes is not None else (given[2] or range(len(firsts)))
        strides = [1] * len(firsts) if steps is None else steps.tolist()
        for axis, first, last, stride in zip(named, firsts, lasts, strides, strict=True):
            x = _ranged(x, axis % x.dim(), slice(first, last, stride))
        return x

    return run


def _ranged(x: Tensor, axis: int, wanted: slice) -> Tensor:
    # Python and ONNX cut limits alike, except that the end of a backward range may lie before the first element.
    n = x.shape[axis]
    step = wanted.step
    first = _clamped(wanted.start, n, 0, n if step > 0 else n - 1)
    last = _clamped(wanted.stop, n, 0 if step > 0 else -1, n if step > 0 else n - 1)
    if step > 0:
        return x[(slice(None),) * axis + (slice(first, max(last, first), step),)]
    places = np.arange(first, last, step)
    return x.index_select(axis, torch.from_numpy(places).to(x.device))


def _clamped(value: int, n: int, low: int, high: int) -> int:
    return min(max(value + n if value < 0 else value, low), high)


@operator("Gather", versions=(1, 11, 13), attributes="axis")
def gather(node: Node) -> Function:
    """Slices along an axis, by an index of any shape; negative ones count from the end."""
    axis = node.integer("axis", 0)
    known = node.constants[1]
    if known is not None and known.ndim == 0:
        number = int(known)
        return lambda x, _index: x.select(axis, number)
    in_range = known is not None and known.size > 0 and bool((known >= 0).all())

    def run(x: Tensor, index: Tensor) -> Tensor:
        at = axis + x.dim() if axis < 0 else axis
        n = x.shape[at]
        flat = index.reshape(-1).long()
        flat = flat if in_range else torch.where(flat < 0, flat + n, flat)
        bounded(*x.shape[:at], *index.shape, *x.shape[at + 1 :])
        if at == 0 and x.dim() == 2 and not x.requires_grad and x.is_floating_point():
            return torch.nn.functional.embedding(flat, x).reshape(*index.shape, x.shape[1])
        return x.index_select(at, flat).reshape(*x.shape[:at], *index.shape, *x.shape[at + 1 :])

    return run


@operator("GatherElements", versions=(11, 13), attributes="axis")
def gather_elements(node: Node) -> Function:
    """An element per index, along an axis."""
    axis = node.integer("axis", 0)

    def run(x: Tensor, index: Tensor) -> Tensor:
        return torch.gather(x, axis, _from_zero(index, x.shape[axis]))

    return run


@operator("GatherND", versions=(11, 12, 13), attributes="batch_dims")
def gather_nd(node: Node) -> Function:
    """Slices by index tuples along the last axis of the index."""
    batch_dims = node.integer("batch_dims", 0)

    def run(x: Tensor, index: Tensor) -> Tensor:
        parts = [_from_zero(part, x.shape[batch_dims + i]) for i, part in enumerate(index.unbind(-1))]
        rest = index.dim() - 1 - batch_dims
        rows = [
            torch.arange(n, device=x.device).reshape([-1 if j == i else 1 for j in range(batch_dims)] + [1] * rest)
            for i, n in enumerate(x.shape[:batch_dims])
        ]
        return x[(*rows, *parts)]

    return run


@operator("ScatterElements", versions=(11, 13, 16, 18), attributes="axis reduction")
def scatter_elements(node: Node) -> Function:
    """Elements put in along an axis."""
    axis, reduction = node.integer("axis", 0), _reduction(node)

    def run(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        places = _from_zero(index, x.shape[axis])
        if reduction is None:
            return x.scatter(axis, places, updates)
        return x.scatter_reduce(axis, places, updates, reduction)

    return run


@operator("ScatterND", versions=(11, 13, 16, 18), attributes="reduction")
def scatter_nd(node: Node) -> Function:
    """Slices put in by index tuples."""
    reduction = _reduction(node)

    def run(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        k = index.shape[-1]
        parts = [_from_zero(part, n) for part, n in zip(index.unbind(-1), x.shape[:k], strict=True)]
        if reduction is None:
            return x.index_put(tuple(parts), updates)
        flat = torch.zeros_like(parts[0])
        for part, n in zip(parts, x.shape[:k], strict=True):
            flat = flat * n + part
        rows, tail = flat.reshape(-1), x.shape[k:]
        wide = x.reshape(-1, *tail)
        places = rows.reshape(-1, *[1] * len(tail)).expand(len(rows), *tail)
        return wide.scatter_reduce(0, places, updates.reshape(-1, *tail), reduction).reshape(x.shape)

    return run


@operator("NonZero", versions=(9, 13))
def non_zero(node: Node) -> Function:
    """The indices of what is not zero, one axis per row."""

    def run(x: Tensor) -> Tensor:
        if not current().on_host:
            size_of_values()
        return torch.nonzero(x).T

    return run


@operator("Compress", versions=(9, 11, 28), attributes="axis", host=(1,))
def compress(node: Node) -> Function:
    """The slices where the condition holds."""
    axis = node.integer("axis") if "axis" in node.attributes else None

    def run(x: Tensor, condition: NDArray[np.bool_]) -> Tensor:
        places = torch.from_numpy(np.flatnonzero(condition)).to(x.device)
        return x.reshape(-1).index_select(0, places) if axis is None else x.index_select(axis, places)

    return run


def _reduction(node: Node) -> str | None:
    name = node.text("reduction", "none")
    if name not in _REDUCTIONS:
        raise Unsupported(f"has reduction {name}")
    return _REDUCTIONS[name]


def _from_zero(index: Tensor, n: int) -> Tensor:
    whole = index.long()
    return torch.where(whole < 0, whole + n, whole)
