"""The straight path from a baseline to an example in float64, on a rule far finer than any job's.

Computed here, apart from the runtime whose answers it is there to check. Knows torch and one model.
"""

import copy
from typing import cast

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.jobs.lengths import output_at
from attributor.jobs.model import ModelInfo, OutputKind, OutputScale, Tensors
from attributor.registry.proof.places import Batch, forward, places_of

#: Every kink of a ReLU net costs an error in 1 / nodes, whatever the rule. 8192 nodes left a completeness error of 2e-4
#: at most on our nets.
_PANELS = 512
_NODES_PER_PANEL = 16


class ExactPath:
    """Scores and attributions between two inputs. What is not attributed stays at the example.

    `position`: of a sequence output the last one, which is read; else None.
    """

    def __init__(self, module: nn.Module, info: ModelInfo, example: Tensors, baseline: Tensors) -> None:
        n_positions = output_at(info.output, info.inputs, example).positions
        self.position = None if n_positions is None else n_positions - 1
        self._info = info
        self._module = copy.deepcopy(module).double()
        self._example = _batch(example)
        held = {spec.name for spec in info.inputs if not spec.attributed}
        start = {name: self._example[name] if name in held else row for name, row in _batch(baseline).items()}
        self._start = places_of(self._module, info, start)
        self._end = places_of(self._module, info, self._example)

    def largest_output(self) -> int:
        """The index of the largest output at the example."""
        return int(self._outputs(self._end).argmax())

    def scores(self, index: int, scale: OutputScale) -> tuple[float, float]:
        """Of the baseline and of the example."""
        baseline, example = (self._scores(places, index, scale).item() for places in (self._start, self._end))
        return baseline, example

    def attributions(self, index: int, scale: OutputScale) -> dict[str, NDArray[np.float64]]:
        """Per attributed input, of its shape: for tokens summed over their embedding."""
        names = list(self._end)
        deltas = [self._end[name] - self._start[name] for name in names]
        totals = [torch.zeros_like(delta) for delta in deltas]
        for panel in zip(*(np.split(part, _PANELS) for part in panels(_PANELS)), strict=True):
            alpha, weight = (torch.from_numpy(part) for part in panel)
            rows = [
                (self._start[name] + alpha.view(-1, *[1] * (delta.dim() - 1)) * delta).requires_grad_()
                for name, delta in zip(names, deltas, strict=True)
            ]
            total_score = self._scores(dict(zip(names, rows, strict=True)), index, scale).sum()
            for total, gradient in zip(totals, torch.autograd.grad(total_score, rows), strict=True):
                total += torch.tensordot(weight, gradient, 1)
        return {
            name: (total * delta).reshape(*self._example[name].shape[1:], -1).sum(-1).numpy()
            for name, total, delta in zip(names, totals, deltas, strict=True)
        }

    def _outputs(self, places: Batch) -> Tensor:
        """Of a batch of places, (rows, n): at the last position of a sequence."""
        n_rows = len(next(iter(places.values())))
        inputs = {name: row.expand(n_rows, *row.shape[1:]) for name, row in self._example.items()}
        outputs = cast("Tensor", forward(self._module, self._info, inputs, places))
        return outputs if self.position is None else outputs[:, self.position]

    def _scores(self, places: Batch, index: int, scale: OutputScale) -> Tensor:
        outputs = self._outputs(places)
        probabilities = self._info.output.kind is OutputKind.PROBABILITIES
        if scale is OutputScale.PROBABILITY and not probabilities:
            outputs = outputs.softmax(1)
        elif scale is OutputScale.LOG_PROBABILITY:
            outputs = outputs.log() if probabilities else outputs.log_softmax(1)
        return outputs[:, index]


def panels(n_panels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes on [0, 1] and their weights: Gauss-Legendre on equal panels (Abramowitz, Stegun 1964, 25.4.30)."""
    nodes, weights = leggauss(_NODES_PER_PANEL)
    starts = np.arange(n_panels)[:, None]
    alphas = (starts + (nodes + 1) / 2) / n_panels
    return alphas.ravel(), np.tile(weights / 2 / n_panels, n_panels)


def _batch(tensors: Tensors) -> dict[str, Tensor]:
    """Batches of one row: float64, token ids int64. Of copies: torch takes no read-only arrays, as baselines may be."""
    rows = {name: torch.from_numpy(values.copy())[None] for name, values in tensors.items()}
    return {name: row.double() if row.is_floating_point() else row for name, row in rows.items()}
