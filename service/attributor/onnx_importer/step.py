"""One node of a graph in a pass: its known arguments, where its values are computed, and rows mapped one by one.

Knows the conventions of `node` about tensors and host values. Knows no graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.onnx_importer.constants import MOST_HOST_ELEMENTS, Constants, to_array, to_tensor
from attributor.onnx_importer.node import Function, Value
from attributor.onnx_importer.running import TooLarge, current, size_of_values

#: Operators whose lengths say which steps count: they make nothing larger.
_LENGTHS_ONLY_MASK = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(frozen=True, slots=True)
class Rows:
    """A value that differs from row to row of a batch, in a graph whose own batch is frozen at 1.

    `tensor`: the rows in front of the shape that the graph gives it.
    """

    tensor: Tensor

    @staticmethod
    def shown(found: Tensor) -> Tensor:
        """As whoever listens should see it: without the file's own batch of one, where that is its first axis."""
        return found[:, 0] if found.dim() > 1 and found.shape[1] == 1 else found

    @staticmethod
    def of(shown: Tensor, before: Tensor) -> "Rows":
        """What was shown as that of `before`, maybe replaced by another, as a value again."""
        return Rows(shown if shown.dim() == before.dim() else shown[:, None])


@dataclass(frozen=True, slots=True)
class SubgraphOfStep:
    """A Subgraph: the body of this name of whichever step runs, so that a copy of a module has bodies of its own."""

    name: str
    n_inputs: int
    n_outputs: int

    def __call__(self, *inputs: Value) -> tuple[Value, ...]:
        """See Subgraph."""
        now = current()
        step, outer = now.step, now.outer
        found: tuple[Value, ...] = step.bodies[self.name](inputs, outer[self.name])
        # A body has steps of its own, which have run meanwhile.
        now.step, now.outer = step, outer
        return found


def floating() -> torch.dtype:
    """What stands for float32 in the module whose step runs."""
    dtype: torch.dtype = current().step.constants.floating()
    return dtype


def kept(number: int) -> Callable[[], Tensor]:
    """A constant of whichever module's step runs, so that a copy of a module has its own."""

    def tensor_now() -> Tensor:
        tensor: Tensor = current().step.constants.tensors[number]
        return tensor

    return tensor_now


def run_prepared(step: "Step", arguments: Sequence[Any]) -> Any:
    """The function of a step on arguments that are as it wants them. Raises NodeError, TooLarge."""
    now = current()
    now.step = step
    try:
        return step.function(*arguments)
    except torch.OutOfMemoryError:
        raise
    except TooLarge as error:
        raise error if error.placed else TooLarge(f"{step.label} {error}", placed=True) from None
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise error if isinstance(error, NodeError) else NodeError(step.label, error) from error


class NodeError(RuntimeError):
    """A node could not be computed in a pass; says which, and what torch said."""

    def __init__(self, label: str, error: Exception) -> None:
        super().__init__(f"{label}: {' '.join(str(error).split())}")


