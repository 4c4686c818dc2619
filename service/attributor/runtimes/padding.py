"""Examples of several lengths in one pass: filled up to a common length, where a model is shown not to see that.

Knows declarations, tensors and one module; knows no paths, targets or batches. What is filled: ids with the padding id
(0 where none is declared), everything else with zeros: masks, segments, embeddings. Nothing moves there along a path.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.jobs.model import InputKind, InputSpec, ModelInfo, Tensors
from attributor.runtimes.curves import Bend
from attributor.runtimes.layers import captured, replaced
from attributor.runtimes.memory import is_out_of_memory
from attributor.runtimes.recurrent import differentiable, recurrent_parts
from attributor.runtimes.transforms.proving import OUTPUTS_TOLERANCE, TOLERANCE_64

#: Largest relative L1 difference in a row's outputs or gradients in float32, as we promise of company in a pass
#: (design.md, section 5). Outputs that are off by more than OUTPUTS_TOLERANCE see the filling; between, and where only
#: gradients differ, as a ReLU that rounding switches makes them, float64 decides.
TOLERANCE = 1e-5

#: Lengths are rounded up to multiples of this share of the power of two above them, of two at least: from 9 positions
#: on, at most 11 % of an example are filling.
_STEPS, _LEAST_STEP = 16, 2

#: Longer examples keep their length. Ours: so long a one fills a pass alone, and the proof would take long.
_MOST = 512

#: Buckets of about these lengths are tried with several examples, the longest with one.
_TRIED = (5, 25)

#: Of the way from a zero embedding, where examples are tried: half-way, and at the end of a path.
_PARTS = (0.5, 1.0)

_SEED = 0

#: Numbers of rows and of positions -> rows within what is declared, by input name, on the module's device.
Examples = Callable[[int, int], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Buckets:
    """The lengths up to which examples of a model are filled; those longer than `most` are not."""

    most: int

    def room(self, length: int) -> int:
        """The positions that an example of this length takes in a pass."""
        if length > self.most:
            return length
        step = max(_LEAST_STEP, (1 << (length - 1).bit_length()) // _STEPS)
        return min(self.most, math.ceil(length / step) * step)

    def filled(self, declared: Sequence[InputSpec], example: Tensors) -> dict[str, NDArray[np.generic]]:
        """An example as a pass has it."""
        found = {}
        for spec in declared:
            values = example[spec.name]
            if spec.variable:
                missing = self.room(len(values)) - len(values)
                values = np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)], constant_values=filling(spec))
            found[spec.name] = values
        return found


def filling(spec: InputSpec) -> int:
    """What stands at the positions of an input that an example does not have."""
    return (spec.pad_id or 0) if spec.kind is InputKind.TOKENS and spec.attributed else 0


def lengthened(tensor: Tensor, positions: int, value: float = 0.0, axis: int = 0) -> Tensor:
    """A tensor filled up to so many positions; itself where it has them."""
    missing = positions - tensor.shape[axis]
    if not missing:
        return tensor
    return nn.functional.pad(tensor, [0, 0] * (tensor.dim() - 1 - axis) + [0, missing], value=value)


def lengthened_bend(bend: Bend, positions: int) -> Bend:
    """A curve between tensors filled up to so many positions, made from one between those without filling."""

    def filled(alphas: Tensor) -> tuple[Tensor, Tensor]:
        points, derivatives = bend(alphas)
        return lengthened(points, positions, axis=1), lengthened(derivatives, positions, axis=1)

    return filled


def proven_buckets(module: nn.Module, info: ModelInfo, examples: Examples) -> Buckets | None:
    """The buckets of a model whose outputs and gradients are the same however far its examples are filled up, alone and
    beside rows of other lengths; None for any other, and for one without variable inputs or gradients.

    What it does with positions beyond an example does not matter, as long as gradients there are finite. Takes as long
    as passes over 40 rows of 30 positions and two of the most. Raises nothing but what the module raises where memory
    runs out.
    """
    most = next((spec.shape[0] for spec in info.inputs if spec.variable), 1)
    if most == 1 or not info.gradients:
        return None
    buckets = Buckets(min(most, _MOST))
    proof = _Proof(module, info, examples)
    try:
        apart = proof.apart(buckets)
        if not apart.within(TOLERANCE, TOLERANCE):
            if not apart.outputs <= OUTPUTS_TOLERANCE:
                return None
            wide = replace(proof, module=copy.deepcopy(module).double(), dtype=torch.float64)
            if not wide.apart(buckets).within(TOLERANCE_64, TOLERANCE_64):
                return None
    except Exception as error:  # foreign code: whatever it raises at filled rows
        if is_out_of_memory(error):
            raise  # is of the machine's moment, and the choice must not be
        return None
    return buckets


@dataclass(frozen=True, slots=True)
class Apart:
    """Largest relative L1 differences of rows. Infinite: a gradient at the filling is not finite."""

    outputs: float = 0.0
    gradients: float = 0.0

    def within(self, outputs: float, gradients: float) -> bool:
        """Whether both are; NaN never is."""
        return self.outputs <= outputs and self.gradients <= gradients


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One example: its inputs, and the tensors that paths move, both by input name and without a batch axis."""

    given: Mapping[str, Tensor]
    leaves: Mapping[str, Tensor]
    positions: int


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What a module says of one row, as far as the row goes; `beyond`: whether gradients at the filling are finite."""

    outputs: Tensor
    gradients: Mapping[str, Tensor]
    beyond: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Proof:
    module: nn.Module
    info: ModelInfo
    examples: Examples
    dtype: torch.dtype = torch.float32

    def apart(self, buckets: Buckets) -> Apart:
        """How far rows are from themselves with filling, at worst."""
        found = Apart()
        for lengths, room, parts in _trials(buckets):
            rows = {length: self._rows(length, parts) for length in lengths}
            expected = {row: answer for of_one in rows.values() for row, answer in self._answers(of_one)}
            every = [*expected]
            shorter = [row for row in every if row.positions < room]
            longest = max(row.positions for row in shorter)  # a pass over these has no more positions
            # As keys, so that where there is one row, it is tried once: alone, with filling.
            companies = {(*every,): room, (*shorter,): longest, (shorter[-1],): room}
            for company, positions in companies.items():
                for row, answer in self._answers(company, positions):
                    found = _worse(found, _difference(expected[row], answer))
        return found

    def _rows(self, length: int, parts: Sequence[float]) -> list[_Row]:
        given = {name: self._wide(tensor) for name, tensor in self.examples(len(parts), length).items()}
        names = {spec.name: spec.embedding for spec in self.info.inputs if spec.attributed and spec.embedding}
        with torch.no_grad(), captured(self.module, [*names.values()]) as caught:
            self.module(*(given[spec.name].clone() for spec in self.info.inputs))  # it may write in place
        found = []
        for n, part in enumerate(parts):
            own = {name: tensor[n] for name, tensor in given.items()}
            leaves = {
                spec.name: part * (caught[names[spec.name]] if spec.name in names else given[spec.name])[n]
                for spec in self.info.inputs
                if spec.attributed
            }
            found.append(_Row(own, leaves, length))
        return found

    def _answers(self, rows: Sequence[_Row], room: int | None = None) -> Iterator[tuple[_Row, _Answer]]:
        """One pass over rows of one length, or filled up to one."""
        specs = {spec.name: spec for spec in self.info.inputs}
        positions = room or rows[0].positions
        given = {name: _stacked(spec, [row.given[name] for row in rows], positions) for name, spec in specs.items()}
        leaves = {
            name: _stacked(specs[name], [row.leaves[name] for row in rows], positions, 0).requires_grad_()
            for name in rows[0].leaves
        }
        outputs = self._outputs(given, leaves)
        own = [outputs[n, : row.positions] if self._is_sequence else outputs[n] for n, row in enumerate(rows)]
        total = torch.stack([(each * _mix(each)).sum() for each in own]).sum()
        found = torch.autograd.grad(total, [*leaves.values()], allow_unused=True, materialize_grads=True)
        for n, row in enumerate(rows):
            gradients = {name: of_all[n] for name, of_all in zip(leaves, found, strict=True)}
            finite = all(bool(each.isfinite().all()) for each in gradients.values())
            kept = {name: each[: len(row.leaves[name])] for name, each in gradients.items()}
            yield row, _Answer(own[n].detach(), kept, finite)

    def _outputs(self, given: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> Tensor:
        moved = {spec.name: spec.embedding for spec in self.info.inputs if spec.name in leaves}
        with torch.enable_grad(), differentiable(recurrent_parts(self.module)), ExitStack() as stack:
            for name, embedding in moved.items():
                if embedding is not None:
                    stack.enter_context(replaced(self.module, embedding, leaves[name]))
            outputs: Tensor = self.module(
                *(
                    leaves[spec.name] if spec.name in leaves and not spec.embedding else given[spec.name]
                    for spec in self.info.inputs
                )
            )
        return outputs

    @property
    def _is_sequence(self) -> bool:
        return self.info.output.positions is not None

    def _wide(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def _trials(buckets: Buckets) -> Iterator[tuple[list[int], int, Sequence[float]]]:
    """Lengths of examples, the bucket that they are tried in, and where on their way."""
    rooms = sorted({buckets.room(length) for length in _TRIED if length <= buckets.most})
    for room in rooms:
        yield sorted({1, room // 2, room - 1, room}), room, _PARTS
    if not rooms or rooms[-1] < buckets.most:
        yield [buckets.most - 1], buckets.most, _PARTS[-1:]


def _stacked(spec: InputSpec, tensors: Sequence[Tensor], positions: int, value: float | None = None) -> Tensor:
    if not spec.variable:
        return torch.stack([*tensors])
    fill = filling(spec) if value is None else value
    return torch.stack([lengthened(tensor, positions, fill) for tensor in tensors])


def _mix(outputs: Tensor) -> Tensor:
    """Factors, different for each output, so that none cancels; the same for the first positions of any sequence."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs)


def _difference(expected: _Answer, found: _Answer) -> Apart:
    if not found.beyond:
        return Apart(gradients=math.inf)
    gradients = [_relative_l1(each, found.gradients[name]) for name, each in expected.gradients.items()]
    return Apart(_relative_l1(expected.outputs, found.outputs), float(np.max(gradients)))


def _relative_l1(expected: Tensor, found: Tensor) -> float:
    """0 where both vanish."""
    apart, size = (float(each.double().abs().sum()) for each in (found.detach() - expected, expected.detach()))
    return 0.0 if apart == 0 else apart / size if size else math.inf


def _worse(one: Apart, other: Apart) -> Apart:
    """The larger of each; NaN stays."""
    return Apart(float(np.max([one.outputs, other.outputs])), float(np.max([one.gradients, other.gradients])))
