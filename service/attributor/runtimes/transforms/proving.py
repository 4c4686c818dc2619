"""Whether another module computes the same as a model's own: outputs and gradients held against each other.

Knows torch and modules as functions of tensors; knows no transforms.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from attributor.runtimes.layers import captured, replaced

#: Rows of the batches on which both are run. One, because kernels differ for one; the others tell rows apart.
BATCHES = (1, 2, 3)

#: Largest difference, relative to the norm, in the middle row of each batch: of outputs and of gradients in float32,
#: and of both in float64. Ours: norms folded into 57 convolutions left 6e-8 and 3e-7, a wrong transform leaves about 1.
#: A ReLU or a maximum that rounding switches changes all of a row's gradient, by 3e-4 in a ResNet-18; where that is
#: more than the tolerance, as in nets of few units or of no signal, float64 decides.
OUTPUTS_TOLERANCE, GRADIENTS_TOLERANCE, TOLERANCE_64 = 1e-4, 1e-3, 1e-9

_SEED = 0
#: How far a row is moved from the example, relative to the example's standard deviation (1 where that is 0).
_NOISE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One example of a model's inputs, in their order, each with a batch axis of one row, on the model's device.

    `attributed`: the places of inputs that gradients are asked of. `embeddings`: by the place of one that holds token
    ids, the name of the module whose output moves instead. `variable`: the places of inputs whose second axis is of
    another length in other examples, the same in all of them.
    """

    inputs: tuple[Tensor, ...]
    attributed: tuple[int, ...]
    embeddings: Mapping[int, str] = field(default_factory=dict)
    variable: tuple[int, ...] = ()

    @property
    def lengths_vary(self) -> bool:
        """Whether examples of other shapes will come."""
        return bool(self.variable)

    def rows(self, n_rows: int) -> tuple[Tensor, ...]:
        """So many different rows; what does not move, or holds no floats, is repeated. The same at each call."""
        generator = torch.Generator().manual_seed(_SEED)
        return tuple(
            self._moved(given, n_rows, generator)
            if place in self.attributed and given.is_floating_point()
            else given.expand(n_rows, *given.shape[1:]).clone(memory_format=torch.contiguous_format)
            for place, given in enumerate(self.inputs)
        )

    def other_lengths(self, n_rows: int) -> list[tuple[Tensor, ...]]:
        """Where lengths vary, as many rows of half the length (of one position, of two); else nothing."""
        if not self.variable:
            return []
        return [tuple(_resized(row) if n in self.variable else row for n, row in enumerate(self.rows(n_rows)))]

    def double(self) -> "Sample":
        """The same example in float64."""
        wide = tuple(given.double() if given.is_floating_point() else given for given in self.inputs)
        return replace(self, inputs=wide)

    def _moved(self, given: Tensor, n_rows: int, generator: torch.Generator) -> Tensor:
        # Between zero and the example: no row stands where maps of a black image are, on the kinks of every ReLU.
        part = (torch.arange(1, n_rows + 1) / n_rows).view(-1, *[1] * (given.dim() - 1))
        return _noisy(given.expand(n_rows, *given.shape[1:]) * part.to(given), generator)


def _resized(rows: Tensor) -> Tensor:
    positions = rows.shape[1]
    return rows[:, : positions // 2].contiguous() if positions > 1 else torch.cat([rows, rows], dim=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """Of outputs and of gradients, relative to their norm, in the middle row of the worst batch."""

    outputs: float
    gradients: float

    def within(self, outputs: float, gradients: float) -> bool:
        """Whether both are; NaN never is."""
        return self.outputs <= outputs and self.gradients <= gradients


#: Inputs -> outputs and the gradients by what is attributed, of a fixed mix of the outputs; rows first.
Differentiated = Callable[[Sequence[Tensor]], tuple[Tensor, Sequence[Tensor]]]


def difference(
    one: Differentiated, other: Differentiated, sample: Sample, batches: Sequence[int] = BATCHES
) -> Difference:
    """How far two functions are apart on rows of a sample. Raises whatever they raise."""
    outputs, gradients = 0.0, 0.0
    for n_rows in batches:
        rows = sample.rows(n_rows)
        (expected, expected_gradients), (found, found_gradients) = one(rows), other(rows)
        outputs = _worse(outputs, relative_difference(expected, found))
        for wanted, got in zip(expected_gradients, found_gradients, strict=True):
            gradients = _worse(gradients, relative_difference(wanted, got))
    return Difference(outputs, gradients)


def differentiated(module: nn.Module, sample: Sample) -> Differentiated:
    """A module with its gradients by the attributed inputs, of token ids by what their embedding gives."""

    def run(rows: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        given = [row.detach().clone() for row in rows]  # the module may write in place
        embedded = _embedded(module, sample, given)
        leaves = [given[place].requires_grad_() for place in sample.attributed if place not in sample.embeddings]
        with torch.enable_grad(), ExitStack() as stack:
            for name, leaf in embedded.items():
                stack.enter_context(replaced(module, name, leaf))
            outputs: Tensor = module(*given)
        return outputs.detach(), gradients_of(outputs, [*leaves, *embedded.values()])

    return run


def _embedded(module: nn.Module, sample: Sample, given: Sequence[Tensor]) -> dict[str, Tensor]:
    """By name, what embeddings give, moved differently in each row."""
    names = list(sample.embeddings.values())
    if not names:
        return {}
    with torch.no_grad(), captured(module, names) as caught:
        module(*(each.clone() for each in given))
    generator = torch.Generator().manual_seed(_SEED)
    return {name: _noisy(caught[name], generator).requires_grad_() for name in names}


def _noisy(rows: Tensor, generator: torch.Generator) -> Tensor:
    wide = rows.detach().double().cpu()
    noise = torch.randn(wide.shape, generator=generator, dtype=torch.float64)
    return (wide + _NOISE * (float(wide.std(correction=0)) or 1.0) * noise).to(rows)


def gradients_of(outputs: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
    """Of a fixed mix of all outputs, different for each, so that none cancels."""
    generator = torch.Generator().manual_seed(_SEED)
    mix = torch.randn(outputs.shape[1:], generator=generator).to(outputs)
    return torch.autograd.grad((outputs * mix).sum(), leaves, allow_unused=True, materialize_grads=True)


def relative_difference(expected: Tensor, found: Tensor) -> float:
    """Relative to the L2 norm, in the middle row (of two the better); 0 of two zeros, infinite for other shapes."""
    if expected.shape != found.shape:
        return float("inf")
    wide, other = (each.detach().double().reshape(len(each), -1) for each in (expected, found))
    size, apart = wide.norm(dim=1), (wide - other).norm(dim=1)
    relative = torch.where(apart == 0, 0.0, apart / size)
    return float(relative.sort().values[(len(relative) - 1) // 2])


def _worse(one: float, other: float) -> float:
    """The larger; NaN stays."""
    return other if not other <= one else one
