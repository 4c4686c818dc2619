"""Batch norms in eval mode folded into the convolution or linear layer before them.

gamma (W x + b - mean) / sqrt(var + eps) + beta is one layer with weights s W and (b - mean) s + beta, s = gamma /
sqrt(var + eps). Done where a recorded pass shows that nothing else sees the layer's output. Knows torch alone.
"""

import copy
from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from attributor.runtimes.transforms.affine import equal_forms
from attributor.runtimes.transforms.copying import replaced_copy
from attributor.runtimes.transforms.recording import Record, record

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class FoldedNorm(nn.Module):
    """In the place of a norm whose work the layer before it does."""

    def forward(self, tensor: Tensor) -> Tensor:
        """The tensor as it is."""
        return tensor


def fold_norms(module: nn.Module, inputs: Sequence[Tensor], *others: Sequence[Tensor]) -> tuple[nn.Module, int]:
    """A copy with every norm folded for which that is exact, and their number; the module itself if there are none.

    `others`: inputs of other shapes, on which it must take the same way. None are folded where Python reads values:
    another input might take a way past the norm. Memory: new weights for the folded layers, the rest is shared. A
    folded layer's own output is not what it was, so layers are asked of the plain module. Raises whatever the module
    raises.
    """
    if not any(isinstance(part, _NORMS) for part in module.modules()):
        return module, 0
    seen = [record(module, each) for each in (inputs, *others)]
    pairs = foldable(seen[0]) if equal_forms(seen) else []
    if not pairs:
        return module, 0
    instead: dict[nn.Module, nn.Module] = {}
    for layer, norm in pairs:
        instead[layer], instead[norm] = folded(layer, norm), FoldedNorm()
    return replaced_copy(module, instead), len(pairs)


def foldable(seen: Record) -> list[tuple[Layer, Norm]]:
    """Layers and norms, each called once, where the layer's output is taken by the norm's one operator and no other."""
    found = []
    for call in seen.calls:
        norm = call.module
        if not _is_norm(norm) or len(seen.calls_of(norm)) != 1:
            continue
        maker = next((each for each in seen.calls if each.result is call.given[0] and _is_layer(each.module)), None)
        if maker is None or not _is_layer(maker.module) or len(seen.calls_of(maker.module)) != 1:
            continue
        output: Tensor = maker.result
        inside = range(call.first, call.last)
        # What the layer itself did with the memory (a view inside Linear) was before its output was there.
        users = [number for number in seen.users(output) if number >= maker.last]
        if not users or any(number not in inside for number in users) or seen.is_output(output):
            continue
        if isinstance(maker.module, nn.Linear) and output.dim() != 2:
            continue  # the norm's channels are the second axis, a linear layer's outputs the last
        found.append((maker.module, norm))
    return found


def folded(layer: Layer, norm: Norm) -> Layer:
    """One layer for both. In float64, stored in the layer's own type."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise RuntimeError("A norm without stored statistics cannot be folded. This is a bug.")
    wide = (variance.double() + norm.eps).rsqrt()
    scale = wide if norm.weight is None else wide * norm.weight.double()
    bias = torch.zeros_like(wide) if layer.bias is None else layer.bias.double()
    shift = (bias - mean.double()) * scale + (0.0 if norm.bias is None else norm.bias.double())
    made = copy.copy(layer)
    made._parameters = dict(layer._parameters)
    made.weight = _frozen(_scaled(layer, scale), layer.weight)
    made.bias = _frozen(shift, layer.weight)
    return made


def _scaled(layer: Layer, scale: Tensor) -> Tensor:
    weight = layer.weight.double()
    if not isinstance(layer, _TRANSPOSED):
        return weight * scale.view(-1, *[1] * (weight.dim() - 1))
    # (in, out / groups, ...): output channels are those of group 0, then of group 1.
    grouped = weight.view(layer.groups, -1, *weight.shape[1:])
    by_group = scale.view(layer.groups, 1, -1, *[1] * (weight.dim() - 2))
    return (grouped * by_group).view_as(weight)


def _frozen(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().to(like.dtype), requires_grad=False)


def _is_layer(part: nn.Module) -> TypeGuard[Layer]:
    """One of these classes itself: a subclass or a hook may compute something else."""
    return type(part) in _LAYERS and not _is_hooked(part)


def _is_norm(part: nn.Module) -> TypeGuard[Norm]:
    stored = type(part) in _NORMS and part.running_mean is not None and part.running_var is not None
    return stored and not part.training and not _is_hooked(part)


def _is_hooked(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)
