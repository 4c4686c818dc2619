"""Sums and products so far, and the order of numbers along an axis. Knows torch and the node interface."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator


@operator("CumSum", versions=(11, 14), attributes="exclusive reverse", host=(1,))
def cumulative_sum(node: Node) -> Function:
    """At each place the sum of all before it, and of itself unless exclusive."""
    return _so_far(node, torch.cumsum, 0)


@operator("CumProd", versions=(26,), attributes="exclusive reverse", host=(1,))
def cumulative_product(node: Node) -> Function:
    """At each place the product of all before it, and of itself unless exclusive."""
    return _so_far(node, torch.cumprod, 1)


def _so_far(node: Node, function: Function, start: int) -> Function:
    exclusive, reverse = node.integer("exclusive", 0), node.integer("reverse", 0)

    def compute(x: Tensor, axis: NDArray[Any]) -> Tensor:
        at = int(axis.reshape(-1)[0])
        values = x.flip(at) if reverse else x
        if exclusive:
            first = torch.full_like(values.narrow(at, 0, min(1, values.shape[at])), start)
            values = torch.cat([first, values.narrow(at, 0, max(0, values.shape[at] - 1))], at)
        found: Tensor = function(values, at, dtype=x.dtype)
        return found.flip(at) if reverse else found

    return compute


@operator("ArgMax", versions=(1, 11, 12, 13), attributes="axis keepdims select_last_index")
def place_of_largest(node: Node) -> Function:
    """Where the largest number is; the first such place, or the last."""
    return _place(node, torch.argmax)


@operator("ArgMin", versions=(1, 11, 12, 13), attributes="axis keepdims select_last_index")
def place_of_smallest(node: Node) -> Function:
    """Where the smallest number is; the first such place, or the last."""
    return _place(node, torch.argmin)


def _place(node: Node, function: Function) -> Function:
    """torch promises the first of equals, so the last is the first of the reversed."""
    axis, keep = node.integer("axis", 0), bool(node.integer("keepdims", 1))
    if not node.integer("select_last_index", 0):
        return lambda x: function(x, axis, keep)
    return lambda x: x.shape[axis] - 1 - function(x.flip(axis), axis, keep)


@operator("TopK", versions=(1, 10, 11, 24), attributes="axis k largest sorted", host=(1,))
def top_k(node: Node) -> Function:
    """The k largest (or smallest) numbers and their places; of equals, the first. A stable sort keeps that order."""
    axis, largest = node.integer("axis", -1), bool(node.integer("largest", 1))
    fixed = node.integer("k") if node.version == 1 else None
    if fixed is not None and fixed < 0:
        raise Unsupported(f"has k {fixed}")

    def compute(x: Tensor, k: NDArray[Any] | None = None) -> tuple[Tensor, Tensor]:
        n = fixed if fixed is not None else _first(k)
        values, places = torch.sort(x, stable=True, dim=axis, descending=largest)
        return values.narrow(axis, 0, n), places.narrow(axis, 0, n)

    return compute


def _first(array: NDArray[Any] | None) -> int:
    if array is None or not array.size:
        raise ValueError("TopK was given no k")
    return int(array.reshape(-1)[0])
