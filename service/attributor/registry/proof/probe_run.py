"""One pass of a model on trial: outputs, gradients, and how long it took.

Knows torch and one module, and no check but that of shapes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from attributor.jobs.lengths import output_at
from attributor.jobs.model import ModelInfo
from attributor.registry.proof.places import Batch, forward, places_of
from attributor.runtimes.recurrent import differentiable, recurrent_parts


class Failed(Exception):
    """A check that failed: its name and a sentence that says what to do."""

    def __init__(self, check: str, problem: str) -> None:
        super().__init__(problem)
        self.check = check


@dataclass(frozen=True, slots=True)
class Run:
    """What a module said of a batch: outputs (rows, *output shape), gradients of a fixed mix of them per place."""

    outputs: Tensor
    gradients: Batch

    def rows(self, first: int, last: int) -> "Run":
        """A batch of some of its rows, `last` not among them."""
        return Run(self.outputs[first:last], {name: gradient[first:last] for name, gradient in self.gradients.items()})

    def difference(self, other: "Run") -> float:
        """The largest relative L1 difference in outputs or a gradient; NaN if there is one in either."""
        gradients = [_relative_l1(self.gradients[name], other.gradients[name]) for name in self.gradients]
        return float(np.max([_relative_l1(self.outputs, other.outputs), *gradients]))

    def not_finite(self) -> str | None:
        """The first place whose gradient has NaN or infinity."""
        return next((name for name, each in self.gradients.items() if not each.isfinite().all()), None)


@dataclass(slots=True)
class Runner:
    """Runs a module, and keeps how long each pass took by its number of rows. A pass is forward and backward, or, of a
    model without gradients, forward."""

    module: nn.Module
    info: ModelInfo
    device: torch.device
    _seconds: dict[int, list[float]] = field(default_factory=dict)

    def run(self, rows: Batch, places: Batch | None = None) -> Run:
        """A pass at some inputs, or with other tensors where gradients are taken. Raises Failed for another shape, and
        where no gradient reaches an input."""
        if not self.info.gradients:
            began = self._now()
            with torch.no_grad():
                outputs = self.outputs(rows)
            self._note(len(outputs), began)
            return Run(outputs, {})
        found = places_of(self.module, self.info, rows) if places is None else places
        leaves = {name: place.clone().requires_grad_() for name, place in found.items()}
        began = self._now()
        with differentiable(recurrent_parts(self.module)):
            outputs = self._checked(forward(self.module, self.info, rows, leaves), rows)
            gradients = _gradients(outputs, leaves)
        self._note(len(outputs), began)
        return Run(outputs.detach(), gradients)

    def outputs(self, rows: Batch) -> Tensor:
        """What the module returns, without a place in between. Raises Failed for another shape."""
        return self._checked(self.module(*(rows[spec.name].clone() for spec in self.info.inputs)), rows)

    def seconds_per_row(self, n_rows: int) -> float | None:
        """The median over the passes of so many rows; None without one."""
        return median(self._seconds[n_rows]) / n_rows if n_rows in self._seconds else None

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _note(self, n_rows: int, began: float) -> None:
        self._seconds.setdefault(n_rows, []).append(self._now() - began)

    def _checked(self, output: object, rows: Batch) -> Tensor:
        example = {name: tensor[0].cpu().numpy() for name, tensor in rows.items()}
        n_rows = len(next(iter(rows.values())))
        needed = [n_rows, *output_at(self.info.output, self.info.inputs, example).shape]
        if not isinstance(output, Tensor):
            raise Failed(
                "shapes", f"The model returns {type(output).__name__}, not one tensor: return only the output."
            )
        if list(output.shape) != needed:
            raise Failed(
                "shapes",
                f"For a batch of {n_rows} the model returns shape {list(output.shape)}; {needed} is needed, one number "
                "per label (of a sequence, per position and label). Correct the manifest's labels, kind or shape, or "
                "what the model returns.",
            )
        if not output.is_floating_point():
            raise Failed("shapes", f"The model returns {output.dtype}; its output has to be floating point.")
        return output


def _gradients(outputs: Tensor, leaves: Batch) -> dict[str, Tensor]:
    gradients: Sequence[Tensor | None] = [None] * len(leaves)
    if outputs.requires_grad:
        flat = outputs.flatten(1)
        # Unequal factors, so that no class is left out and equal shares (a softmax) do not cancel.
        mix = torch.arange(1.0, flat.shape[1] + 1, device=flat.device) / flat.shape[1]
        gradients = torch.autograd.grad((flat * mix).sum(), list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        if gradient is None:
            raise Failed(
                "gradients",
                f"No gradient reaches the input {name!r}: the output does not depend on it differentiably. Look for "
                "detach, argmax, rounding or numpy on its way, or declare it attributed = false.",
            )
    return dict(zip(leaves, cast("Sequence[Tensor]", gradients), strict=True))


def _relative_l1(one: Tensor, other: Tensor) -> float:
    """||one - other||_1 / ||other||_1; 0 where both vanish."""
    difference, norm = (one - other).double().abs().sum().item(), other.double().abs().sum().item()
    return difference / max(norm, torch.finfo(torch.float32).tiny)
