"""The activations: functions of one tensor, element by element, that bend. Knows torch and the node interface."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.plain import declare

#: Selu's defaults, as its schema gives them; F.selu has the same numbers to float32.
_SELU_ALPHA, _SELU_GAMMA = 1.6732631921768188, 1.0507010221481323
#: The slope of torch's own hard sigmoid, as a float32 attribute holds it.
_SIXTH = float(np.float32(1 / 6))

#: By operator: the versions of its schema (they differ in types only), and what computes it.
_SIMPLE: Mapping[str, tuple[tuple[int, ...], Function]] = {
    "Relu": ((6, 13, 14), torch.relu),
    "Sigmoid": ((6, 13), torch.sigmoid),
    "Tanh": ((6, 13), torch.tanh),
    "Softplus": ((1, 22), F.softplus),
    "Softsign": ((1, 22), F.softsign),
    "HardSwish": ((14, 22), F.hardswish),
    "Mish": ((18, 22), F.mish),
}
declare(_SIMPLE)


@operator("LeakyRelu", versions=(6, 16), attributes="alpha")
def leaky_relu(node: Node) -> Function:
    """x, or alpha x below 0."""
    alpha = node.number("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


@operator("Elu", versions=(6, 22), attributes="alpha")
def elu(node: Node) -> Function:
    """x, or alpha (exp x - 1) below 0."""
    alpha = node.number("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


@operator("Celu", versions=(12, 28), attributes="alpha")
def celu(node: Node) -> Function:
    """x, or alpha (exp(x / alpha) - 1) below 0."""
    alpha = node.number("alpha", 1.0)
    if alpha <= 0:
        raise Unsupported(f"has alpha {alpha:g}, of which no bend is defined")
    return lambda x: F.celu(x, alpha)


@operator("Selu", versions=(6, 22), attributes="alpha gamma")
def selu(node: Node) -> Function:
    """gamma times Elu."""
    alpha, gamma = node.number("alpha", _SELU_ALPHA), node.number("gamma", _SELU_GAMMA)
    if (alpha, gamma) == (_SELU_ALPHA, _SELU_GAMMA):
        return F.selu
    return lambda x: gamma * F.elu(x, alpha)


@operator("PRelu", versions=(7, 9, 16))
def prelu(node: Node) -> Function:
    """x, or slope x below 0; the slope is broadcast as numpy does. One slope per channel has a fused function."""

    def compute(x: Tensor, slope: Tensor) -> Tensor:
        channels = slope.numel()
        per_channel = x.dim() > 1 and slope.dim() == x.dim() - 1 and slope.shape[0] == channels == x.shape[1]
        if per_channel and x.is_floating_point():
            return F.prelu(x, slope.reshape(channels))
        found = torch.where(x < 0, slope * x, x)
        if found.shape != x.shape:
            raise ValueError(f"slopes of shape {list(slope.shape)} are wider than what they scale, {list(x.shape)}")
        return found

    return compute


@operator("HardSigmoid", versions=(6, 22), attributes="alpha beta")
def hard_sigmoid(node: Node) -> Function:
    """alpha x + beta, kept within 0 and 1."""
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    if (alpha, beta) == (_SIXTH, 0.5):
        return F.hardsigmoid
    return lambda x: (alpha * x + beta).clamp(0, 1)


@operator("ThresholdedRelu", versions=(10, 22), attributes="alpha")
def thresholded_relu(node: Node) -> Function:
    """x above alpha, else 0."""
    alpha = node.number("alpha", 1.0)
    return lambda x: F.threshold(x, alpha, 0.0)


@operator("Gelu", versions=(20,), attributes="approximate")
def gelu(node: Node) -> Function:
    """x times the normal distribution function, or its approximation by tanh."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Unsupported(f"has approximate {approximate!r}, where its schema knows none and tanh")
    return lambda x: F.gelu(x, approximate=approximate)


@operator("Swish", versions=(24,), attributes="alpha")
def swish(node: Node) -> Function:
    """x sigmoid(alpha x)."""
    alpha = node.number("alpha", 1.0)
    return F.silu if alpha == 1 else lambda x: x * torch.sigmoid(alpha * x)


@operator("Shrink", versions=(9,), attributes="bias lambd")
def shrink(node: Node) -> Function:
    """x pulled towards 0 by the bias, and 0 within lambd of it."""
    bias, most = node.number("bias", 0.0), node.number("lambd", 0.5)

    def compute(x: Tensor) -> Tensor:
        pulled = torch.where(x < -most, x + bias, torch.where(x > most, x - bias, 0))
        return pulled.to(x.dtype)

    return compute


@operator("Clip", versions=(6, 11, 12, 13), attributes="min max")
def clip(node: Node) -> Function:
    """x kept within two bounds; where they cross, the upper one."""
    if node.version < 11:
        return _clip_by_attributes(node)
    if node.attributes:
        raise Unsupported("has its bounds as attributes, which are inputs since version 11")
    if any(p and c is None for p, c in zip(node.present[1:], node.constants[1:], strict=True)):
        return _clip_by_tensors
    low, high = (_single(array) for array in (*node.constants[1:], None, None)[:2])
    if low is None and high is None:
        return lambda x, *_: x
    return lambda x, *_: torch.clamp(x, low, high)


def _clip_by_attributes(node: Node) -> Function:
    """Version 6: bounds that are left out are the largest finite numbers of the type, which infinities exceed."""
    low, high = node.number("min", -np.inf), node.number("max", np.inf)

    def compute(x: Tensor) -> Tensor:
        limit = torch.finfo(x.dtype).max
        return torch.clamp(x, max(low, -limit), min(high, limit))

    return compute


def _clip_by_tensors(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    above = x if low is None else torch.clamp(x, min=low.reshape(()))
    return above if high is None else torch.clamp(above, max=high.reshape(()))


def _single(array: NDArray[Any] | None) -> float | None:
    """A known bound as a number of its own kind: a float would turn whole numbers into floats."""
    if array is None:
        return None
    if array.size != 1:
        raise Unsupported(f"has a bound of shape {list(array.shape)}, where its schema asks for one number")
    number: float = array.reshape(-1)[0].item()
    return number
