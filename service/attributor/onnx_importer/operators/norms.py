"""Normalisations: by stored statistics, by those of an example, and by those of a neighbourhood.

Knows torch and the node interface. Where torch has a fused function it is used; these take the statistics of halves in
float32.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded

#: Epsilon of every normalisation's schema.
_EPSILON = 1e-5
#: What MeanVarianceNormalization's function body adds to the standard deviation.
_MVN_EPSILON = 1e-9
#: Its axes if none are given: all but the channels of a picture.
_MVN_AXES = (0, 2, 3)
#: The version of GroupNormalization that has a scale per channel; before it, one per group.
_SCALE_PER_CHANNEL = 21


@operator("BatchNormalization", versions=(7, 9, 14, 15), attributes="epsilon momentum spatial training_mode")
def batch_normalization(node: Node) -> Function:
    """By the stored mean and variance of each channel."""
    if node.integer("training_mode", 0):
        raise Unsupported(
            "is in training mode, where rows of a batch change each other (call .eval() on the model before you export "
            "it)"
        )
    if not node.integer("spatial", 1):
        raise Unsupported("has spatial=0, with statistics for every place")
    if any(node.wanted[1:]):
        raise Unsupported("gives statistics, which it has in training only")
    epsilon = node.number("epsilon", _EPSILON)
    # torch's function drops the derivative by mean and variance, which matters where a graph computes them.
    stored = all(value is not None for value in node.constants[3:5])

    def compute(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        if not stored:
            return _by_given_statistics(x, scale, shift, mean, (variance + epsilon).rsqrt())
        if x.dim() < 2:
            return compute(x.reshape(-1, 1), scale, shift, mean, variance).reshape(x.shape)
        if x.dtype == scale.dtype == mean.dtype:
            return F.batch_norm(x, mean, variance, scale, shift, eps=epsilon)
        wide = torch.promote_types(torch.promote_types(x.dtype, scale.dtype), mean.dtype)
        wide_x, mean, variance, scale, shift = (value.to(wide) for value in (x, mean, variance, scale, shift))
        return F.batch_norm(wide_x, mean, variance, scale, shift, eps=epsilon).to(x.dtype)

    return compute


def _by_given_statistics(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    shape = [-1] + [1] * (x.dim() - 2)
    scale, shift, mean, factor = (value.reshape(shape) for value in (scale, shift, mean, factor))
    return ((x - mean) * (factor * scale) + shift).to(x.dtype)


@operator("InstanceNormalization", versions=(6, 22), attributes="epsilon")
def instance_normalization(node: Node) -> Function:
    """Each channel of each example by its own mean and variance: groups of one channel."""
    epsilon = node.number("epsilon", _EPSILON)
    return lambda x, scale, shift: torch.group_norm(x, x.shape[1], scale, shift, epsilon)


@operator("GroupNormalization", versions=(18, 21), attributes="epsilon num_groups stash_type")
def group_normalization(node: Node) -> Function:
    """Each group of channels of each example by its own mean and variance."""
    _require_float32_statistics(node)
    epsilon, groups = node.number("epsilon", _EPSILON), node.integer("num_groups")
    if groups < 1:
        raise Unsupported(f"has {groups} groups")

    def compute(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        if node.version < _SCALE_PER_CHANNEL:
            if scale.shape != (groups,) or shift.shape != (groups,):
                raise ValueError(f"a scale or shift of shape {list(scale.shape)} for {groups} groups")
            each = x.shape[1] // groups
            scale, shift = scale.repeat_interleave(each), shift.repeat_interleave(each)
        return torch.group_norm(x, groups, scale, shift, epsilon)

    return compute


@operator("LayerNormalization", versions=(17,), attributes="axis epsilon stash_type")
def layer_normalization(node: Node) -> Function:
    """By the mean and variance of the axes from `axis` on; on demand also gives these."""
    _require_float32_statistics(node)
    axis, epsilon = node.integer("axis", -1), node.number("epsilon", _EPSILON)

    def normalised(x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
        shape = x.shape[axis:]
        if scale.shape == shape and (shift is None or shift.shape == shape):
            return F.layer_norm(x, shape, scale, shift, epsilon)
        found = F.layer_norm(x, shape, None, None, epsilon) * scale
        return _of_shape(x, found if shift is None else found + shift)

    def with_statistics(x: Tensor, scale: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        axes = list(range(axis % x.dim(), x.dim()))
        wide = x.to(node.floating())
        mean = wide.mean(axes, keepdim=True)
        deviation = ((wide - mean).square().mean(axes, keepdim=True) + epsilon).rsqrt()
        return normalised(x, scale, shift), mean, deviation

    return with_statistics if any(node.wanted[1:]) else normalised


@operator("RMSNormalization", versions=(23,), attributes="axis epsilon stash_type")
def rms_normalization(node: Node) -> Function:
    """By the root of the mean square of the axes from `axis` on, in the type of the scale."""
    _require_float32_statistics(node)
    axis, epsilon = node.integer("axis", -1), node.number("epsilon", _EPSILON)

    def compute(x: Tensor, scale: Tensor) -> Tensor:
        shape = x.shape[axis:]
        if scale.shape == shape and scale.dtype == x.dtype:
            return F.rms_norm(x, shape, scale, epsilon)
        return _of_shape(x, F.rms_norm(x, shape, None, epsilon).to(scale.dtype) * scale)

    return compute


def _of_shape(x: Tensor, found: Tensor) -> Tensor:
    """What was found, if the scale did not widen it. Raises ValueError."""
    if found.shape != x.shape:
        raise ValueError(f"a scale or shift is wider than what it scales, of shape {list(x.shape)}")
    return found


def _require_float32_statistics(node: Node) -> None:
    if node.integer("stash_type", 1) != 1:
        raise Unsupported("has a stash_type other than 1 (float32), so its statistics would be rounded otherwise")


@operator("LpNormalization", versions=(1, 22), attributes="axis p")
def lp_normalization(node: Node) -> Function:
    """x over its norm along an axis; 0 where the norm is 0."""
    axis, p = node.integer("axis", -1), node.integer("p", 2)
    if p not in (1, 2):
        raise Unsupported(f"has p {p}, where its schema knows 1 and 2")

    def compute(x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, p, [axis], True)
        return x / torch.where(norm == 0, 1, norm)

    return compute


@operator("LRN", versions=(1, 13), attributes="alpha beta bias size")
def local_response_normalization(node: Node) -> Function:
    """x over a power of the mean square of the channels near it. Of an even size, the farther channel is behind."""
    alpha, beta = node.number("alpha", 1e-4), node.number("beta", 0.75)
    bias, size = node.number("bias", 1.0), node.integer("size")
    if size < 1:
        raise Unsupported(f"has size {size}")
    before = (size - 1) // 2

    def compute(x: Tensor) -> Tensor:
        n, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
        bounded(n, channels + size - 1, places)
        squares = x.square().reshape(n, 1, channels, places)
        padded = F.pad(squares, (0, 0, before, size - 1 - before))
        mean = F.avg_pool2d(padded, (size, 1), stride=1).reshape(x.shape)
        return x / (alpha * mean + bias) ** beta

    return compute


@operator("MeanVarianceNormalization", versions=(9, 13), attributes="axes")
def mean_variance_normalization(node: Node) -> Function:
    """By mean and standard deviation along axes; the default's first axis is that of the examples."""
    axes = list(node.integers("axes") or _MVN_AXES)

    def compute(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (centred.square().mean(axes, keepdim=True).sqrt() + _MVN_EPSILON)

    return compute
