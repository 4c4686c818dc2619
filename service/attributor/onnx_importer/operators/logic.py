"""Truth values: comparisons, connectives, and questions about single numbers. Nothing here has a gradient."""

from collections.abc import Mapping

import torch
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, operator
from attributor.onnx_importer.plain import declare

#: By operator: the versions of its schema (they differ in types only), and what computes it.
_SIMPLE: Mapping[str, tuple[tuple[int, ...], Function]] = {
    "And": ((7,), torch.logical_and),
    "Or": ((7,), torch.logical_or),
    "Xor": ((7,), torch.logical_xor),
    "Not": ((1,), torch.logical_not),
    "Equal": ((7, 11, 13, 19), torch.eq),
    "Greater": ((7, 9, 13), torch.gt),
    "GreaterOrEqual": ((12, 16), torch.ge),
    "Less": ((7, 9, 13), torch.lt),
    "LessOrEqual": ((12, 16), torch.le),
    "IsNaN": ((9, 13, 20), torch.isnan),
}
declare(_SIMPLE)


@operator("IsInf", versions=(10, 20), attributes="detect_negative detect_positive")
def is_infinite(node: Node) -> Function:
    """Whether a number is infinite, of the signs that are asked for."""
    negative, positive = node.integer("detect_negative", 1), node.integer("detect_positive", 1)
    if negative and positive:
        return torch.isinf
    if negative or positive:
        return torch.isneginf if negative else torch.isposinf
    return _never


def _never(x: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=torch.bool)
