"""Shapes of tensors, and the same elements in another shape or order."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded

#: Since these versions axes are an input, not an attribute.
_AXES_ARE_AN_INPUT = 13


@operator("Shape", versions=(1, 13, 15, 19, 21, 23, 24, 25), attributes="start end")
def shape(node: Node) -> Function:
    """The shape, or a slice of it, as a host value."""
    start, end = node.integer("start", 0), node.integer("end", 2**31)

    def run(x: Tensor) -> NDArray[np.int64]:
        return np.array(tuple(x.shape)[start:end] if (start, end) != (0, 2**31) else tuple(x.shape), np.int64)

    return run


@operator("Size", versions=(1, 13, 19, 21, 23, 24, 25))
def size(node: Node) -> Function:
    """The number of elements, as a host value."""
    return lambda x: np.array(x.numel(), np.int64)


@operator("Reshape", versions=(5, 13, 14, 19, 21, 23, 24, 25), attributes="allowzero", host=(1,))
def reshape(node: Node) -> Function:
    """Another shape; 0 keeps the input's size there, unless `allowzero`."""
    keep_zeros = bool(node.integer("allowzero", 0))

    def run(x: Tensor, wanted: NDArray[np.int64]) -> Tensor:
        sizes = wanted.tolist()
        if not keep_zeros and 0 in sizes:
            sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
        return x.reshape(sizes)

    return run


@operator("Flatten", versions=(1, 9, 11, 13, 21, 23, 24, 25), attributes="axis")
def flatten(node: Node) -> Function:
    """Two axes: those before `axis`, and those from it on."""
    axis = node.integer("axis", 1)

    def run(x: Tensor) -> Tensor:
        at = axis + x.dim() if axis < 0 else axis
        return x.reshape(prod(x.shape[:at]), prod(x.shape[at:]))

    return run


@operator("Squeeze", versions=(1, 11, 13, 21, 23, 24, 25), attributes="axes", host=(1,))
def squeeze(node: Node) -> Function:
    """Without axes of size 1: those named, or all."""
    given = node.integers("axes")

    def run(x: Tensor, axes: NDArray[np.int64] | None = None) -> Tensor:
        named = given if axes is None else axes.tolist()
        if named is None:
            return x.squeeze()
        if any(x.shape[axis] != 1 for axis in named):
            raise ValueError(f"Squeeze of axes {list(named)} of shape {list(x.shape)}")
        return x.squeeze(tuple(named))

    return run


@operator("Unsqueeze", versions=(1, 11, 13, 21, 23, 24, 25), attributes="axes", host=(1,))
def unsqueeze(node: Node) -> Function:
    """With axes of size 1 at places of the result."""
    given = node.integers("axes")

    def run(x: Tensor, axes: NDArray[np.int64] | None = None) -> Tensor:
        places = list(given or ()) if axes is None else axes.reshape(-1).tolist()
        total = x.dim() + len(places)
        for place in sorted(p % total for p in places):
            x = x.unsqueeze(place)
        return x

    return run


@operator("Transpose", versions=(1, 13, 21, 23, 24, 25), attributes="perm")
def transpose(node: Node) -> Function:
    """Axes in another order; reversed by default."""
    order = node.integers("perm")
    return lambda x: x.permute(order if order is not None else tuple(range(x.dim()))[::-1])


@operator("Expand", versions=(8, 13), host=(1,))
def expand(node: Node) -> Function:
    """Broadcast with a shape; both may widen the other."""

    def run(x: Tensor, wanted: NDArray[np.int64]) -> Tensor:
        target = np.broadcast_shapes(tuple(x.shape), tuple(wanted.tolist()))
        bounded(*target)
        return x.expand(target)

    return run


@operator("Tile", versions=(6, 13), host=(1,))
def tile(node: Node) -> Function:
    """Repeated along each axis."""

    def run(x: Tensor, repeats: NDArray[np.int64]) -> Tensor:
        bounded(*(n * r for n, r in zip(x.shape, repeats.tolist(), strict=True)))
        return x.repeat(repeats.tolist())

    return run


@operator("Concat", versions=(4, 11, 13), attributes="axis")
def concat(node: Node) -> Function:
    """One after the other along an axis."""
    axis = node.integer("axis")
    return lambda *parts: torch.cat([part for part in parts if part is not None], axis)


