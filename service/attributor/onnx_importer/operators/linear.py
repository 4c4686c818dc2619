"""Products of matrices."""

import torch
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator


@operator("MatMul", versions=(1, 9, 13))
def matmul(node: Node) -> Function:
    """numpy's matmul, of one, two or more axes."""
    return torch.matmul


@operator("Gemm", versions=(7, 9, 11, 13), attributes="alpha beta transA transB")
def gemm(node: Node) -> Function:
    """alpha A' B' + beta C, C broadcast; whole numbers are scaled by whole numbers only."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    trans_a, trans_b = node.integer("transA", 0) != 0, node.integer("transB", 0) != 0

    def product(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        if a.dim() != 2 or b.dim() != 2:
            raise ValueError(f"Gemm takes matrices, not shapes {list(a.shape)} and {list(b.shape)}.")
        left, right = a.t() if trans_a else a, b.t() if trans_b else b
        if not a.is_floating_point():
            found = _whole(alpha) * (left @ right)
            return found if c is None else found + _whole(beta) * c
        if c is None:
            found = left @ right
            return found if alpha == 1.0 else alpha * found
        return torch.addmm(c, left, right, alpha=alpha, beta=beta)

    return product


def _whole(factor: float) -> int:
    if factor != int(factor):
        raise ValueError(f"Gemm of whole numbers cannot be scaled by {factor}.")
    return int(factor)


@operator("Einsum", versions=(12, 28), attributes="equation")
def einsum(node: Node) -> Function:
    """A sum over the axes that an equation names."""
    equation = node.text("equation").replace(" ", "")
    if not equation.isascii() or equation.count("->") > 1:
        raise Unsupported(f"has the equation {equation!r}, which we cannot read")

    def summed(*operands: Tensor) -> Tensor:
        return torch.einsum(equation, *operands)

    return summed
