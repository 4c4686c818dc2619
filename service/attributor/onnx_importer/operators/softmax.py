"""Softmax, its logarithm, and its hard limit. Before opset 13 they take a tensor as a matrix cut at the axis."""

from collections.abc import Callable

import torch
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, operator

#: The version whose axis is one axis; before it, all axes from it on are one, and the default was 1.
_ONE_AXIS = 13


@operator("Softmax", versions=(1, 11, 13), attributes="axis")
def softmax(node: Node) -> Function:
    """exp x over the sum of exp x."""
    return _along(node, torch.softmax)


@operator("LogSoftmax", versions=(1, 11, 13), attributes="axis")
def log_softmax(node: Node) -> Function:
    """The logarithm of Softmax."""
    return _along(node, torch.log_softmax)


@operator("Hardmax", versions=(1, 11, 13), attributes="axis")
def hardmax(node: Node) -> Function:
    """1 at the first largest number, else 0."""
    return _along(node, _hardmax)


def _along(node: Node, function: Callable[[Tensor, int], Tensor]) -> Function:
    if node.version >= _ONE_AXIS:
        axis = node.integer("axis", -1)
        return lambda x: function(x, axis)
    first = node.integer("axis", 1)

    def as_matrix(x: Tensor) -> Tensor:
        at = first + x.dim() if first < 0 else first
        if at == x.dim() - 1:
            return function(x, -1)
        if at == x.dim():  # rows of one number each
            return function(x.unsqueeze(-1), -1).squeeze(-1)
        return function(x.flatten(at), -1).reshape(x.shape)

    return as_matrix


def _hardmax(x: Tensor, axis: int) -> Tensor:
    first = x.argmax(axis, keepdim=True)
    places = torch.arange(x.shape[axis], device=x.device).reshape([-1] + [1] * (x.dim() - 1 - axis % x.dim()))
    return (places == first).to(x.dtype)
