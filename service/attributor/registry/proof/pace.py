"""How fast a proven model's passes are, and how large they should be, on the device where it will run.

Knows torch and one module. Knows no jobs; what a size means for them is `runtimes.sizing`'s.
"""

import time
from collections.abc import Callable

import torch
from torch import nn

from attributor.jobs.model import ModelInfo, Tensors
from attributor.registry.proof.places import Batch, forward, places_of
from attributor.registry.proof.probe_rows import probe_rows
from attributor.runtimes.memory import bytes_for_backward, free_bytes, is_out_of_memory
from attributor.runtimes.recurrent import differentiable, recurrent_parts
from attributor.runtimes.sizing import Bounds, Measured, Passes, ShapeKey, measure

#: Of what a device has left, so much is one pass's. Ours: on the CPU other workers have theirs, on a GPU nobody, and
#: vectors kept for jobs need room beside it.
_SHARE_OF_CPU, _SHARE_OF_CUDA = 1 / 8, 1 / 3
#: Positions of the examples that are measured, where lengths vary: a text of some sentences. Ours.
_POSITIONS = 64


def pass_bounds(device: torch.device, max_points: int | None) -> Bounds:
    """What a pass may take on a device now; `max_points`: the operator's bound."""
    free = free_bytes(device)
    share = _SHARE_OF_CUDA if device.type == "cuda" else _SHARE_OF_CPU
    return Bounds(max_points, None if free is None else int(free * share))


def measure_pace(
    module: nn.Module, info: ModelInfo, references: Tensors, device: torch.device, bounds: Bounds
) -> Measured:
    """Measures passes of growing numbers of points, see `sizing.measure`.

    Raises what the module raises; MemoryError where not one point fits.
    """
    passes = _Passes(module, info, references, device)
    nbytes = passes.bytes_per_point() if info.gradients else None
    found = measure(passes.prepare, bounds.most(nbytes), time.perf_counter)
    return Measured(*found, bytes_per_point=nbytes, lengths=measured_lengths(info))


def measured_lengths(info: ModelInfo) -> ShapeKey:
    """How long the examples are that are measured, by variable input."""
    return tuple(min(spec.shape[0], _POSITIONS) for spec in info.inputs if spec.variable)


class _Passes:
    """Passes over rows of the declared domain, all of one shape."""

    def __init__(self, module: nn.Module, info: ModelInfo, references: Tensors, device: torch.device) -> None:
        self._module = module
        self._info = info
        self._references = references
        self._device = device
        self._positions = next(iter(measured_lengths(info)), None)
        self._recurrent = recurrent_parts(module) if info.gradients else []

    def prepare(self, n: int) -> Passes:
        """See `sizing.measure`."""
        rows, places = self._rows(n)

        def both() -> None:
            with differentiable(self._recurrent):
                leaves = {name: place.clone().requires_grad_() for name, place in places.items()}
                outputs = self._outputs(rows, leaves)
                torch.autograd.grad(outputs.sum(), list(leaves.values()), allow_unused=True)
            self._finish()

        def alone() -> None:
            with torch.no_grad():
                self._outputs(rows, places)
            self._finish()

        return Passes(_honest(both if self._info.gradients else alone), _honest(alone))

    def bytes_per_point(self) -> int:
        """What a row more adds to the peak; on CUDA as its allocator counts, else by what is saved for backward."""
        one, two = (self._peak_bytes(n) for n in (1, 2))
        return max(1, two - one)

    def _peak_bytes(self, n: int) -> int:
        rows, places = self._rows(n)
        if self._device.type == "cuda":
            both = self.prepare(n).both
            both()
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
            both()
            return torch.cuda.max_memory_allocated(self._device) - before
        leaves = {name: place.clone().requires_grad_() for name, place in places.items()}
        constants = [*self._module.parameters(), *self._module.buffers()]
        found: list[int] = []

        def run() -> None:
            found.append(bytes_for_backward(lambda: self._outputs(rows, leaves), constants))

        _honest(run)()
        return found[0]

    def _outputs(self, rows: Batch, places: Batch) -> torch.Tensor:
        outputs = forward(self._module, self._info, rows, places) if places else self._module(*rows.values())
        if not isinstance(outputs, torch.Tensor):
            raise TypeError("the model returned no tensor, as it did before")
        return outputs

    def _rows(self, n: int) -> tuple[Batch, Batch]:
        found = probe_rows(self._info, self._references, n, self._positions)
        rows = {name: tensor.to(self._device) for name, tensor in found.items()}
        return rows, places_of(self._module, self._info, rows) if self._info.gradients else {}

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _honest(run: Callable[[], None]) -> Callable[[], None]:
    """The same, raising MemoryError where memory runs out, whatever the allocator says."""

    def wrapped() -> None:
        try:
            run()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(str(error)) from None

    return wrapped
