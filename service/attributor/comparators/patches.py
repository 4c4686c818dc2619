"""Which elements are taken away together: windows for occlusion, patches for KernelSHAP and LIME. Knows shapes only.

Image channels go together; of other tensors with several axes, the last two are cut into squares; a table's columns
and a text's tokens stand alone unless a window is asked for.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from attributor.jobs.model import InputKind, InputSpec

#: About so many patches, where a tensor has more elements than that and no window is given. Ours: as many as the
#: pixels of the smallest model here; sampling methods need some tens of samples per patch.
AIMED_PATCHES = 64


def window_shape(declared: InputSpec, window: int | None) -> tuple[int, ...]:
    """The elements of one input that go together: of its number of axes, no longer than any of them.

    `window`: the side of a square on an image, the length on a single axis.
    """
    shape = declared.shape
    n_square = min(len(shape), 2)
    leading, square = shape[: len(shape) - n_square], shape[len(shape) - n_square :]
    side = _default_side(declared.kind, square) if window is None else window
    return (*leading, *(min(side, length) for length in square))


def _default_side(kind: InputKind, square: Sequence[int]) -> int:
    count = math.prod(square)
    if kind is InputKind.TABULAR or count <= AIMED_PATCHES:
        return 1
    return math.ceil(float((count / AIMED_PATCHES) ** (1 / len(square))))


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
