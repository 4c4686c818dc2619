"""Whole numbers to what they stand for. Rounding back is refused: its derivative is 0 or undefined everywhere."""

import torch
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, dtype_of, operator

#: The version since which there may be a scale per place of an axis.
_PER_AXIS = 13


@operator("DequantizeLinear", versions=(10, 13, 19, 21, 23, 24, 25, 28), attributes="axis block_size output_dtype")
def dequantize_linear(node: Node) -> Function:
    """(x - zero point) scale, of the whole tensor, per place of an axis, or per block of an axis."""
    axis, block = node.integer("axis", 1), node.integer("block_size", 0)
    if block < 0:
        raise Unsupported(f"has a block_size of {block}")
    stated = node.integer("output_dtype", 0)
    result = dtype_of(stated, node.floating) if stated else None

    per_tensor = node.version < _PER_AXIS

    def compute(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        if x.is_floating_point():
            raise ValueError("DequantizeLinear was given floats")
        if per_tensor and scale.numel() != 1:
            raise ValueError(f"a scale of shape {list(scale.shape)}, where version 10 has one for the whole tensor")
        # A product of halves may overflow where the result does not, so it is taken in float32.
        wide = torch.promote_types(scale.dtype, torch.float32)
        whole = x if zero is None else x.to(torch.int64) - _spread(zero, x, axis, block).to(torch.int64)
        return (whole.to(wide) * _spread(scale, x, axis, block).to(wide)).to(result() if result else scale.dtype)

    return compute


def _spread(value: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point in a shape that can be broadcast to x."""
    if value.numel() == 1:
        return value.reshape(())
    at = axis % x.dim()
    n = x.shape[at]
    if not block:
        if value.shape != (n,):
            raise ValueError(f"a scale or zero point of shape {list(value.shape)} for an axis of {n}")
        return value.reshape([-1] + [1] * (x.dim() - 1 - at))
    if value.dim() != x.dim() or value.shape[at] != -(-n // block):
        raise ValueError(f"a scale or zero point of shape {list(value.shape)} for blocks of {block} in {list(x.shape)}")
    return value.repeat_interleave(min(block, n), at).narrow(at, 0, n)


def _refuse(node: Node) -> Function:
    raise Unsupported("rounds to whole numbers, whose derivative is 0 everywhere: export the model unquantised")


_REFUSED: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("QuantizeLinear", (10, 13, 19, 21, 23, 24, 25, 28), "axis saturate block_size output_dtype precision"),
    ("DynamicQuantizeLinear", (11,), ""),
    ("QLinearConv", (10,), "auto_pad dilations group kernel_shape pads strides"),
    ("QLinearMatMul", (10, 21), ""),
)
for _op_type, _versions, _names in _REFUSED:
    operator(_op_type, versions=_versions, attributes=_names)(_refuse)