class Step(nn.Module):
    """A node. Called with its arguments that are not known at import, in order; hooks see its output.

    `known`: per argument the number of a constant, None for one that comes with the call, -1 for one left out; behind
    the node's own arguments come the outer values of its `bodies` (programs), body by body.
    """

    def __init__(
        self,
        function: Function,
        known: Sequence[int | None],
        host: Sequence[int],
        constants: Constants,
        bodies: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.layer_type = ""
        self.label = ""
        self.before_shown: Tensor | None = None
        self.bodies = nn.ModuleDict(bodies)
        self.function = function
        self._coming = [place for place, number in enumerate(known) if number is None]
        self._numbers = [(place, number) for place, number in enumerate(known) if number is not None and number >= 0]
        self._host = frozenset(host)
        self._n = len(known)
        self._in_tuple = (constants,)  # not a submodule of every step
        self._hostable = all(constants.arrays[number] is not None for _, number in self._numbers)

    @property
    def constants(self) -> Constants:
        """The known values of the whole model."""
        return self._in_tuple[0]

    def forward(self, *coming: Any) -> Any:
        """The node's output or outputs, tensors or host values; with `Rows` among the arguments, tensors of rows, of
        which `before_shown` keeps the one output with all of its axes."""
        if not any(type(value) is Rows for value in coming):
            return self._compute(coming)
        found = self._mapped(coming)
        if not isinstance(found, Tensor):
            return found
        self.before_shown = found
        return Rows.shown(found)

    def without_hooks(self, coming: Sequence[Value]) -> Any:
        """As a call, past whoever listens."""
        return self._compute(coming)

    def arguments(self, coming: Sequence[Value]) -> tuple[list[Any], Sequence[int]]:
        """All arguments of the function, known ones and `coming`, each where and as it wants them; and the places of
        `coming` among them. None among them stays None: to be filled in."""
        return self._placed(coming, on_host=False), self._coming

    def _compute(self, coming: Sequence[Value]) -> Any:
        on_host = self._hostable and all(value is None or isinstance(value, np.ndarray) for value in coming)
        try:
            arguments = self._placed(coming, on_host=on_host)
        except ValueError as error:
            raise NodeError(self.label, error) from None
        if self.bodies:
            arguments = self._split(arguments)
        now = current()
        now.on_host = on_host
        found = run_prepared(self, arguments)
        for value in found if isinstance(found, tuple) else (found,):
            if isinstance(value, Tensor) and value.numel() > now.most_elements:
                raise TooLarge(f"{self.label} has made a tensor of shape {list(value.shape)}", placed=True)
        return _as_host(found, self.constants) if on_host else found

    def _placed(self, coming: Sequence[Value], *, on_host: bool) -> list[Any]:
        constants = self.constants
        arguments: list[Any] = [None] * self._n
        for place, value in zip(self._coming, coming, strict=False):
            arguments[place] = value
        for place, number in self._numbers:
            arguments[place] = constants.array(number) if on_host or place in self._host else constants.tensors[number]
        for place in range(self._n):
            value = arguments[place]
            if isinstance(value, np.ndarray):
                if place not in self._host:
                    arguments[place] = _as_tensor(value, constants, on_host=on_host)
            elif place in self._host and value is not None:
                if self.layer_type in _LENGTHS_ONLY_MASK:
                    current().reads = True
                else:
                    size_of_values()
                arguments[place] = to_array(value)
        return arguments

    def _split(self, arguments: list[Any]) -> list[Any]:
        """The node's own arguments; the others are put where its bodies find them."""
        outer: dict[str, list[Any]] = {}
        for name, body in reversed(list(self.bodies.items())):
            n = len(cast("Any", body).outer)
            outer[name] = arguments[len(arguments) - n :]
            arguments = arguments[: len(arguments) - n]
        current().outer = outer
        return arguments

    def _mapped(self, coming: Sequence[Any]) -> Any:
        """Row by row, together where torch has a rule for it (vmap), else in a loop."""
        values = [value.tensor if type(value) is Rows else value for value in coming]
        rows = next(len(value.tensor) for value in coming if type(value) is Rows)
        in_dims = tuple(0 if type(value) is Rows else None for value in coming)
        try:
            return torch.func.vmap(lambda *given: self._compute(given), in_dims)(*values)
        except (RuntimeError, ValueError, TypeError):  # no batching rule (LSTM), a length that depends on a value
            found = [
                self._compute([value[row] if d == 0 else value for value, d in zip(values, in_dims, strict=True)])
                for row in range(rows)
            ]
        if isinstance(found[0], tuple):
            return tuple(_stacked(parts) for parts in zip(*found, strict=True))
        return _stacked(found)


def _stacked(rows: Sequence[Value]) -> Value:
    if isinstance(rows[0], np.ndarray):
        if any(not (isinstance(row, np.ndarray) and np.array_equal(row, rows[0])) for row in rows[1:]):
            raise RuntimeError("a size in the graph differs from row to row of a batch")
        return rows[0]
    return None if rows[0] is None else torch.stack([row for row in rows if isinstance(row, Tensor)])


def _as_tensor(array: NDArray[Any], constants: Constants, *, on_host: bool) -> Tensor:
    tensor = to_tensor(array)
    if tensor.dtype is torch.float32:
        tensor = tensor.to(constants.floating())
    return tensor if on_host else tensor.to(constants.device)


def _as_host(found: Any, constants: Constants) -> Any:
    if isinstance(found, tuple | list):
        return tuple(_as_host(value, constants) for value in found)
    if isinstance(found, Tensor):
        small = found.numel() <= MOST_HOST_ELEMENTS and found.dtype is not torch.bfloat16
        return found.numpy() if small else found.to(constants.device)
    return found
