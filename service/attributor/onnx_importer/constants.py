"""The known values of a graph: weights and shapes, each as the numpy array it was and as a tensor of the module."""

from collections.abc import Callable
from typing import Any, Self

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Most elements of a value that is kept on the host. Ours: shapes and axes have some tens, but exporters also write
#: ranges and masks of a text's length as such; what follows from a shape is computed once for it.
MOST_HOST_ELEMENTS = 2**16


def to_tensor(array: NDArray[Any]) -> Tensor:
    """A copy as a tensor on the CPU. numpy's bfloat16 is that of ml_dtypes, whose bits torch reads."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array.view(np.int16))).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def to_array(tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array."""
    on_cpu = tensor.detach().cpu()
    if on_cpu.dtype is torch.bfloat16:
        return on_cpu.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    array: NDArray[Any] = on_cpu.numpy()
    return array


class Constants(nn.Module):
    """Values by number. Tensors are buffers, so they follow the module to its device and, for proofs, to float64.

    `moves`: how often that happened.
    """

    #: float32 values become this dtype; follows `.double()`.
    _working: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_working", torch.zeros(()), persistent=False)
        self.arrays: list[NDArray[Any] | None] = []
        self.moves = 0
        self._tensors: list[Tensor] | None = None

    def add(self, value: NDArray[Any] | Tensor) -> int:
        """Keeps a value; returns its number."""
        number = len(self.arrays)
        tensor = value if isinstance(value, Tensor) else to_tensor(value)
        if tensor.dtype is torch.float32:
            tensor = tensor.to(self._working.dtype)
        self.register_buffer(f"value_{number}", tensor, persistent=False)
        small = tensor.numel() <= MOST_HOST_ELEMENTS and tensor.dtype is not torch.bfloat16
        array = to_array(value) if isinstance(value, Tensor) else value
        self.arrays.append(array if small else None)
        self._tensors = None
        return number

    def array(self, number: int) -> NDArray[Any]:
        """A value as a numpy array, also one that is too large to be kept as such."""
        kept = self.arrays[number]
        return to_array(self.tensors[number]) if kept is None else kept

    @property
    def tensors(self) -> list[Tensor]:
        """All values as tensors, by number."""
        if self._tensors is None:
            self._tensors = [self.get_buffer(f"value_{number}") for number in range(len(self.arrays))]
        return self._tensors

    def floating(self) -> torch.dtype:
        """What stands for float32."""
        return self._working.dtype

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._working.device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.moves += 1
        self._tensors = None
        return self