@operator("Split", versions=(2, 11, 13, 18), attributes="axis split num_outputs", host=(1,))
def split(node: Node) -> Function:
    """Pieces along an axis: of given sizes, or equal ones, of which the last may be smaller."""
    axis, given = node.integer("axis", 0), node.integers("split")
    n_outputs = len(node.wanted)
    if node.integer("num_outputs", n_outputs) != n_outputs:
        raise Unsupported("has another num_outputs than outputs")

    def run(x: Tensor, sizes: NDArray[np.int64] | None = None) -> tuple[Tensor, ...]:
        pieces: Sequence[int] | None = given if sizes is None else sizes.tolist()
        if pieces is None:
            largest = -(-x.shape[axis] // n_outputs)
            pieces = [max(0, min(largest, x.shape[axis] - i * largest)) for i in range(n_outputs)]
        return torch.split(x, list(pieces), axis)

    return run


@operator("Pad", versions=(2, 11, 13, 18, 19, 21, 23, 24, 25), attributes="mode pads value", host=(1, 3))
def pad(node: Node) -> Function:
    """More elements around: a constant, or reflected, repeated or wrapped ones; negative pads cut off."""
    mode = node.text("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"has mode {mode}")
    given, fill = node.integers("pads"), node.number("value", 0.0)

    def run(x: Tensor, pads: Any = None, value: Tensor | None = None, axes: Any = None) -> Tensor:
        amounts = list(given or ()) if pads is None else pads.tolist()
        named = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes.tolist()]
        befores, afters = amounts[: len(amounts) // 2], amounts[len(amounts) // 2 :]
        bounded(*(n + sum(abs(a) for a in amounts) for n in x.shape[:1]))
        for axis, before, after in zip(named, befores, afters, strict=True):
            x = _padded(x, axis, (before, after), mode, fill if value is None else value)
        return x

    return run


def _padded(x: Tensor, axis: int, amounts: tuple[int, int], mode: str, fill: float | Tensor) -> Tensor:
    before, after = amounts
    if before < 0 or after < 0:
        start, stop = max(-before, 0), x.shape[axis] - max(-after, 0)
        if stop < start:
            raise ValueError(f"Pad cuts {start + max(-after, 0)} of {x.shape[axis]} places")
        x = x.narrow(axis, start, stop - start)
        before, after = max(before, 0), max(after, 0)
    if before == after == 0:
        return x
    n = x.shape[axis]
    bounded(*x.shape[:axis], n + before + after, *x.shape[axis + 1 :])
    if mode == "constant":
        return torch.cat([_filled(x, axis, before, fill), x, _filled(x, axis, after, fill)], axis)
    places = np.arange(-before, n + after)
    if mode == "edge":
        places = places.clip(0, n - 1)
    elif mode == "wrap":
        places = places % n
    else:
        period = max(2 * (n - 1), 1)
        places = np.abs((places + n - 1) % period - (n - 1)) if n > 1 else places * 0
    return x.index_select(axis, torch.from_numpy(places).to(x.device))


def _filled(x: Tensor, axis: int, count: int, fill: float | Tensor) -> Tensor:
    sizes = [*x.shape]
    sizes[axis] = count
    if isinstance(fill, Tensor):
        return fill.to(x.dtype).reshape(()).expand(sizes)
    return x.new_full(sizes, fill)


@operator("Trilu", versions=(14,), attributes="upper", host=(1,))
def trilu(node: Node) -> Function:
    """The upper or lower triangle of the last two axes."""
    cut = torch.triu if node.integer("upper", 1) else torch.tril
    return lambda x, k=None: cut(x, 0 if k is None else int(k))


@operator("ReverseSequence", versions=(10, 28), attributes="batch_axis time_axis")
def reverse_sequence(node: Node) -> Function:
    """The first `lengths` steps of each row in reverse, the rest as they are."""
    batch_axis, time_axis = node.integer("batch_axis", 1), node.integer("time_axis", 0)

    def run(x: Tensor, lengths: Tensor) -> Tensor:
        rows = x.movedim((batch_axis, time_axis), (0, 1))
        steps = torch.arange(rows.shape[1], device=x.device)
        lengths = lengths[:, None]
        index = torch.where(steps < lengths, lengths - 1 - steps, steps)
        index = index.reshape(*index.shape, *[1] * (rows.dim() - 2)).expand(rows.shape)
        return rows.gather(1, index).movedim((0, 1), (batch_axis, time_axis))

    return run
