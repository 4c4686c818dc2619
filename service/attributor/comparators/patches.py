"""Which elements are taken away together: windows for occlusion, patches for KernelSHAP and LIME. Knows shapes only.

Image channels go together; of other tensors with several axes, the last two are cut into squares; a table's columns
and a text's tokens stand alone unless a window is asked for.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from attributor.inputs.perturbing import window_shape
from attributor.jobs.model import InputSpec


def strides(window: Sequence[int], stride: int | None) -> tuple[int, ...]:
    """By how much a window moves; side by side unless a stride is given, which may not be longer than the window."""
    return tuple(side if stride is None else min(stride, side) for side in window)


def patch_numbers(shape: Sequence[int], window: Sequence[int], first: int) -> Tensor:
    """The number of each element's patch, from `first` on; int64, shape (1, *shape)."""
    numbers = torch.zeros(1, dtype=torch.int64)
    for length, side in zip(shape, window, strict=True):
        along = torch.arange(length) // side
        numbers = numbers.unsqueeze(-1) * math.ceil(length / side) + along
    return numbers.reshape(1, *shape) + first


def patches(declared: Sequence[InputSpec], window: int | None) -> tuple[Tensor, ...]:
    """Patch numbers for all inputs, counted through: int64, each of shape (1, *input shape)."""
    masks: list[Tensor] = []
    first = 0
    for each in declared:
        masks.append(patch_numbers(each.shape, window_shape(each, window), first))
        first = int(masks[-1].max()) + 1
    return tuple(masks)
