"""Element-wise arithmetic of one, two or more tensors, and choosing between them. Knows the node interface."""

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.plain import declare


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b; whole numbers are cut towards zero, as in C."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _sum(*values: Tensor) -> Tensor:
    return reduce(torch.add, values)


def _mean(*values: Tensor) -> Tensor:
    return reduce(torch.add, values) / len(values)


def _largest(*values: Tensor) -> Tensor:
    return reduce(torch.maximum, values)


def _smallest(*values: Tensor) -> Tensor:
    return reduce(torch.minimum, values)


def _erf(x: Tensor) -> Tensor:
    """The error function; of whole numbers it is cut to a whole number again."""
    return torch.erf(x) if x.is_floating_point() else torch.erf(x.double()).to(x.dtype)


def _same(x: Tensor) -> Tensor:
    return x


#: By operator: the versions of its schema (they differ in types only), and what computes it.
_SIMPLE: Mapping[str, tuple[tuple[int, ...], Function]] = {
    "Add": ((7, 13, 14), torch.add),
    "Sub": ((7, 13, 14), torch.sub),
    "Mul": ((7, 13, 14), torch.mul),
    "Div": ((7, 13, 14), _divide),
    "Sum": ((6, 8, 13), _sum),
    "Mean": ((6, 8, 13), _mean),
    "Max": ((6, 8, 12, 13), _largest),
    "Min": ((6, 8, 12, 13), _smallest),
    "Where": ((9, 16), torch.where),
    "Identity": ((1, 13, 14, 16, 19, 21, 23, 24, 25), _same),
    "Abs": ((6, 13), torch.abs),
    "Neg": ((6, 13), torch.neg),
    "Sign": ((9, 13), torch.sign),
    "Ceil": ((6, 13), torch.ceil),
    "Floor": ((6, 13), torch.floor),
    "Round": ((11, 22), torch.round),  # torch, too, rounds halves to even
    "Sqrt": ((6, 13), torch.sqrt),
    "Exp": ((6, 13), torch.exp),
    "Log": ((6, 13), torch.log),
    "Reciprocal": ((6, 13), torch.reciprocal),
    "Sin": ((7, 22), torch.sin),
    "Cos": ((7, 22), torch.cos),
    "Tan": ((7, 22), torch.tan),
    "Asin": ((7, 22), torch.asin),
    "Acos": ((7, 22), torch.acos),
    "Atan": ((7, 22), torch.atan),
    "Sinh": ((9, 22), torch.sinh),
    "Cosh": ((9, 22), torch.cosh),
    "Asinh": ((9, 22), torch.asinh),
    "Acosh": ((9, 22), torch.acosh),
    "Atanh": ((9, 22), torch.atanh),
    "Erf": ((9, 13), _erf),
}
declare(_SIMPLE)


@operator("Pow", versions=(7, 12, 13, 15))
def power(node: Node) -> Function:
    """x ** y in the type of x. A known single exponent is a number: torch's fast paths, and no logarithm of x."""
    known = node.constants[1]
    if known is None or known.size != 1 or known.dtype.kind not in "fiu":
        return _power
    exponent, rank = known.reshape(-1)[0].item(), known.ndim

    def by_number(x: Tensor, y: Tensor) -> Tensor:
        if not x.is_floating_point():
            return _power(x, y)
        found = torch.pow(x, exponent)
        return found if x.dim() >= rank else found.reshape([1] * (rank - x.dim()) + list(x.shape))

    return by_number


def _power(x: Tensor, y: Tensor) -> Tensor:
    if x.is_floating_point():
        # torch's derivative takes 1 from the exponent in its own type, which an unsigned 0 has not.
        return torch.pow(x, y.to(x.dtype))
    if y.is_floating_point():
        return torch.pow(x.double(), y.double()).to(x.dtype)
    return torch.pow(x, y).to(x.dtype)


@operator("Mod", versions=(10, 13, 28), attributes="fmod")
def modulo(node: Node) -> Function:
    """The remainder: with the sign of b, or with fmod=1 that of a."""
    kind = node.integer("fmod", 0)
    if kind not in (0, 1):
        raise Unsupported(f"has fmod {kind}, where its schema knows 0 and 1")
    return torch.fmod if kind else torch.remainder


@operator("Dropout", versions=(7, 10, 12, 13, 22), attributes="ratio seed")
def dropout(node: Node) -> Function:
    """Its input, as when it is used and not trained; the mask is all true."""
    if len(node.present) > 2 and node.present[2]:
        training = node.constants[2]
        if training is None or training.any():
            raise Unsupported(
                "has a training_mode that is not a constant false (call .eval() on the model before you export it)"
            )
    if not any(node.wanted[1:]):
        return _first
    if node.version < 10:
        raise Unsupported("gives its mask, which version 7 leaves open outside training")
    return lambda x, *_: (x, torch.ones_like(x, dtype=torch.bool))


def _first(x: Tensor, *_: Tensor) -> Tensor:
    return x
