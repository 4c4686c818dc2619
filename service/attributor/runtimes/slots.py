"""Tensors of one shape in numbered slots of one large tensor, so that any of them are gathered by a single operation.

Knows torch; does not know what the tensors stand for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: Slots before the large tensors grow; they double. Ours: small, as a slot of a convolution's output is megabytes.
_FIRST_SLOTS = 16


@dataclass(frozen=True, slots=True)
class Form:
    """Shape, without the axis of slots, and dtype of a named tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class Slots:
    """Each slot holds one tensor per name."""

    def __init__(self, forms: Mapping[str, Form], device: torch.device) -> None:
        self._forms = dict(forms)
        self._rows = {
            name: torch.zeros((_FIRST_SLOTS, *form.shape), dtype=form.dtype, device=device)
            for name, form in forms.items()
        }
        self._n_slots = _FIRST_SLOTS
        self._free = list(range(_FIRST_SLOTS))

    def add(self, values: Mapping[str, Tensor]) -> int:
        """Copies one tensor per name to the device; returns their slot. Raises ValueError for another shape."""
        for name, form in self._forms.items():
            if tuple(values[name].shape) != form.shape:
                raise ValueError(f"{name!r} must have shape {form.shape}. This is a bug.")
        if not self._free:
            self._grow()
        slot = self._free.pop()
        for name, rows in self._rows.items():
            rows[slot] = values[name]
        return slot

    def remove(self, slot: int) -> None:
        """Frees a slot."""
        self._free.append(slot)

    def gather(self, name: str, slots: Tensor) -> Tensor:
        """A copy of the named tensors of these slots, shape (slots, *shape)."""
        return self._rows[name].index_select(0, slots)

    def _grow(self) -> None:
        self._free.extend(range(self._n_slots, 2 * self._n_slots))
        self._rows = {name: torch.cat([rows, torch.zeros_like(rows)]) for name, rows in self._rows.items()}
        self._n_slots *= 2
