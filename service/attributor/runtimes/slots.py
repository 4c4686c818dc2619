"""Tensors of one shape in numbered slots of one large tensor, so that any of them are gathered by a single operation.

Knows torch; does not know what the tensors stand for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import torch
from torch import Tensor

#: Slots before the large tensors grow; they double. Ours: small, as a slot of a convolution's output is megabytes.
_FIRST_SLOTS = 16
#: They shrink where so many times fewer slots would do. Ours: twice as many as growth adds, so that they do not swing.
_FAR_ABOVE = 4


@dataclass(frozen=True, slots=True)
class Form:
    """Shape, without the axis of slots, and dtype of a named tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class Slots:
    """Each slot holds one tensor per name. Memory grows by doubling, and is given back when most of it is unused."""

    def __init__(self, forms: Mapping[str, Form], device: torch.device) -> None:
        self._forms = dict(forms)
        self._rows = {
            name: torch.zeros((_FIRST_SLOTS, *form.shape), dtype=form.dtype, device=device)
            for name, form in forms.items()
        }
        self._n_slots = _FIRST_SLOTS
        self._taken: set[int] = set()
        #: A heap: the lowest free slot is taken first, so that what is used stands together at the beginning.
        self._free = list(range(_FIRST_SLOTS))

    def __len__(self) -> int:
        return len(self._taken)

    @property
    def n_slots(self) -> int:
        """How many slots there is memory for."""
        return self._n_slots

    def add(self, values: Mapping[str, Tensor]) -> int:
        """Copies one tensor per name to the device; returns their slot. Raises ValueError for another shape."""
        self._check(values)
        slot = self.reserve()
        self.put(slot, values)
        return slot

    def reserve(self) -> int:
        """Takes a slot, whose tensors are put there later."""
        if not self._free:
            self._grow()
        slot = heappop(self._free)
        self._taken.add(slot)
        return slot

    def put(self, slot: int, values: Mapping[str, Tensor]) -> None:
        """Copies one tensor per name to a reserved slot. Raises ValueError for another shape."""
        self._check(values)
        for name, rows in self._rows.items():
            rows[slot] = values[name]

    def remove(self, slot: int) -> None:
        """Frees a slot."""
        self._taken.discard(slot)
        heappush(self._free, slot)
        n_taken = len(self._taken)
        # To look for the last slot in use costs a step per slot: so often only that it stays a step per removal.
        if n_taken & (n_taken - 1) == 0:
            self._shrink()

    def gather(self, name: str, slots: Tensor) -> Tensor:
        """A copy of the named tensors of these slots, shape (slots, *shape)."""
        return self._rows[name].index_select(0, slots)

    def _check(self, values: Mapping[str, Tensor]) -> None:
        for name, form in self._forms.items():
            if tuple(values[name].shape) != form.shape:
                raise ValueError(f"{name!r} must have shape {form.shape}. This is a bug.")

    def _shrink(self) -> None:
        """To what the last slot in use needs, if that is far less."""
        needed = _FIRST_SLOTS
        while needed <= max(self._taken, default=0):
            needed *= 2
        if needed == self._n_slots or (self._taken and needed * _FAR_ABOVE > self._n_slots):
            return
        self._rows = {name: rows[:needed].clone() for name, rows in self._rows.items()}
        self._n_slots = needed
        self._free = [slot for slot in self._free if slot < needed]
        heapify(self._free)

    def _grow(self) -> None:
        self._free.extend(range(self._n_slots, 2 * self._n_slots))
        self._rows = {name: torch.cat([rows, torch.zeros_like(rows)]) for name, rows in self._rows.items()}
        self._n_slots *= 2
