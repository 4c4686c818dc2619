"""Memory of a device: what a pass takes, what is free, and what to do when it runs out.

Knows torch; knows no models, no jobs and no points but their number.
"""

import gc
import resource
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from attributor.errors import OutOfMemory

R = TypeVar("R")

#: What allocators say that have no exception of their own: torch's on the CPU, its cuBLAS, onnxruntime's.
_PHRASES = (
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Failed to allocate memory",
    "bad allocation",
    "std::bad_alloc",
)

#: Beside what is saved for it, a backward pass holds the gradients by the output and the input of the layer at hand.
_GRADIENTS_AT_ONCE = 2

#: Where Linux says what is free: for the machine, and for a container (cgroup 2; cgroup 1).
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of a pass says that memory ran out, rather than that something is wrong."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


def in_halves(n: int, evaluate: Callable[[int, int], list[R]], halved: Callable[[int], None]) -> list[R]:
    """What `evaluate(0, n)` returns for points 0 to n; where memory runs out, of each half in turn, and so on.

    `evaluate(first, last)` returns one answer per point; it may be called again for points that it failed at.
    `halved(points)` is told how many did not fit. Raises OutOfMemory where a point alone does not, and whatever else
    `evaluate` raises.
    """
    answers: list[R] = []
    first, size = 0, n
    while first < n:
        last = min(first + size, n)
        found = unless_full(partial(evaluate, first, last))
        if found is not None:
            answers += found
            first = last
            continue
        give_back()
        halved(last - first)
        if last - first == 1:
            raise OutOfMemory(
                "One evaluation of this model at this input takes more memory than the device has left. Ask for a "
                "smaller input, or a worker with more memory."
            )
        size = (last - first + 1) // 2
    return answers


def give_back() -> None:
    """Frees what nothing needs: caches, and what only hangs together by itself."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where no GPU is in use


def unless_full(evaluate: Callable[[], R]) -> R | None:
    """None where memory ran out. The exception, whose frames hold the tensors of the pass, is gone then."""
    try:
        return evaluate()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return None


def with_room(compute: Callable[[], R]) -> R:
    """What it returns; where memory runs out, once more with all freed that nothing needs. Raises OutOfMemory."""
    for _ in range(2):
        # In a tuple, as nothing may be what it returns.
        if (found := unless_full(lambda: (compute(),))) is not None:
            return found[0]
        give_back()
    raise OutOfMemory(
        "Adding up the vectors of this input takes more memory than the device has left. Ask for fewer evaluations or "
        "targets, or a worker with more memory."
    )


def bytes_for_backward(forward: Callable[[], object], constants: Iterable[Tensor]) -> int:
    """About the peak, bytes, of a forward and backward pass: what `forward` saves for it, each storage once, and the
    gradients of its largest tensor. `constants`, parameters and buffers, are not counted.

    By counting, as a process's resident memory says nothing of what its allocator already held.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in constants}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = forward()  # kept until all is counted: an address is of one storage as long as it lives
    del outputs
    return sum(saved.values()) + _GRADIENTS_AT_ONCE * max(saved.values(), default=0)


def free_bytes(device: torch.device) -> int | None:
    """What the device has left for this process; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = [left for left in (_machine_bytes(), *(_cgroup_bytes(*files) for files in _CGROUPS)) if left is not None]
    return min(found, default=None)


def resident_bytes() -> int | None:
    """What this process holds in main memory; None where the system does not say at once."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    return None


def _machine_bytes() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _cgroup_bytes(limit: Path, used: Path) -> int | None:
    with suppress(OSError, ValueError):  # no such group, or no limit ("max")
        return max(0, int(limit.read_text()) - int(used.read_text()))
    return None
