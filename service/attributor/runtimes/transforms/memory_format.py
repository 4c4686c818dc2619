"""Channels-last: maps whose channels lie next to each other, as the convolution kernels of CPUs and GPUs like them.

The numbers are the same, their order in memory another. Knows torch alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attributor.runtimes.transforms.copying import shared_copy
from attributor.runtimes.transforms.recording import record

#: Rows, channels, height, width.
_MAP_DIMS = 4

_CONVOLUTION = "aten::convolution"
_MAX_POOL = "aten::max_pool2d"


class ChannelsLast(nn.Module):
    """A module whose inputs that are maps, (rows, channels, height, width), are laid out channels last."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        """The module's outputs."""
        found: Tensor = self.module(*(_laid_out(given) for given in inputs))
        return found


def channels_last(module: nn.Module, inputs: Sequence[Tensor], least_places: int) -> nn.Module | None:
    """A copy in which the weights of two-dimensional convolutions are channels last; all else is shared.

    Maps keep the layout from one operator to the next. None where no convolution is given a map of as many places
    (height times width), and none is pooled by its maxima: torch's kernel for that goes one by one through maps whose
    channels lie apart. Memory: these weights once more. Raises whatever the module raises.
    """
    seen = record(module, inputs)
    maps = [
        operation.args
        for operation in seen.operations
        if operation.name == _CONVOLUTION and operation.args[0].dim() == _MAP_DIMS
    ]
    pooled = any(operation.name.startswith(_MAX_POOL) for operation in seen.operations)
    if not maps or not (pooled or any(given.shape[2] * given.shape[3] >= least_places for given, *_ in maps)):
        return None
    kept = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    turned = {id(weight): _turned(weight) for _, weight, *_ in maps if id(weight) in kept}
    return ChannelsLast(shared_copy(module, turned))


def _turned(weight: Tensor) -> Tensor:
    # Not contiguous(), which leaves the weights of a single channel as they are: they are so in both layouts, but it is
    # by their strides that torch chooses that of the maps.
    values = weight.detach().to(memory_format=torch.channels_last)
    return nn.Parameter(values, requires_grad=False) if isinstance(weight, nn.Parameter) else values


def _laid_out(tensor: Tensor) -> Tensor:
    if tensor.dim() == _MAP_DIMS and tensor.is_floating_point():
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
