"""Sums, means, extremes and norms along axes. Knows torch and the node interface."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, operator

Axes = list[int]
Reduction = Callable[[Tensor, Axes, bool], Tensor]


def _sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.sum(axes, keep, dtype=x.dtype)


def _mean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """Of whole numbers, the mean cut towards zero."""
    if x.is_floating_point():
        return x.mean(axes, keep)
    return torch.div(x.sum(axes, keep), _count(x, axes), rounding_mode="trunc").to(x.dtype)


def _count(x: Tensor, axes: Axes) -> int:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return count


def _largest(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """Of nothing, the least number that the type has."""
    if _count(x, axes):
        return x.amax(axes, keep)
    return _filled(x, axes, keep, _least(x.dtype))


def _smallest(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """Of nothing, the greatest number that the type has."""
    if _count(x, axes):
        return x.amin(axes, keep)
    return _filled(x, axes, keep, _greatest(x.dtype))


def _least(dtype: torch.dtype) -> float:
    if dtype is torch.bool:
        return 0
    return -torch.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _greatest(dtype: torch.dtype) -> float:
    if dtype is torch.bool:
        return 1
    return torch.inf if dtype.is_floating_point else torch.iinfo(dtype).max


def _filled(x: Tensor, axes: Axes, keep: bool, value: float) -> Tensor:
    return x.new_full(x.sum(axes, keep).shape, value)


def _product(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """One axis after the other, the last first, so that the numbers of the others stay."""
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keep, dtype=x.dtype)
    return x


def _norm_1(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return _sum(x.abs(), axes, keep)


def _norm_2(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """torch's own, whose derivative at 0 is 0 and not NaN; of whole numbers, cut towards zero."""
    if x.is_floating_point():
        norm: Tensor = torch.linalg.vector_norm(x, 2, axes, keep)
        return norm
    return x.double().square().sum(axes, keep).sqrt().to(x.dtype)


def _sum_of_squares(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return _sum(x * x, axes, keep)


def _log_of_sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.sum(axes, keep).log().to(x.dtype)


def _log_of_sum_of_exp(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.logsumexp(x if x.is_floating_point() else x.double(), axes, keep).to(x.dtype)


#: By operator: what it computes, the versions whose axes are an attribute, and those whose axes are an input.
_REDUCTIONS: Mapping[str, tuple[Reduction, tuple[int, ...], tuple[int, ...]]] = {
    "ReduceSum": (_sum, (1, 11), (13,)),
    "ReduceMean": (_mean, (1, 11, 13), (18,)),
    "ReduceMax": (_largest, (1, 11, 12, 13), (18, 20)),
    "ReduceMin": (_smallest, (1, 11, 12, 13), (18, 20)),
    "ReduceProd": (_product, (1, 11, 13), (18,)),
    "ReduceL1": (_norm_1, (1, 11, 13), (18,)),
    "ReduceL2": (_norm_2, (1, 11, 13), (18,)),
    "ReduceSumSquare": (_sum_of_squares, (1, 11, 13), (18,)),
    "ReduceLogSum": (_log_of_sum, (1, 11, 13), (18, 28)),
    "ReduceLogSumExp": (_log_of_sum_of_exp, (1, 11, 13), (18, 28)),
}


def _declare(op_type: str, reduction: Reduction, attribute: tuple[int, ...], given: tuple[int, ...]) -> None:
    names = "axes keepdims noop_with_empty_axes"

    @operator(op_type, versions=attribute + given, attributes=names, host=(1,))
    def build(node: Node) -> Function:
        keep = bool(node.integer("keepdims", 1))
        if node.version in attribute:
            fixed = node.integers("axes")
            return lambda x: _reduced(reduction, x, fixed, keep)
        if node.integer("noop_with_empty_axes", 0):
            return _along_given_or_none(reduction, keep=keep)

        def along_given(x: Tensor, axes: NDArray[Any] | None = None) -> Tensor:
            return _reduced(reduction, x, () if axes is None else axes.reshape(-1).tolist(), keep)

        return along_given


for _op_type, (_reduction, _attribute, _given) in _REDUCTIONS.items():
    _declare(_op_type, _reduction, _attribute, _given)


def _reduced(reduction: Reduction, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """Along the axes; without any, along all. A single number has one axis for the while."""
    if x.dim() == 0:
        return reduction(x[None], [0], False)
    return reduction(x, list(axes) if axes else list(range(x.dim())), keep)


def _along_given_or_none(reduction: Reduction, *, keep: bool) -> Function:
    """As with noop_with_empty_axes: no axes is none, so each number is reduced for itself (squared, say, or logged)."""

    def compute(x: Tensor, axes: NDArray[Any] | None = None) -> Tensor:
        if axes is None or not axes.size:
            return reduction(x[..., None], [-1], False)
        return _reduced(reduction, x, axes.reshape(-1).tolist(), keep)

    return compute
